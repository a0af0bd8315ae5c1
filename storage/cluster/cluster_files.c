#include "storage/cluster/cluster_files.h"

#include "storage/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Directories ---- */

int directory_make(const char *path, const struct system_user *user, struct error *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
        return error_set(err, ERR_INVALID, NULL, "the path %.64s... is too long", path);
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char keep = *at;
        *at = '\0';
        if (mkdir(part, user->change ? 0711 : 0700) != 0 && errno != EEXIST)
            return error_set(err, ERR_IO, NULL, "cannot make the directory %s: %s", part,
                             strerror(errno));
        *at = keep;
        if (keep == '\0') return 0;
    }
}

int directory_own(const char *path, const struct system_user *user, struct error *err)
{
    int rc = 0;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(err, ERR_IO, NULL, "cannot make the directory %s: %s", path,
                         strerror(errno));
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (user->change && fchown(fd, user->uid, user->gid) != 0) || fchmod(fd, 0700) != 0)
        rc = error_set(err, ERR_IO, NULL, "cannot take the directory %s for the user %s: %s", path,
                       user->name, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

int directory_remove(const char *path, const struct system_user *user, struct error *err)
{
    const char *const argv[] = {"rm", "-rf", "--", path, NULL};
    const struct process process = {.user = user, .directory = "/", .argv = argv, .keep_fd = -1};
    struct stat there;
    int status;
    if (lstat(path, &there) != 0 && errno == ENOENT) return 0;
    /* Where the parent is root's, rm can only empty the directory and complains. */
    if (directory_own(path, user, err) != 0) return -1;
    if (process_run(&process, &status, NULL, err) != 0) return -1;
    if (rmdir(path) != 0 && errno != ENOENT)
        return error_set(err, ERR_IO, NULL, "cannot remove the directory %s: %s", path,
                         strerror(errno));
    return 0;
}

/* ---- Files ---- */

static int write_new(int directory, const char *name, const char *content,
                     const struct system_user *user)
{
    if (unlinkat(directory, name, 0) != 0 && errno != ENOENT) return -1;
    const int fd =
        openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    size_t left = strlen(content);
    int rc = user->change ? fchown(fd, user->uid, user->gid) : 0;
    while (rc == 0 && left > 0) {
        const ssize_t wrote = write(fd, content, left);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            rc = -1;
        } else {
            content += wrote;
            left -= (size_t)wrote;
        }
    }
    if (rc == 0) rc = fsync(fd);
    const int keep = errno;
    close(fd);
    errno = keep;
    return rc;
}

int file_replace(const char *directory, const char *name, const char *content,
                 const struct system_user *user, struct error *err)
{
    char fresh[NAME_MAX];
    int rc = 0;
    snprintf(fresh, sizeof(fresh), "%s.new", name);
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || write_new(fd, fresh, content, user) != 0 || renameat(fd, fresh, fd, name) != 0 ||
        fsync(fd) != 0)
        rc = error_set(err, ERR_IO, NULL, "cannot write %s/%s: %s", directory, name,
                       strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

/* ---- Their content ---- */

/* A directory as an element of a list setting: double quotes within single ones. */
static void append_directory(struct buffer *conf, const char *path)
{
    buffer_text(conf, "'\"");
    for (; *path != '\0'; path++) {
        if (*path == '\'' || *path == '"') buffer_append(conf, path, 1);
        buffer_append(conf, path, 1);
    }
    buffer_text(conf, "\"'");
}

static void append_settings(struct buffer *conf, const char *socket_directory)
{
    buffer_text(conf,
                "# Written by tekupd at every start. Settings of your own belong into\n"
                "# postgresql.conf, below the line that includes this file.\n"
                "\n"
                "# Nobody reaches this server but through a socket in a directory of its own.\n"
                "listen_addresses = ''\n"
                "port = 5432\n"
                "unix_socket_permissions = 0700\n"
                "unix_socket_directories = ");
    append_directory(conf, socket_directory);
    buffer_text(conf, "\n"
                      "cluster_name = 'tekupdb'\n"
                      "\n"
                      "# PostgreSQL is the truth: what was committed stays.\n"
                      "fsync = on\n"
                      "synchronous_commit = on\n"
                      "full_page_writes = on\n"
                      "\n"
                      "# The index lives in tekupd; the server may stay small.\n"
                      "max_connections = 50\n"
                      "shared_buffers = 128MB\n"
                      "jit = off\n"
                      "\n"
                      "# Parallel plans need room in /dev/shm, of which containers have little.\n"
                      "max_parallel_workers_per_gather = 0\n"
                      "\n"
                      "# Prisma's DateTime columns hold UTC.\n"
                      "timezone = 'UTC'\n"
                      "log_timezone = 'UTC'\n"
                      "\n"
                      "# A file for each day of the week, in DATA/postgres/log.\n"
                      "logging_collector = on\n"
                      "log_directory = 'log'\n"
                      "log_filename = 'postgresql-%a.log'\n"
                      "log_truncate_on_rotation = on\n"
                      "log_rotation_age = 1d\n"
                      "log_rotation_size = 0\n"
                      "log_line_prefix = '%m [%p] %q%u@%d '\n");
}

/* A name in pg_ident.conf; the quotes keep it from being taken for a keyword or a pattern. */
static void append_map(struct buffer *ident, const char *system_name, const char *role)
{
    buffer_format(ident, "tekupdb \"%s\" %s\n", system_name, role);
}

static void append_maps(struct buffer *ident, const char *system_name)
{
    append_map(ident, system_name, "postgres");
    for (size_t i = 0; i < role_count; i++) append_map(ident, system_name, role_names[i]);
}

/* root, the user that the server runs as, and the user of this process may be any of the roles. */
static void append_identities(struct buffer *ident, const struct system_user *user)
{
    struct passwd entry, *self = NULL;
    char text[4096];
    buffer_text(ident, "# Written by tekupd at every start.\n");
    append_maps(ident, "root");
    if (strcmp(user->name, "root") != 0) append_maps(ident, user->name);
    if (getpwuid_r(geteuid(), &entry, text, sizeof(text), &self) == 0 && self != NULL &&
        strcmp(self->pw_name, user->name) != 0 && strcmp(self->pw_name, "root") != 0)
        append_maps(ident, self->pw_name);
}

int cluster_files_write(const char *directory, const char *socket_directory,
                        const struct system_user *user, struct error *err)
{
    static const char access[] = "# Written by tekupd at every start.\n"
                                 "# The kernel says who connects; pg_ident.conf who that may be.\n"
                                 "local all all peer map=tekupdb\n";
    struct buffer conf = {0}, ident = {0};
    int rc = -1;
    append_settings(&conf, socket_directory);
    append_identities(&ident, user);
    if (conf.failed || ident.failed)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else if (file_replace(directory, "tekupdb.conf", conf.data, user, err) == 0 &&
             file_replace(directory, "pg_ident.conf", ident.data, user, err) == 0 &&
             file_replace(directory, "pg_hba.conf", access, user, err) == 0)
        rc = 0;
    buffer_free(&conf);
    buffer_free(&ident);
    return rc;
}

int cluster_files_include(const char *directory, const struct system_user *user, struct error *err)
{
    char path[PATH_MAX], chunk[4096];
    struct buffer conf = {0};
    int rc = -1;
    snprintf(path, sizeof(path), "%s/postgresql.conf", directory);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, ERR_IO, NULL, "cannot read %s: %s", path, strerror(errno));
    size_t got;
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0) buffer_append(&conf, chunk, got);
    buffer_text(&conf, "\ninclude = 'tekupdb.conf'\n");
    if (ferror(file) || conf.failed)
        error_set(err, ERR_IO, NULL, "cannot read %s", path);
    else
        rc = file_replace(directory, "postgresql.conf", conf.data, user, err);
    fclose(file);
    buffer_free(&conf);
    return rc;
}
