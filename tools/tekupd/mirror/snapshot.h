/*
 * snapshot.h: a replica in files, so that a start need not read the vault.
 *
 *     DATA/index/vectors     the index (tk_index_save); its note says which feed and which position
 *                            it stands for, of which model, and which catalog belongs to it
 *     DATA/index/catalog-N   the catalog
 *     DATA/index/position    a later position with the same content, where there is one
 *
 * `vectors` is replaced by rename once its catalog is on the disk, so that the two always belong
 * together. They are written while the replica changes: both are at least as new as the position,
 * and whoever opens them reads again what has changed since (follow.h, distrust).
 *
 * Not locked: one caller at a time.
 */
#ifndef TEKUPD_SNAPSHOT_H
#define TEKUPD_SNAPSHOT_H

#include "storage/base/error.h"
#include "storage/feed.h"
#include "tools/tekupd/mirror/replica.h"

struct snapshot {
    struct replica *replica; /* the caller's reference */
    char identity[FEED_IDENTITY_SIZE];
    char *position;
};
void snapshot_free(struct snapshot *snapshot); /* what it holds */

/* Writes a snapshot. One that fails leaves the one before as it was. Errors: ERR_IO (disk full),
 * ERR_INTERNAL. */
int snapshot_save(const char *data, struct replica *replica, const char *identity,
                  const char *position, struct error *err);

/* The content of the last snapshot has not changed up to this position. */
int snapshot_move(const char *data, const char *position, struct error *err);

/* Opens the last snapshot. Returns 1, or 0 where there is none. One that is damaged, or of other
 * options of the index (those that shape the graph), is ERR_INVALID with the reason. Whether its
 * model is the one that the vault serves is for the caller to look at. */
int snapshot_open(const char *data, const tk_index_options *options, struct snapshot *snapshot,
                  struct error *err);

/* Puts it aside for somebody to look at, in the place of one that was put aside before, and says so
 * in the log. */
void snapshot_set_aside(const char *data, const char *reason);

#endif
