/* The data directory: whose version it is, and how it is made. */
#include "storage/base/log.h"
#include "storage/cluster/cluster_files.h"
#include "storage/cluster/cluster_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    return cluster_run(cluster, cluster->fresh, argv, lock, output, status, err);
}

static int initdb_error(const struct cluster *cluster, const struct buffer *output,
                        struct error *err)
{
    char complaint[300];
    process_complaint(output, complaint, sizeof(complaint));
    const char *hint = strstr(complaint, "No space left") != NULL ||
                               cluster_free_megabytes(cluster->parent) < LOW_DISK_MB
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

int cluster_make(struct cluster *cluster, int lock, struct error *err)
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
