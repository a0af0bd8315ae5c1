/*
 * cluster.h: the private PostgreSQL cluster that tekupd makes and runs where DATABASE_URL is not
 * set.
 *
 * It lives in DATA/postgres, listens on a UNIX socket in RUN/postgres only (never on TCP), trusts
 * the kernel's word for who connects (peer authentication; root, the daemon's user and the
 * cluster's own user map to tekup_admin and to the superuser), and is run by the newest installed
 * server of the version that made it. PostgreSQL refuses to run as root: started by root, the
 * cluster belongs to and runs as an unprivileged system user (tekupdb where it exists, else
 * postgres).
 *
 * The server outlives a tekupd that is killed: the next one finds it and goes on with it.
 */
#ifndef STORAGE_CLUSTER_H
#define STORAGE_CLUSTER_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct cluster;

/* Paths are absolute and belong to the caller. Makes data_directory/postgres with initdb if it is
 * not there (an initdb that was interrupted is begun again), starts the server if it does not run,
 * and makes the database tekup_db and the role tekup_admin. Returns NULL with an error that says
 * what to do: no server binaries installed, made by another major version, disk full, permissions,
 * a socket path too long for the system (107 bytes). */
struct cluster *cluster_open(const char *data_directory, const char *run_directory,
                             struct error *err);

/* conninfo for the pool: the database tekup_db as tekup_admin. Owned by the cluster. */
const char *cluster_conninfo(const struct cluster *cluster);

/* Starts the server again if it is gone. Cheap when it runs. */
int cluster_ensure(struct cluster *cluster, struct error *err);

/* Stops the server (fast shutdown) and releases the cluster. NULL is allowed. */
int cluster_close(struct cluster *cluster, struct error *err);

#endif
