/* cluster_internal.h: the private cluster, for the files that cluster.c is made of. */
#ifndef STORAGE_CLUSTER_INTERNAL_H
#define STORAGE_CLUSTER_INTERNAL_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/cluster/cluster.h"
#include "storage/cluster/process.h"
#include "storage/cluster/server_binaries.h"

#include <limits.h>
#include <pthread.h>

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

enum { LOW_DISK_MB = 64 };

/* ---- cluster.c ---- */

/* Runs a program as the cluster's user, who enters the directory first; see process_run. */
int cluster_run(const struct cluster *cluster, const char *directory, const char *const *argv,
                int keep_fd, struct buffer *output, int *status, struct error *err);

/* What is left on the file system; a great number where that cannot be told. */
unsigned long long cluster_free_megabytes(const char *path);

/* ---- cluster_make.c ---- */

/* Finds the programs for the data directory, and makes it with initdb where it is missing. lock is
 * the descriptor of DATA/postgres.lock, which initdb holds too. */
int cluster_make(struct cluster *cluster, int lock, struct error *err);

/* ---- cluster_server.c ---- */

/* Finds the server running, or starts it. */
int cluster_bring_up(const struct cluster *cluster, struct error *err);

/* Whether it answers. */
bool cluster_answers(const struct cluster *cluster);

/* Stops it where it runs. */
int cluster_stop(const struct cluster *cluster, struct error *err);

/* ---- cluster_database.c ---- */

/* Makes tekup_admin and tekup_db, and in it what only a superuser may. */
int cluster_furnish(const struct cluster *cluster, struct error *err);

#endif
