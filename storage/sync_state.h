/*
 * sync_state.h: what the daemons on a database tell each other of a repository's sync: how far it
 * is, that it is wanted once more, and that it is to end. Same rules as sources.h.
 *
 * A sync begins by taking back `wanted`, before it lists anything, and its daemon looks whether it
 * is set when it has given up its claim (claims.h) at the end. Whoever wants another sync sets it
 * first and tries to claim the repository then: so either that succeeds, or the one whose claim was
 * in the way finds it.
 */
#ifndef STORAGE_SYNC_STATE_H
#define STORAGE_SYNC_STATE_H

#include "storage/pool.h"

#include <stdbool.h>

/* Wants a sync that begins from now on. Errors: ERR_NOT_FOUND where there is no such source. */
int sync_want(struct pool *pool, const char *source, const char *repository, struct error *err);
/* false also where there is no such source. */
int sync_is_wanted(struct pool *pool, const char *source, const char *repository, bool *wanted,
                   struct error *err);

/* A sync is about to be queued: what was said of an earlier one's end does not concern it. */
int sync_state_queued(struct pool *pool, const char *source, const char *repository,
                      struct error *err);
/* A sync is about to list. */
int sync_state_begun(struct pool *pool, const char *source, const char *repository,
                     struct error *err);

/* Asks the daemon that syncs it to end that, and to begin no other for what was wanted before. */
int sync_cancel(struct pool *pool, const char *source, const char *repository, struct error *err);
/* Calls `each` for every source whose sync is to end. */
typedef void (*sync_cancelled_fn)(void *arg, const char *source, const char *repository);
int sync_cancelled(struct pool *pool, sync_cancelled_fn each, void *arg, struct error *err);

/* Tells how far the sync is that runs: progress is a JSON object's text. documentCount becomes
 * `documents` (below 0: stays), where the status is in_progress; clients of the change feed hear of
 * it. */
int sync_progress_tell(struct pool *pool, const char *source, const char *repository,
                       const char *progress, long documents, struct error *err);
/* Keeps the figures of a sync that has ended, until the next one has. */
int sync_progress_keep(struct pool *pool, const char *source, const char *repository,
                       const char *progress, struct error *err);

#endif
