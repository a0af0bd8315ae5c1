/*
 * sync_run.h: one sync of one repository, from its listing to its cursor.
 */
#ifndef INGEST_SYNC_RUN_H
#define INGEST_SYNC_RUN_H

#include "ingest/pipeline.h"
#include "ingest/source_kind.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>

struct sync_figures {
    size_t total, found, unchanged, written, deleted, failed, skipped[SKIP_REASONS];
    size_t chunks, embedded, reused;
};

struct sync_run {
    /* Set by the caller, who keeps what they point to. */
    struct pipeline *pipeline;
    const char *source, *repository;
    const atomic_bool *stop; /* ends the sync when it becomes true */
    sem_t *permits;          /* one is held while a document is fetched and written */

    pthread_mutex_t lock; /* protects what follows */
    struct sync_figures figures;
};

/* config is that of the source. Returns 0 when the vault holds what the source has, else -1:
 * ERR_CANCELLED ("interrupted") when it was stopped, ERR_INTERNAL when documents failed (the
 * message says how many, and of the first its path and why), or what ended it early. */
int sync_run(struct sync_run *run, const char *config, struct error *err);

/* May be called from any thread while the sync runs. */
void sync_run_figures(struct sync_run *run, struct sync_figures *figures);

#endif
