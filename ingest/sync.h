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

struct syncer;

/* Starts `threads` threads. Sources with an interval are synced when it has passed. The pipeline
 * must outlive the syncer. */
struct syncer *syncer_create(struct pipeline *pipeline, int threads, struct error *err);

/* Ends running syncs after the document they are at (their status becomes `error`, "interrupted"),
 * joins the threads and releases everything. */
void syncer_free(struct syncer *syncer);

/* Queues one repository. Its status becomes `pending`. Errors: ERR_NOT_FOUND where there is no such
 * source; ERR_CONFLICT where it is queued or running already. */
int syncer_request(struct syncer *syncer, const char *source, const char *repository,
                   struct error *err);

struct sync_progress {
    char *source, *repository;
    bool running; /* false: queued */
    size_t found, unchanged, written, deleted, failed, skipped[SKIP_REASONS];
    size_t chunks, embedded, reused;
    size_t total; /* items to be looked at; 0 while the listing goes on */
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
