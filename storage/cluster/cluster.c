/*
 * The way from nothing to a running server: the directories and who they belong to, the programs,
 * initdb into DATA/postgres.new, renamed when complete (cluster_make.c), our configuration and the
 * start (cluster_server.c), the database (cluster_database.c). Every step finds what an earlier run
 * left and goes on from there.
 *
 * DATA/postgres.lock is held while the cluster is made and started, so that two daemons do not do
 * it at once; initdb holds it too, so that one which outlives a killed daemon is waited for. `lock`
 * lets one thread at a time look after the server.
 */
#include "storage/base/log.h"
#include "storage/cluster/cluster_files.h"
#include "storage/cluster/cluster_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

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

int cluster_run(const struct cluster *cluster, const char *directory, const char *const *argv,
                int keep_fd, struct buffer *output, int *status, struct error *err)
{
    const struct process process = {
        .user = &cluster->user, .directory = directory, .argv = argv, .keep_fd = keep_fd};
    return process_run(&process, status, output, err);
}

unsigned long long cluster_free_megabytes(const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) return ~0ULL;
    return (unsigned long long)space.f_bavail * space.f_frsize >> 20;
}

/* ---- Life ---- */

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
    if (cluster_make(cluster, lock, err) != 0) return -1;
    if (cluster_bring_up(cluster, err) != 0) return -1;
    return cluster_furnish(cluster, err);
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
    if (!cluster_answers(cluster)) {
        const int lock = lock_directory(cluster, err);
        rc = lock >= 0 ? cluster_bring_up(cluster, err) : -1;
        if (lock >= 0) close(lock);
    }
    pthread_mutex_unlock(&cluster->lock);
    return rc;
}

int cluster_close(struct cluster *cluster, struct error *err)
{
    if (cluster == NULL) return 0;
    const int rc = cluster_stop(cluster, err);
    if (rc == 0) log_info("cluster.stopped", "directory=%s", log_quote(cluster->directory));
    release(cluster);
    return rc;
}
