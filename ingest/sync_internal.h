/*
 * sync_internal.h: what the files of the syncer share: sync.c (the interface), sync_work.c (the
 * syncs that run), sync_watch.c (the schedule, and telling how far they are).
 *
 * `lock` protects the list of jobs and what is in them, and the places; a job that runs belongs to
 * its thread, whom others read through sync_run_figures(). No call to the database is made under
 * the lock: a job is entered as JOB_ASKED first, so that the repository is taken while its status
 * is being written, and becomes JOB_QUEUED afterwards.
 *
 * A job that is queued or runs has claimed its repository (claims.h), so that no other daemon syncs
 * it. Where the claim is lost a sync that runs is stopped; its thread then claims the repository
 * again before it writes how the sync ended, and leaves that to the daemon which has been faster.
 */
#ifndef INGEST_SYNC_INTERNAL_H
#define INGEST_SYNC_INTERNAL_H

#include "ingest/sync.h"
#include "ingest/sync_totals.h"
#include "storage/claims.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum job_state { JOB_ASKED, JOB_QUEUED, JOB_RUNNING };

struct job {
    struct job *next;
    struct syncer *syncer;
    enum job_state state;
    char *source, *repository;
    pthread_t thread;
    double began;                     /* clock_now(), of a job that runs */
    bool scheduled;                   /* the source has an interval */
    bool cancelled;                   /* stopped because somebody wants it so */
    bool placed;                      /* counts among those that may run at a time */
    bool told;                        /* its figures are told to the database */
    double told_at;                   /* clock_now(), when they were told last */
    struct sync_figures said_figures; /* by then */
    atomic_bool stop;                 /* changed under the lock */
    struct claim claim;               /* whoever works on the job has it */
    const char *said;                 /* the status that was written last */
    struct sync_run run;
};

struct syncer {
    struct pipeline *pipeline;
    struct claims *claims;
    sem_t permits;
    atomic_bool stop;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job was queued, stopped or is over, a place is free, or stop */
    struct job *jobs;       /* oldest first */
    struct job *over;       /* threads to be joined */
    int places;             /* how many may run at a time, not counting those that rest */
    int placed, running;
    int resuming; /* threads that wait for a place to go on */

    struct sync_totals totals[SOURCE_KINDS];

    pthread_mutex_t telling; /* held while figures are written; taken before `lock` */

    pthread_t threads[3];
    int thread_count;
};

/* ---- sync.c; all under the lock but pause_for and fill ---- */

struct job *find_job(const struct syncer *syncer, const char *source, const char *repository);
void remove_job(struct syncer *syncer, const struct job *job);
void job_free(struct job *job);

/* Waits, unless the syncer is to stop. */
void pause_for(struct syncer *syncer, double seconds);

/* Copies the names; -1 when memory ran out. */
int progress_fill(struct sync_progress *progress, const struct job *job,
                  const struct sync_figures *figures);
void progress_free_row(struct sync_progress *progress);

/* ---- sync_work.c ---- */

/* Writes a status where the claim still holds or can be had again. */
int job_say(struct syncer *syncer, struct job *job, const char *status, const char *message,
            struct error *err);

/* The callbacks of struct sync_run. */
void job_rests(void *job);
void job_resumes(void *job);

/* The thread that begins syncs, and joins theirs. */
void *sync_dispatch(void *syncer);

/* ---- sync_watch.c: its threads ---- */

void *sync_watch_schedule(void *syncer);
void *sync_watch_progress(void *syncer);

/* Ends the sync of the repository that is queued or running here. 1: there is none. */
int sync_cancel_here(struct syncer *syncer, const char *source, const char *repository,
                     struct error *err);

#endif
