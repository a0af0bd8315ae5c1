/*
 * paths.h: where RUN (sockets) and DATA (what is kept) are, by the one rule that the daemon and the
 * command line share.
 *
 *     RUN    TEKUP_RUN, else what the configuration says, else
 *            root: /run/tekupdb, a person: $XDG_RUNTIME_DIR/tekupdb, else /tmp/tekupdb-UID
 *     DATA   TEKUP_DATA, else what the configuration says, else
 *            root: /var/lib/tekupdb, a person: $XDG_DATA_HOME/tekupdb, else
 *            ~/.local/share/tekupdb
 *
 * Both are absolute and without a final '/'. An empty variable counts as unset; XDG variables that
 * are not absolute are ignored, as their specification demands.
 */
#ifndef STORAGE_BASE_PATHS_H
#define STORAGE_BASE_PATHS_H

#include "storage/base/error.h"

#include <stddef.h>
#include <sys/types.h>

#define PATHS_SYSTEM_RUN "/run/tekupdb"
#define PATHS_SYSTEM_DATA "/var/lib/tekupdb"
#define PATHS_SOCKET "tekupd.sock" /* the HTTP interface, in RUN */

/* A directory's path; far above what a socket's address can hold (107 bytes). */
enum { PATHS_SIZE = 1024 };

/* configured is the configuration's value, NULL or "" where it says nothing. Errors: ERR_INVALID
 * (field "TEKUP_RUN" or "TEKUP_DATA", or the given name of the setting): not absolute, too long. */
int paths_run(const char *configured, const char *setting, char out[PATHS_SIZE], struct error *err);
int paths_data(const char *configured, const char *setting, char out[PATHS_SIZE],
               struct error *err);

/* Makes a directory, and those above it, where they are missing. One that is there must belong to
 * this user or to root (anyone can make /tmp/tekupdb-UID), unless this is root itself. Errors:
 * ERR_IO. */
int paths_make(const char *directory, mode_t mode, struct error *err);

#endif
