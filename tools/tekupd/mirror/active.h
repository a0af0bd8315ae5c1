/*
 * active.h: the syncs that are queued or running, as one list.
 */
#ifndef TEKUPD_ACTIVE_H
#define TEKUPD_ACTIVE_H

#include "ingest/sync.h"
#include "storage/base/error.h"

#include <stddef.h>

struct active {
    struct sync_progress *rows;
    size_t count;
};

/* syncer may be NULL: none. On failure the list is empty. */
int active_get(struct syncer *syncer, struct active *active, struct error *err);
void active_free(struct active *active);

/* The one of this repository, NULL where there is none. */
const struct sync_progress *active_find(const struct active *active, const char *source,
                                        const char *repository);

#endif
