/*
 * The way from nothing to a running server: the directories and who they belong to, the programs,
 * initdb into DATA/postgres.new (renamed when complete), our configuration, the start, the
 * database. Every step finds what an earlier run left and goes on from there.
 *
 * DATA/postgres.lock is held while the cluster is made and started, so that two daemons do not do
 * it at once; initdb holds it too, so that one which outlives a killed daemon is waited for. `lock`
 * lets one thread at a time look after the server.
 */
#include "storage/cluster.h"

#include "storage/base/log.h"
#include "storage/cluster_files.h"
#include "storage/pool.h"
#include "storage/postmaster.h"
#include "storage/server_binaries.h"
#include "storage/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { START_SECONDS = 300, STOP_SECONDS = 120, LEFTOVER_SECONDS = 30, SOCKET_SECONDS = 3 };
enum { LOW_DISK_MB = 64 };

struct cluster {
    pthread_mutex_t lock;
    struct system_user user;
    struct server_binaries binaries;
    char parent[PATH_MAX / 2];       /* DATA */
    char directory[PATH_MAX];        /* DATA/postgres */
    char fresh[PATH_MAX];            /* DATA/postgres.new */
    char run[PATH_MAX / 2];          /* RUN */
    char socket_directory[PATH_MAX]; /* RUN/postgres */
    char *conninfo;
};

/* ---- Paths and the user ---- */

static int set_paths(struct cluster *cluster, const char *data, const char *run, struct error *err)
{
    const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    char socket[PATH_MAX];
    if (data[0] != '/' || run[0] != '/')
        return error_set(err, ERR_INVALID, data[0] != '/' ? "data" : "run",
                         "the directory %.200s must be an absolute path",
                         data[0] != '/' ? data : run);
    /* pg_ctl hands the path to a shell, within double quotes. */
    if (strpbrk(data, "\"$`\\\n") != NULL)
        return error_set(err, ERR_INVALID, "data",
                         "the data directory's path must not have any of \" $ ` \\ in it");
    if (strlen(data) >= sizeof(cluster->parent))
        return error_set(err, ERR_INVALID, "data", "the data directory's path is too long");
    if ((size_t)snprintf(socket, sizeof(socket), "%s/postgres/.s.PGSQL.5432", run) > room ||
        strlen(run) >= PATH_MAX / 2)
        return error_set(err, ERR_INVALID, "run",
                         "the socket %.300s would have a path of %zu bytes, over the system's "
                         "limit of %zu: choose a shorter run directory (TEKUP_RUN)",
                         socket, strlen(run) + strlen("/postgres/.s.PGSQL.5432"), room);
    if (strchr(run, '\n') != NULL)
        return error_set(err, ERR_INVALID, "run", "the run directory's path has a line end in it");
    snprintf(cluster->parent, sizeof(cluster->parent), "%s", data);
    snprintf(cluster->run, sizeof(cluster->run), "%s", run);
    snprintf(cluster->directory, sizeof(cluster->directory), "%s/postgres", data);
    snprintf(cluster->fresh, sizeof(cluster->fresh), "%s/postgres.new", data);
    snprintf(cluster->socket_directory, sizeof(cluster->socket_directory), "%s/postgres", run);
    return 0;
}

static int set_user(struct system_user *user, const struct passwd *entry)
{
    *user = (struct system_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    user->change = entry->pw_uid != geteuid();
    snprintf(user->name, sizeof(user->name), "%s", entry->pw_name);
    return 0;
}

/* The user that the server runs as: this process's own or, since PostgreSQL refuses to be root, the
 * one that owns the cluster already, else tekupdb, else postgres. */
static int choose_user(struct cluster *cluster, struct error *err)
{
    static const char *const names[] = {"tekupdb", "postgres"};
    struct passwd entry, *found = NULL;
    char text[4096];
    struct stat status;
    const bool there = lstat(cluster->directory, &status) == 0;
    if (geteuid() != 0 || (there && status.st_uid != 0)) {
        const uid_t uid = geteuid() != 0 ? geteuid() : status.st_uid;
        if (there && status.st_uid != uid)
            return error_set(err, ERR_IO, NULL,
                             "%s belongs to the user with the number %u, not to this one (%u): "
                             "start tekupd as that user, or choose another data directory",
                             cluster->directory, (unsigned)status.st_uid, (unsigned)uid);
        if (getpwuid_r(uid, &entry, text, sizeof(text), &found) != 0 || found == NULL)
            return error_set(
                err, ERR_IO, NULL,
                "the user number %u has no name in /etc/passwd, which PostgreSQL needs",
                (unsigned)uid);
        return set_user(&cluster->user, found);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (getpwnam_r(names[i], &entry, text, sizeof(text), &found) == 0 && found != NULL)
            return set_user(&cluster->user, found);
    return error_set(err, ERR_NOT_FOUND, NULL,
                     "PostgreSQL does not run as root, and there is neither a user tekupdb nor a "
                     "user postgres to run it as: install the package postgresql, or start tekupd "
                     "as another user");
}

/* ---- Programs ---- */

static int run_program(const struct cluster *cluster, const char *directory,
                       const char *const *argv, int keep_fd, struct buffer *output, int *status,
                       struct error *err)
{
    const struct process process = {
        .user = &cluster->user, .directory = directory, .argv = argv, .keep_fd = keep_fd};
    return process_run(&process, status, output, err);
}

/* Whether the user can come to the directory at all. */
static int check_passable(const struct cluster *cluster, const char *directory, struct error *err)
{
    int status;
    return run_program(cluster, directory, NULL, -1, NULL, &status, err);
}

static unsigned long long free_megabytes(const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) return ~0ULL;
    return (unsigned long long)space.f_bavail * space.f_frsize >> 20;
}

/* ---- Making it ---- */

static int read_version(const struct cluster *cluster, int *major, struct error *err)
{
    char path[PATH_MAX + 16], line[32] = "";
    snprintf(path, sizeof(path), "%s/PG_VERSION", cluster->directory);
    FILE *file = fopen(path, "re");
    *major = 0;
    if (file == NULL) {
        if (errno == ENOENT) return 0;
        return error_set(err, ERR_IO, NULL, "cannot read %s: %s", path, strerror(errno));
    }
    if (fgets(line, sizeof(line), file) != NULL) *major = (int)strtol(line, NULL, 10);
    fclose(file);
    if (*major <= 0) return error_set(err, ERR_IO, NULL, "%s names no version", path);
    return 0;
}

static int run_initdb(const struct cluster *cluster, const char *locale, int lock,
                      struct buffer *output, int *status, struct error *err)
{
    char program[PATH_MAX + 16];
    snprintf(program, sizeof(program), "%s/initdb", cluster->binaries.directory);
    const char *const argv[] = {program,
                                "--pgdata",
                                cluster->fresh,
                                "--username=postgres",
                                "--auth=peer",
                                "--encoding=UTF8",
                                "--data-checksums",
                                locale,
                                cluster->binaries.major >= 14 ? "--no-instructions" : NULL,
                                NULL};
    return run_program(cluster, cluster->fresh, argv, lock, output, status, err);
}

static int initdb_error(const struct cluster *cluster, const struct buffer *output,
                        struct error *err)
{
    char complaint[300];
    process_complaint(output, complaint, sizeof(complaint));
    const char *hint =
        strstr(complaint, "No space left") != NULL || free_megabytes(cluster->parent) < LOW_DISK_MB
            ? " (the disk is full: a new cluster needs about 100 MB)"
            : "";
    return error_set(err, ERR_IO, NULL, "initdb could not make %s: %s%s", cluster->directory,
                     complaint, hint);
}

static int make_fresh(const struct cluster *cluster, int lock, struct error *err)
{
    static const char *const locales[] = {"--locale=C.UTF-8", "--no-locale"};
    struct buffer output = {0};
    int status = 1, rc = 0;
    for (size_t i = 0; status != 0 && i < sizeof(locales) / sizeof(*locales); i++) {
        if (i > 0 && (output.data == NULL || strstr(output.data, "invalid locale") == NULL)) break;
        buffer_clear(&output);
        rc = directory_remove(cluster->fresh, &cluster->user, err);
        if (rc == 0) rc = directory_own(cluster->fresh, &cluster->user, err);
        if (rc == 0) rc = run_initdb(cluster, locales[i], lock, &output, &status, err);
        if (rc != 0) goto out;
    }
    if (status != 0) rc = initdb_error(cluster, &output, err);
    if (rc == 0) rc = cluster_files_include(cluster->fresh, &cluster->user, err);
out:
    buffer_free(&output);
    return rc;
}

/* An empty directory of that name is taken; anything else there is somebody's, and left alone. */
static int put_in_place(const struct cluster *cluster, struct error *err)
{
    if (rmdir(cluster->directory) != 0 && errno != ENOENT)
        return error_set(err, ERR_CONFLICT, NULL,
                         "%s is there, but is no PostgreSQL data directory (it has no PG_VERSION): "
                         "move it away",
                         cluster->directory);
    const int parent = open(cluster->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (parent < 0 || rename(cluster->fresh, cluster->directory) != 0 || fsync(parent) != 0)
        rc = error_set(err, ERR_IO, NULL, "cannot rename %s to %s: %s", cluster->fresh,
                       cluster->directory, strerror(errno));
    if (parent >= 0) close(parent);
    return rc;
}

static int make_cluster(struct cluster *cluster, int lock, struct error *err)
{
    int major;
    if (read_version(cluster, &major, err) != 0) return -1;
    if (server_binaries_find(server_binaries_places, major, &cluster->binaries, err) != 0)
        return major != 0 ? error_prefix(err, "%s cannot be started", cluster->directory) : -1;
    if (major != 0) return 0;
    struct stat status;
    if (lstat(cluster->directory, &status) == 0 && rmdir(cluster->directory) != 0)
        return put_in_place(cluster, err);
    const int rc = make_fresh(cluster, lock, err);
    if (rc != 0) {
        directory_remove(cluster->fresh, &cluster->user, NULL); /* it may be what fills the disk */
        return -1;
    }
    if (put_in_place(cluster, err) != 0) return -1;
    log_info("cluster.created", "directory=%s version=%d", log_quote(cluster->directory),
             cluster->binaries.major);
    return 0;
}

/* ---- Running it ---- */

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
    run_program(cluster, cluster->directory, argv, -1, output, &status, NULL);
}

static int start_error(const struct cluster *cluster, const struct buffer *said, struct error *err)
{
    struct buffer output = {0};
    char complaint[300];
    read_startup_log(cluster, &output);
    buffer_append(&output, said->data != NULL ? said->data : "", said->length);
    process_complaint(&output, complaint, sizeof(complaint));
    const unsigned long long space = free_megabytes(cluster->directory);
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
    int rc = run_program(cluster, cluster->directory, argv, -1, &output, &status, err);
    if (rc == 0 && status != 0) rc = start_error(cluster, &output, err);
    if (rc == 0) log_info("cluster.started", "directory=%s", log_quote(cluster->directory));
    buffer_free(&output);
    return rc;
}

static int stop(const struct cluster *cluster, struct error *err)
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
    int rc = run_program(cluster, cluster->directory, argv, -1, &output, &status, err);
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

/* Finds the server running, or starts it. */
static int bring_up(const struct cluster *cluster, struct error *err)
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
    if (postmaster.ours && stop(cluster, err) != 0) return -1;
    postmaster_read(cluster->directory, &postmaster);
    if (clear_remains(cluster, &postmaster, err) != 0) return -1;
    return start(cluster, err);
}

/* ---- The database ---- */

static PGconn *connect_as_superuser(const struct cluster *cluster, const char *database,
                                    struct error *err)
{
    const char *const keywords[] = {
        "host",       "hostaddr",        "port", "user", "dbname", "sslmode", "options",
        "gssencmode", "client_encoding", NULL};
    const char *const values[] = {cluster->socket_directory,
                                  "",
                                  "5432",
                                  "postgres",
                                  database,
                                  "disable",
                                  "",
                                  "disable",
                                  "UTF8",
                                  NULL};
    PGconn *conn = PQconnectdbParams(keywords, values, 0);
    if (PQstatus(conn) == CONNECTION_OK) return conn;
    pool_error(conn, NULL, err);
    PQfinish(conn);
    return NULL;
}

/* Runs the statement where the question's answer is false. */
static int unless(PGconn *conn, const char *question, const char *statement, struct error *err)
{
    PGresult *result = sql_execute(conn, question, NULL, err);
    if (result == NULL) return -1;
    const bool done = PQntuples(result) == 1 && sql_get_bool(result, 0, 0);
    PQclear(result);
    return done ? 0 : sql_run(conn, statement, err);
}

static int make_database(const struct cluster *cluster, struct error *err)
{
    PGconn *conn = connect_as_superuser(cluster, "postgres", err);
    if (conn == NULL) return -1;
    int rc = unless(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tekup_admin')",
                    "CREATE ROLE tekup_admin LOGIN CREATEROLE", err);
    if (rc == 0)
        rc = unless(conn, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'tekup_db')",
                    "CREATE DATABASE tekup_db OWNER tekup_admin TEMPLATE template0 ENCODING 'UTF8'",
                    err);
    PQfinish(conn);
    return rc;
}

/* What only a superuser may do inside the database. That pgvector cannot be had is no error. */
static int furnish_database(const struct cluster *cluster, struct error *err)
{
    struct error why = {0};
    PGconn *conn = connect_as_superuser(cluster, "tekup_db", err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn,
                     "REVOKE ALL ON DATABASE tekup_db FROM PUBLIC;"
                     "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                     err);
    if (rc == 0 &&
        unless(conn,
               "SELECT NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
               " OR EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')",
               "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public", &why) != 0) {
        if (PQstatus(conn) == CONNECTION_OK)
            log_warn("cluster.no_pgvector", "reason=%s", log_quote(why.message));
        else
            rc = error_set(err, why.code, NULL, "%s", why.message);
    }
    PQfinish(conn);
    return rc;
}

static char *make_conninfo(const struct cluster *cluster)
{
    struct buffer text = {0};
    buffer_text(&text, "host='");
    for (const char *at = cluster->socket_directory; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') buffer_text(&text, "\\");
        buffer_append(&text, at, 1);
    }
    /* Everything is said, so that no PG... variable of the environment can say otherwise. */
    buffer_text(&text, "' hostaddr='' port=5432 user=tekup_admin dbname=tekup_db sslmode=disable"
                       " gssencmode=disable options=''");
    return buffer_take(&text);
}

/* ---- Life ---- */

/* Holds DATA/postgres.lock until the descriptor is closed. */
static int lock_directory(const struct cluster *cluster, struct error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/postgres.lock", cluster->parent);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "cannot open %s: %s", path, strerror(errno));
    while (flock(fd, LOCK_EX) != 0) {
        if (errno == EINTR) continue;
        error_set(err, ERR_IO, NULL, "cannot lock %s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static void release(struct cluster *cluster)
{
    pthread_mutex_destroy(&cluster->lock);
    free(cluster->conninfo);
    free(cluster);
}

static int open_locked(struct cluster *cluster, int lock, struct error *err)
{
    if (make_cluster(cluster, lock, err) != 0) return -1;
    if (bring_up(cluster, err) != 0) return -1;
    if (make_database(cluster, err) != 0) return -1;
    return furnish_database(cluster, err);
}

struct cluster *cluster_open(const char *data_directory, const char *run_directory,
                             struct error *err)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    int lock = -1, rc = -1;
    if (cluster == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&cluster->lock, NULL);
    if (set_paths(cluster, data_directory, run_directory, err) != 0) goto out;
    if (choose_user(cluster, err) != 0) goto out;
    if (directory_make(data_directory, &cluster->user, err) != 0) goto out;
    cluster->conninfo = make_conninfo(cluster);
    if (cluster->conninfo == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        goto out;
    }
    lock = lock_directory(cluster, err);
    if (lock >= 0) rc = open_locked(cluster, lock, err);
out:
    if (lock >= 0) close(lock);
    if (rc == 0) return cluster;
    release(cluster);
    return NULL;
}

const char *cluster_conninfo(const struct cluster *cluster)
{
    return cluster->conninfo;
}

int cluster_ensure(struct cluster *cluster, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&cluster->lock);
    if (ping(cluster) != PQPING_OK) {
        const int lock = lock_directory(cluster, err);
        rc = lock >= 0 ? bring_up(cluster, err) : -1;
        if (lock >= 0) close(lock);
    }
    pthread_mutex_unlock(&cluster->lock);
    return rc;
}

int cluster_close(struct cluster *cluster, struct error *err)
{
    if (cluster == NULL) return 0;
    const int rc = stop(cluster, err);
    if (rc == 0) log_info("cluster.stopped", "directory=%s", log_quote(cluster->directory));
    release(cluster);
    return rc;
}
