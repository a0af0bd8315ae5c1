/* The server process: finding it, starting it, stopping it, and clearing away what a killed one
 * left. */
#include "storage/base/log.h"
#include "storage/cluster/cluster_files.h"
#include "storage/cluster/cluster_internal.h"
#include "storage/cluster/postmaster.h"

#include <errno.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { START_SECONDS = 300, STOP_SECONDS = 120, LEFTOVER_SECONDS = 30, SOCKET_SECONDS = 3 };

static PGPing ping(const struct cluster *cluster)
{
    const char *const keywords[] = {"host",    "hostaddr",        "port",       "dbname",
                                    "sslmode", "connect_timeout", "gssencmode", NULL};
    const char *const values[] = {
        cluster->socket_directory, "", "5432", "postgres", "disable", "5", "disable", NULL};
    return PQpingParams(keywords, values, 0);
}

static void pause_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Waits until a server that is starting, or recovering, answers. Returns 1 when it ends instead, or
 * cannot be reached since its socket was removed. */
static int wait_ready(const struct cluster *cluster, struct error *err)
{
    struct postmaster postmaster;
    char socket[PATH_MAX + 32];
    int missing = 0;
    snprintf(socket, sizeof(socket), "%s/.s.PGSQL.5432", cluster->socket_directory);
    for (int waited = 0; waited < START_SECONDS * 10; waited++) {
        if (ping(cluster) == PQPING_OK) return 0;
        postmaster_read(cluster->directory, &postmaster);
        missing = access(socket, F_OK) != 0 ? missing + 1 : 0;
        if (!postmaster.ours || missing == SOCKET_SECONDS * 10) return 1;
        pause_ms(100);
    }
    return error_set(err, ERR_UNAVAILABLE, NULL, "PostgreSQL did not answer within %d seconds",
                     START_SECONDS);
}

/* What the server wrote before it gave up: its own file, or the first one before that is open. */
static void read_startup_log(const struct cluster *cluster, struct buffer *output)
{
    static const char script[] =
        "cat log/startup.log; tail -n 20 \"$(ls -t log/postgresql-*.log | head -n 1)\" |"
        " grep -E 'FATAL|PANIC' | tail -n 1";
    const char *const argv[] = {"sh", "-c", script, NULL};
    int status;
    cluster_run(cluster, cluster->directory, argv, -1, output, &status, NULL);
}

static int start_error(const struct cluster *cluster, const struct buffer *said, struct error *err)
{
    struct buffer output = {0};
    char complaint[300];
    read_startup_log(cluster, &output);
    buffer_append(&output, said->data != NULL ? said->data : "", said->length);
    process_complaint(&output, complaint, sizeof(complaint));
    const unsigned long long space = cluster_free_megabytes(cluster->directory);
    if (space < LOW_DISK_MB)
        error_set(err, ERR_IO, NULL,
                  "PostgreSQL could not start: %s (the disk that holds %s has %llu MB left)",
                  complaint, cluster->directory, space);
    else
        error_set(err, ERR_UNAVAILABLE, NULL, "PostgreSQL could not start: %s (see %s/log)",
                  complaint, cluster->directory);
    buffer_free(&output);
    return -1;
}

static int start(const struct cluster *cluster, struct error *err)
{
    char program[PATH_MAX + 16], log[PATH_MAX + 32], seconds[16];
    snprintf(program, sizeof(program), "%s/pg_ctl", cluster->binaries.directory);
    snprintf(log, sizeof(log), "%s/log/startup.log", cluster->directory);
    snprintf(seconds, sizeof(seconds), "%d", START_SECONDS);
    const char *const argv[] = {program,  "start",     "--pgdata", cluster->directory, "--log", log,
                                "--wait", "--timeout", seconds,    "--silent",         NULL};
    struct buffer output = {0};
    int status = 0;
    int rc = cluster_run(cluster, cluster->directory, argv, -1, &output, &status, err);
    if (rc == 0 && status != 0) rc = start_error(cluster, &output, err);
    if (rc == 0) log_info("cluster.started", "directory=%s", log_quote(cluster->directory));
    buffer_free(&output);
    return rc;
}

int cluster_stop(const struct cluster *cluster, struct error *err)
{
    char program[PATH_MAX + 16], seconds[16], complaint[300];
    snprintf(program, sizeof(program), "%s/pg_ctl", cluster->binaries.directory);
    snprintf(seconds, sizeof(seconds), "%d", STOP_SECONDS);
    const char *const argv[] = {program, "stop",      "--pgdata", cluster->directory, "--mode",
                                "fast",  "--timeout", seconds,    "--silent",         NULL};
    struct postmaster postmaster;
    postmaster_read(cluster->directory, &postmaster);
    if (!postmaster.ours) return 0;
    struct buffer output = {0};
    int status = 0;
    int rc = cluster_run(cluster, cluster->directory, argv, -1, &output, &status, err);
    if (rc == 0 && status != 0) {
        process_complaint(&output, complaint, sizeof(complaint));
        rc =
            error_set(err, ERR_UNAVAILABLE, NULL, "PostgreSQL could not be stopped: %s", complaint);
    }
    buffer_free(&output);
    return rc;
}

static int remove_file(const char *directory, const char *name, struct error *err)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (unlink(path) == 0 || errno == ENOENT) return 0;
    return error_set(err, ERR_IO, NULL, "cannot remove %s: %s", path, strerror(errno));
}

/* Clears the way for a start: waits for processes that a killed server left behind, and removes the
 * lock files with a number that is a stranger's by now, or that of a process which has ended
 * without anybody waiting for it. PostgreSQL itself would take either for a server that runs. */
static int clear_remains(const struct cluster *cluster, const struct postmaster *postmaster,
                         struct error *err)
{
    static const char socket_lock[] = ".s.PGSQL.5432.lock";
    char path[PATH_MAX + 32];
    for (int waited = 0; postmaster_anyone(cluster->directory); waited++) {
        if (waited == LEFTOVER_SECONDS * 10)
            return error_set(err, ERR_UNAVAILABLE, NULL,
                             "processes of a PostgreSQL server that is gone still work in %s",
                             cluster->directory);
        pause_ms(100);
    }
    if (postmaster->alive && remove_file(cluster->directory, "postmaster.pid", err) != 0) return -1;
    snprintf(path, sizeof(path), "%s/%s", cluster->socket_directory, socket_lock);
    if (postmaster_holds(path)) return 0; /* another data directory's, as the start will say */
    return remove_file(cluster->socket_directory, socket_lock, err);
}

/* Whether the user can come to the directory at all. */
static int check_passable(const struct cluster *cluster, const char *directory, struct error *err)
{
    int status;
    return cluster_run(cluster, directory, NULL, -1, NULL, &status, err);
}

static int prepare_directories(const struct cluster *cluster, struct error *err)
{
    char log[PATH_MAX + 8];
    snprintf(log, sizeof(log), "%s/log", cluster->directory);
    if (directory_own(cluster->directory, &cluster->user, err) != 0 ||
        directory_own(log, &cluster->user, err) != 0 ||
        directory_make(cluster->run, &cluster->user, err) != 0 ||
        directory_own(cluster->socket_directory, &cluster->user, err) != 0)
        return -1;
    return check_passable(cluster, cluster->socket_directory, err);
}

int cluster_bring_up(const struct cluster *cluster, struct error *err)
{
    struct postmaster postmaster;
    if (prepare_directories(cluster, err) != 0) return -1;
    if (cluster_files_write(cluster->directory, cluster->socket_directory, &cluster->user, err) !=
        0)
        return -1;
    postmaster_read(cluster->directory, &postmaster);
    if (postmaster.ours && strcmp(postmaster.socket_directory, cluster->socket_directory) == 0) {
        kill(postmaster.pid, SIGHUP); /* who may connect may have changed */
        const int ended = wait_ready(cluster, err);
        if (ended == 0)
            log_info("cluster.found", "directory=%s pid=%d", log_quote(cluster->directory),
                     (int)postmaster.pid);
        if (ended <= 0) return ended;
        postmaster_read(cluster->directory, &postmaster); /* it may have been on its way down */
    }
    /* One that was started with another run directory, or whose socket is gone, is of no use. */
    if (postmaster.ours && cluster_stop(cluster, err) != 0) return -1;
    postmaster_read(cluster->directory, &postmaster);
    if (clear_remains(cluster, &postmaster, err) != 0) return -1;
    return start(cluster, err);
}

bool cluster_answers(const struct cluster *cluster)
{
    return ping(cluster) == PQPING_OK;
}
