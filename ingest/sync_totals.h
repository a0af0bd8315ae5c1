/*
 * sync_totals.h: what became of the syncs of this daemon since its start, by kind of source.
 * Counted without a lock, from any thread.
 */
#ifndef INGEST_SYNC_TOTALS_H
#define INGEST_SYNC_TOTALS_H

#include "ingest/source_kind.h"
#include "ingest/sync_run.h"
#include "storage/base/error.h"
#include "storage/base/histogram.h"

#include <stdatomic.h>
#include <stdbool.h>

enum sync_result { SYNC_SUCCEEDED, SYNC_FAILED, SYNC_CANCELLED, SYNC_INTERRUPTED, SYNC_RESULTS };
extern const char *const sync_result_names[SYNC_RESULTS]; /* "success" and so on */

struct sync_totals {
    struct histogram seconds; /* from the beginning of a sync to its end */
    _Atomic uint64_t results[SYNC_RESULTS];
    _Atomic uint64_t written, deleted, failed;   /* documents */
    _Atomic uint64_t embedded, reused, rejected; /* passages */
};

void sync_totals_init(struct sync_totals totals[SOURCE_KINDS]);

/* A sync of this kind of source has ended with err, ERR_NONE where it succeeded. */
void sync_totals_add(struct sync_totals totals[SOURCE_KINDS], const char *source,
                     const struct sync_figures *figures, double seconds, bool cancelled,
                     const struct error *err);

#endif
