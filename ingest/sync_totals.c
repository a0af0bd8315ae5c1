#include "ingest/sync_totals.h"

#include <string.h>

const char *const sync_result_names[SYNC_RESULTS] = {[SYNC_SUCCEEDED] = "success",
                                                     [SYNC_FAILED] = "error",
                                                     [SYNC_CANCELLED] = "cancelled",
                                                     [SYNC_INTERRUPTED] = "interrupted"};

void sync_totals_init(struct sync_totals totals[SOURCE_KINDS])
{
    for (size_t i = 0; i < SOURCE_KINDS; i++) histogram_init(&totals[i].seconds, &histogram_jobs);
}

static enum sync_result result_of(const struct error *err, bool cancelled)
{
    if (err->code == ERR_NONE) return SYNC_SUCCEEDED;
    if (err->code != ERR_CANCELLED) return SYNC_FAILED;
    return cancelled ? SYNC_CANCELLED : SYNC_INTERRUPTED;
}

void sync_totals_add(struct sync_totals totals[SOURCE_KINDS], const char *source,
                     const struct sync_figures *figures, double seconds, bool cancelled,
                     const struct error *err)
{
    size_t kind = 0;
    while (kind < SOURCE_KINDS && strcmp(source_kind_at(kind)->name, source) != 0) kind++;
    if (kind == SOURCE_KINDS) return;
    struct sync_totals *total = &totals[kind];
    histogram_observe(&total->seconds, seconds);
    atomic_fetch_add(&total->results[result_of(err, cancelled)], 1);
    atomic_fetch_add(&total->written, figures->written);
    atomic_fetch_add(&total->deleted, figures->deleted);
    atomic_fetch_add(&total->failed, figures->failed);
    atomic_fetch_add(&total->embedded, figures->embedded);
    atomic_fetch_add(&total->reused, figures->reused);
    atomic_fetch_add(&total->rejected, figures->rejected);
}
