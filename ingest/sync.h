/*
 * sync.h: brings repositories up to date, one after another on each of a few threads.
 *
 * A sync lists what the source has now, writes what is new or changed, deletes what is gone, and
 * leaves alone what is unchanged. It may be interrupted at any point: run again it ends in the same
 * state as one that was not, and pays for no embedding twice. Nothing is deleted unless the listing
 * was complete.
 */
#ifndef INGEST_SYNC_H
#define INGEST_SYNC_H

#include "ingest/pipeline.h"
#include "ingest/source_kind.h"

#include <stdbool.h>

enum { SYNC_WRITERS = 4 };

struct syncer;

/* Starts `threads` threads for syncs and one that watches intervals: a source that has one is
 * synced when it has passed since its last sync, by whichever daemon that was. Documents are
 * written SYNC_WRITERS at a time, whatever the number of syncs that run. The pipeline must outlive
 * the syncer. Errors: ERR_INTERNAL. */
struct syncer *syncer_create(struct pipeline *pipeline, int threads, struct error *err);

/* Ends running syncs after the document they are at (their status becomes `error`, "interrupted"),
 * joins the threads and releases everything. What is queued stays `pending`. No other call may be
 * under way. NULL is allowed. */
void syncer_free(struct syncer *syncer);

/* Queues one repository. Its status becomes `pending`. Errors: ERR_NOT_FOUND where there is no such
 * source; ERR_CONFLICT where it is queued or running already. */
int syncer_request(struct syncer *syncer, const char *source, const char *repository,
                   struct error *err);

struct sync_progress {
    char *source, *repository;
    bool running; /* false: queued */
    /* found: items that are documents as far as is known; in the end each of them is unchanged,
     * written or failed. skipped counts what the listing left out, and what turned out to be no
     * text when it was fetched. */
    size_t found, unchanged, written, deleted, failed, skipped[SKIP_REASONS];
    size_t chunks, embedded, reused;
    size_t total; /* found, once the listing is complete; 0 while it goes on */
    double elapsed_s;
};
/* The repositories that are queued or running. The caller frees the strings and the array. */
int syncer_progress(struct syncer *syncer, struct sync_progress **rows, size_t *count,
                    struct error *err);

/* The figures of the last sync of this repository since the daemon started; running is false.
 * Errors: ERR_NOT_FOUND. The caller frees the strings. */
int syncer_last(struct syncer *syncer, const char *source, const char *repository,
                struct sync_progress *progress, struct error *err);

#endif
