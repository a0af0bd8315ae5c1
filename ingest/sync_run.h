/*
 * sync_run.h: one sync of one repository, from its listing to its cursor.
 */
#ifndef INGEST_SYNC_RUN_H
#define INGEST_SYNC_RUN_H

#include "ingest/pipeline.h"
#include "ingest/source_kind.h"
#include "ingest/sync_pace.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>

enum sync_phase { SYNC_LISTING, SYNC_DOCUMENTS, SYNC_DELETING };
enum { SYNC_WAIT_SIZE = 128 };

struct sync_figures {
    enum sync_phase phase;
    size_t total, found, unchanged, fetched, written, deleted, failed, skipped[SKIP_REASONS];
    size_t chunks, embedded, reused, rejected;
    size_t documents;               /* that the vault has of it */
    char waits_for[SYNC_WAIT_SIZE]; /* empty where it waits for nobody */
    time_t waits_until;
    double left_s; /* how long it may take still, beyond that; negative where nobody can tell */
};

struct sync_run {
    /* Set by the caller, who keeps what they point to. */
    struct pipeline *pipeline;
    const char *source, *repository;
    const atomic_bool *stop; /* ends the sync when it becomes true */
    sem_t *permits;          /* one is held while a document is written */
    /* rests: a server makes the sync wait, for who counts those that run; may be called by any
     * thread, and again while it rests. resumes: it is about to go on, and waits there until it
     * may, or is to stop; by its own threads, before each thing that they do. */
    void (*rests)(void *arg);
    void (*resumes)(void *arg);
    void *arg;

    pthread_mutex_t lock; /* protects what follows */
    struct sync_figures figures;
    struct sync_pace pace;
    size_t to_do, done; /* items that have to be looked at closer, and documents to be deleted */
};

/* config is that of the source. Returns 0 when the vault holds what the source has, else -1:
 * ERR_CANCELLED ("interrupted") when it was stopped, ERR_INTERNAL when documents failed (the
 * message says how many, and of the first its path and why), or what ended it early. */
int sync_run(struct sync_run *run, const char *config, struct error *err);

/* May be called from any thread while the sync runs. */
void sync_run_figures(struct sync_run *run, struct sync_figures *figures);

#endif
