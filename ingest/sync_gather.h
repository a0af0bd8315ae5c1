/*
 * sync_gather.h: documents on their way together, so that what is asked of an embedding server
 * fills its requests: gathered until the texts that have no embedding yet are as many as it takes
 * at once, then embedded in one call, then written each by itself.
 *
 * Not locked: each thread of a sync gathers by itself. No callback may call back.
 */
#ifndef INGEST_SYNC_GATHER_H
#define INGEST_SYNC_GATHER_H

#include "ingest/pipeline.h"
#include "ingest/source_kind.h"

#include <stdbool.h>
#include <stddef.h>

struct gathered;

struct gather {
    /* Set by the caller. */
    struct pipeline *pipeline;
    struct embed_call how; /* stop, waiting, arg */
    /* Whether everything that is gathered is to be dropped. */
    bool (*ends)(void *arg);
    /* Around a query of the database; enter returns false where there is to be none. */
    bool (*enter)(void *arg);
    void (*leave)(void *arg);
    /* Each document that is added ends by one of the two, unless it is dropped. */
    void (*write)(void *arg, size_t place, struct draft *draft);
    void (*fail)(void *arg, size_t place, const struct error *why);
    void *arg;

    /* Starts as {0}. */
    struct gathered *documents;
    size_t count, room;
    size_t looked_up; /* the first so many have been; `texts` counts those of the others */
    size_t texts, missing, missing_bytes, bytes;
    double since; /* clock_now(), when the first one came that waits */
};

/* Takes the content over, and embeds and writes what there is where that is enough, or where the
 * first has waited for some seconds, as with a slow source. The names stay the caller's. */
void gather_add(struct gather *gather, size_t place, const char *source, const char *repository,
                const char *path, struct source_content *content);

/* Gives to `gather` what another one has gathered. */
void gather_move(struct gather *gather, struct gather *other);

/* Embeds and writes what is left. */
void gather_finish(struct gather *gather);

/* Drops what is left. */
void gather_free(struct gather *gather);

#endif
