/*
 * sync_work.c: the syncs that run, each in a thread of its own.
 *
 * So many of them run at a time as there are places. One that has to wait for a server's limit
 * gives its place back and takes one again before it goes on, ahead of those that have not begun: a
 * source that lets nobody in for an hour keeps no other from being synced.
 *
 * The status of a sync that has ended is written until it is written: while the database is away
 * its thread waits, and the repository stays taken. A scheduled one that did not come to its end
 * becomes `pending`, and the daemon that leads takes it up.
 */
#include "ingest/sync_internal.h"

#include "ingest/clock.h"
#include "ingest/sync_run.h"
#include "storage/base/log.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include <stdlib.h>
#include <string.h>

enum { RUNNING_MOST = 64 }; /* threads of syncs, with those that rest */

/* ---- Places ---- */

/* Under the lock. */
static void leave_place(struct job *job)
{
    if (!job->placed) return;
    job->placed = false;
    job->syncer->placed--;
    pthread_cond_broadcast(&job->syncer->changed);
}

void job_rests(void *arg)
{
    struct job *job = arg;
    pthread_mutex_lock(&job->syncer->lock);
    leave_place(job);
    pthread_mutex_unlock(&job->syncer->lock);
}

void job_resumes(void *arg)
{
    struct job *job = arg;
    struct syncer *syncer = job->syncer;
    pthread_mutex_lock(&syncer->lock);
    if (!job->placed) {
        syncer->resuming++;
        while (!job->placed && syncer->placed >= syncer->places && !atomic_load(&job->stop))
            pthread_cond_wait(&syncer->changed, &syncer->lock);
        syncer->resuming--;
        if (!job->placed) {
            job->placed = true;
            syncer->placed++;
        }
        pthread_cond_broadcast(&syncer->changed);
    }
    pthread_mutex_unlock(&syncer->lock);
}

/* ---- Statuses ---- */

/* Claims the job's repository again where the claim was lost. ERR_CONFLICT: another daemon has it,
 * or has had it and left another status than this one's. */
static int keep_claim(struct syncer *syncer, struct job *job, struct error *err)
{
    struct pool *pool = syncer->pipeline->pool;
    bool same;
    if (claims_hold(syncer->claims, &job->claim)) return 0;
    if (claims_take(syncer->claims, job->source, job->repository, &job->claim, err) != 0 ||
        sync_status_is(pool, job->source, job->repository, job->said, &same, err) != 0)
        return -1;
    return same ? 0
                : error_set(err, ERR_CONFLICT, "repository", "another daemon has synced %s %s",
                            job->source, job->repository);
}

int job_say(struct syncer *syncer, struct job *job, const char *status, const char *message,
            struct error *err)
{
    if (keep_claim(syncer, job, err) != 0 ||
        sync_status_set(syncer->pipeline->pool, job->source, job->repository, status, message,
                        err) != 0)
        return -1;
    job->said = status;
    return 0;
}

/* Writes how a sync ended, with its figures, as soon as the database takes it. */
static void write_status(struct syncer *syncer, struct job *job, const char *progress,
                         const char *status, const char *message)
{
    struct error err = {0};
    double wait = 0.25;
    while (keep_claim(syncer, job, &err) != 0 ||
           (progress != NULL && sync_progress_keep(syncer->pipeline->pool, job->source,
                                                   job->repository, progress, &err) != 0) ||
           job_say(syncer, job, status, message, &err) != 0) {
        if (err.code != ERR_UNAVAILABLE || atomic_load(&syncer->stop)) {
            log_warn("sync.status_lost", "source=%s repository=%s status=%s error=%s",
                     log_quote(job->source), log_quote(job->repository), status,
                     log_quote(err.message));
            return;
        }
        pause_for(syncer, wait);
        if (wait < 4) wait *= 2;
    }
}

static void log_end(const struct job *job, const struct sync_figures *figures, double elapsed,
                    const struct error *err)
{
    if (err->code == ERR_NONE)
        log_info("sync.done",
                 "source=%s repository=%s found=%zu unchanged=%zu fetched=%zu written=%zu "
                 "deleted=%zu chunks=%zu embedded=%zu rejected=%zu seconds=%.2f",
                 log_quote(job->source), log_quote(job->repository), figures->found,
                 figures->unchanged, figures->fetched, figures->written, figures->deleted,
                 figures->chunks, figures->embedded, figures->rejected, elapsed);
    else
        log_warn("sync.failed",
                 "source=%s repository=%s found=%zu written=%zu failed=%zu seconds=%.2f error=%s",
                 log_quote(job->source), log_quote(job->repository), figures->found,
                 figures->written, figures->failed, elapsed, log_quote(err->message));
}

/* ---- One sync ---- */

/* Claims the repository again if that was lost while the job waited, and begins. */
static int begin(struct syncer *syncer, struct job *job, struct source *source, struct error *err)
{
    struct pool *pool = syncer->pipeline->pool;
    /* Whatever is lost from here on stops the job. */
    pthread_mutex_lock(&syncer->lock);
    atomic_store(&job->stop, atomic_load(&syncer->stop) || job->cancelled);
    pthread_mutex_unlock(&syncer->lock);
    if (keep_claim(syncer, job, err) != 0 ||
        sources_get(pool, job->source, job->repository, source, err) != 0 ||
        sync_state_begun(pool, job->source, job->repository, err) != 0 ||
        job_say(syncer, job, "in_progress", NULL, err) != 0)
        return -1;
    pthread_mutex_lock(&syncer->lock);
    job->told = true;
    pthread_mutex_unlock(&syncer->lock);
    log_info("sync.start", "source=%s repository=%s", log_quote(job->source),
             log_quote(job->repository));
    return 0;
}

/* Writes how the job ended. A scheduled one that was kept from its end is to be taken up again, but
 * for one that somebody has cancelled. */
static void settle(struct syncer *syncer, struct job *job, const struct sync_figures *figures,
                   struct error *err)
{
    struct sync_progress progress = {.source = job->source,
                                     .repository = job->repository,
                                     .ended = true,
                                     .figures = *figures,
                                     .elapsed_s = clock_now() - job->began};
    const bool lost = !claims_hold(syncer->claims, &job->claim);
    const bool stopped = err->code == ERR_CANCELLED;
    pthread_mutex_lock(&syncer->lock);
    const bool cancelled = job->cancelled;
    job->told = false;
    pthread_mutex_unlock(&syncer->lock);
    /* What is being told now is told before the end is. */
    pthread_mutex_lock(&syncer->telling);
    pthread_mutex_unlock(&syncer->telling);

    if (stopped && cancelled)
        error_set(err, ERR_CANCELLED, NULL, "cancelled; sync again to go on");
    else if (stopped && lost)
        error_set(err, ERR_CANCELLED, NULL,
                  "interrupted: the connection that keeps other daemons away was lost");
    sync_totals_add(syncer->totals, job->source, figures, progress.elapsed_s, cancelled, err);
    char *text = sync_progress_json(&progress);
    if (err->code == ERR_NONE)
        write_status(syncer, job, text, "success", NULL);
    else if (job->scheduled && !cancelled && (stopped || lost))
        write_status(syncer, job, text, "pending", NULL);
    else
        write_status(syncer, job, text, "error", err->message);
    free(text);
}

/* Another sync where somebody has asked for it since this one has begun. Where the database cannot
 * be asked now, the daemon that leads will find it. */
static void go_on(struct syncer *syncer, const char *source, const char *repository)
{
    bool wanted;
    if (!atomic_load(&syncer->stop) &&
        sync_is_wanted(syncer->pipeline->pool, source, repository, &wanted, NULL) == 0 && wanted)
        syncer_request(syncer, source, repository, NULL);
}

static void *perform(void *arg)
{
    struct job *job = arg;
    struct syncer *syncer = job->syncer;
    struct source source = {0};
    struct error err = {0};
    struct sync_figures figures;

    const bool begun = begin(syncer, job, &source, &err) == 0;
    if (begun && sync_run(&job->run, source.config, &err) == 0)
        err.code = ERR_NONE;
    else if (begun && atomic_load(&job->stop)) /* however the source has put it */
        error_set(&err, ERR_CANCELLED, NULL, "interrupted");
    sync_run_figures(&job->run, &figures);
    /* A source that was removed while it waited has no status any more, and that of a repository
     * which another daemon has claimed meanwhile is the other's. */
    if (begun || (err.code != ERR_NOT_FOUND && err.code != ERR_CONFLICT))
        settle(syncer, job, &figures, &err);
    source_free(&source);
    log_end(job, &figures, clock_now() - job->began, &err);
    claims_drop(syncer->claims, job->source, job->repository, &job->claim);

    pthread_mutex_lock(&syncer->lock);
    remove_job(syncer, job);
    leave_place(job);
    pthread_mutex_unlock(&syncer->lock);
    go_on(syncer, job->source, job->repository);

    pthread_mutex_lock(&syncer->lock);
    syncer->running--;
    job->next = syncer->over;
    syncer->over = job;
    pthread_cond_broadcast(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
    return NULL;
}

/* ---- The thread that begins them ---- */

static struct job *first_queued(const struct syncer *syncer)
{
    struct job *job = syncer->jobs;
    while (job != NULL && job->state != JOB_QUEUED) job = job->next;
    return job;
}

/* Under the lock, which it gives up meanwhile. */
static void join_over(struct syncer *syncer)
{
    while (syncer->over != NULL) {
        struct job *job = syncer->over;
        syncer->over = job->next;
        pthread_mutex_unlock(&syncer->lock);
        pthread_join(job->thread, NULL);
        job_free(job);
        pthread_mutex_lock(&syncer->lock);
    }
}

static struct job *next_to_begin(const struct syncer *syncer)
{
    const bool room =
        syncer->placed < syncer->places && syncer->resuming == 0 && syncer->running < RUNNING_MOST;
    return room ? first_queued(syncer) : NULL;
}

/* Under the lock. Returns whether its thread could be started. */
static bool begin_thread(struct syncer *syncer, struct job *job)
{
    job->state = JOB_RUNNING;
    job->began = clock_now();
    job->placed = true;
    syncer->placed++;
    syncer->running++;
    if (pthread_create(&job->thread, NULL, perform, job) == 0) return true;
    job->state = JOB_QUEUED;
    job->placed = false;
    syncer->placed--;
    syncer->running--;
    return false;
}

void *sync_dispatch(void *arg)
{
    struct syncer *syncer = arg;
    pthread_mutex_lock(&syncer->lock);
    while (!atomic_load(&syncer->stop)) {
        join_over(syncer);
        struct job *job = next_to_begin(syncer);
        if (job == NULL) {
            if (!atomic_load(&syncer->stop) && syncer->over == NULL)
                pthread_cond_wait(&syncer->changed, &syncer->lock);
        } else if (!begin_thread(syncer, job)) {
            const struct timespec until = clock_after(1);
            log_warn("sync.no_thread", "source=%s repository=%s", log_quote(job->source),
                     log_quote(job->repository));
            pthread_cond_timedwait(&syncer->changed, &syncer->lock, &until);
        }
    }
    while (syncer->running > 0 || syncer->over != NULL) {
        if (syncer->over == NULL) pthread_cond_wait(&syncer->changed, &syncer->lock);
        join_over(syncer);
    }
    pthread_mutex_unlock(&syncer->lock);
    return NULL;
}
