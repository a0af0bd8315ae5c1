/*
 * sync.h: brings repositories up to date, a few at a time.
 *
 * A sync lists what the source has now, writes what is new or changed, deletes what is gone, and
 * leaves alone what is unchanged. It may be interrupted at any point: run again it ends in the same
 * state as one that was not, and pays for no embedding twice. Nothing is deleted unless the listing
 * was complete.
 *
 * Several daemons may sync into one database: a repository is synced by one of them at a time,
 * whoever asked for it, and one of them, which leads, starts the syncs of the schedule. When it
 * dies another one leads within 30 s and takes up the scheduled syncs that it left
 * (storage/claims.h).
 */
#ifndef INGEST_SYNC_H
#define INGEST_SYNC_H

#include "ingest/pipeline.h"
#include "ingest/source_kind.h"
#include "ingest/sync_run.h"
#include "ingest/sync_totals.h"

#include <stdbool.h>

enum { SYNC_WRITERS = 4 };

struct syncer;
struct job;

/* Runs up to `places` syncs at a time, not counting those that a server makes wait, and watches the
 * schedule: a source that has an interval is synced when it has passed since its last sync, by
 * whichever daemon that was. Documents are written SYNC_WRITERS at a time, whatever the number of
 * syncs that run. The pipeline must outlive the syncer. Errors: ERR_INTERNAL. */
struct syncer *syncer_create(struct pipeline *pipeline, int places, struct error *err);

/* Ends running syncs after the document they are at (their status becomes `error`, "interrupted",
 * or `pending` where the source has an interval, for another daemon or the next start to take up),
 * joins the threads and releases everything. What is queued stays `pending`. No other call may be
 * under way. NULL is allowed. */
void syncer_free(struct syncer *syncer);

/* Queues one repository. Its status becomes `pending`. Errors: ERR_NOT_FOUND where there is no such
 * source; ERR_CONFLICT where it is queued or running already, here or in another daemon. */
int syncer_request(struct syncer *syncer, const char *source, const char *repository,
                   struct error *err);

/* For who knows that something has changed (a webhook): a sync that begins from now on. Returns 0
 * when it is queued, 1 when one is under way, here or in another daemon, that will be followed by
 * another; however often this is asked for meanwhile, by one. It is not forgotten when daemons die.
 * Errors: ERR_NOT_FOUND where there is no such source; ERR_UNAVAILABLE. */
int syncer_request_again(struct syncer *syncer, const char *source, const char *repository,
                         struct error *err);

/* Ends the sync of a repository that is queued or running, here or in another daemon, within about
 * a second or two: its status becomes `error`, "cancelled", and what was written stays. Returns as
 * soon as that is on its way. Errors: ERR_NOT_FOUND where there is no such source or no sync of it;
 * ERR_CONFLICT where it is just being asked for; ERR_UNAVAILABLE. */
int syncer_cancel(struct syncer *syncer, const char *source, const char *repository,
                  struct error *err);

/* Keeps syncs of a repository away, in every daemon, until it is released; for what must not happen
 * during one. Errors: ERR_CONFLICT where one is queued or running. */
struct job *syncer_reserve(struct syncer *syncer, const char *source, const char *repository,
                           struct error *err);
void syncer_release(struct syncer *syncer, struct job *job); /* NULL is allowed */

/* Whether this daemon starts the syncs of the schedule. */
bool syncer_leads(struct syncer *syncer);

/* How many are queued and running in this daemon. */
void syncer_count(struct syncer *syncer, size_t *queued, size_t *running);

/* What became of the syncs of this daemon, one for each kind of source; as old as the syncer. */
const struct sync_totals *syncer_totals(const struct syncer *syncer);

struct sync_progress {
    char *source, *repository;
    bool running, ended; /* neither: queued */
    /* found: items that are documents as far as is known; in the end each of them is unchanged,
     * written or failed. skipped counts what the listing left out, and what turned out to be no
     * text when it was fetched. total: found, once the listing is complete; 0 while it goes on. */
    struct sync_figures figures;
    double elapsed_s;
};
/* The repositories that are queued or running in this daemon. The caller frees the strings and the
 * array. What others run, and how the last one went, is in the database (sources.h), told once a
 * second, as the text of sync_progress_json. */
int syncer_progress(struct syncer *syncer, struct sync_progress **rows, size_t *count,
                    struct error *err);

/* A JSON object's text, which the caller frees, as API.md has it: {"phase", "running", "total",
 * ...}. NULL when memory ran out. */
char *sync_progress_json(const struct sync_progress *progress);

#endif
