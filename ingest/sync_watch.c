/*
 * sync_watch.c: two threads beside the syncs: one asks for those whose time has come (in the daemon
 * that leads), one tells the database how far those of this daemon are, and ends the ones that
 * somebody has cancelled at another daemon.
 */
#include "ingest/clock.h"
#include "ingest/sync_internal.h"
#include "ingest/sync_run.h"
#include "storage/base/log.h"
#include "storage/copy.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- The schedule, by the daemon that leads ---- */

static void ask_for(void *arg, const char *source, const char *repository)
{
    struct syncer *syncer = arg;
    if (!atomic_load(&syncer->stop) && claims_lead(syncer->claims))
        syncer_request(syncer, source, repository, NULL);
}

/* Asks for the syncs whose time has come, ends the status of those whose daemon died, and sessions
 * in which one hangs, since what they have locked keeps the syncs from their end. Returns in how
 * many seconds the next one may be due. */
static double keep_schedule(struct syncer *syncer)
{
    enum { LOOK_AGAIN_S = 5, LOOK_FOR_LEADERSHIP_S = 1 };
    struct pool *pool = syncer->pipeline->pool;
    struct error err = {0};
    double wait = LOOK_AGAIN_S;
    size_t recovered, ended;
    if (!claims_lead(syncer->claims)) return LOOK_FOR_LEADERSHIP_S;
    if (sources_due(pool, ask_for, syncer, &wait, &err) == 0 &&
        sync_status_recover(pool, &recovered, &err) == 0 && recovered > 0)
        log_info("sync.recovered", "interrupted=%zu", recovered);
    if (copy_in_end_hung(pool, COPY_PATIENCE_S, &ended, &err) == 0 && ended > 0)
        log_warn("sync.hung", "sessions=%zu", ended);
    return wait;
}

void *sync_watch_schedule(void *arg)
{
    struct syncer *syncer = arg;
    while (!atomic_load(&syncer->stop)) pause_for(syncer, keep_schedule(syncer));
    return NULL;
}

/* ---- Telling how far they are ---- */

static const double TELL_S = 1;    /* between two looks */
static const double REPEAT_S = 10; /* between two times that the same is told */

/* Whether there is anything new to tell, under the lock. */
static bool is_news(struct job *job, const struct sync_figures *figures, double now)
{
    struct sync_figures same = *figures;
    same.left_s = job->said_figures.left_s; /* it changes all the time */
    if (now < job->told_at + REPEAT_S && memcmp(&same, &job->said_figures, sizeof(same)) == 0)
        return false;
    job->said_figures = *figures;
    job->told_at = now;
    return true;
}

/* The jobs that have news: *rows is the caller's. Under the lock. */
static size_t collect(struct syncer *syncer, struct sync_progress **rows)
{
    const double now = clock_now();
    size_t count = 0;
    size_t jobs = 0;
    for (const struct job *job = syncer->jobs; job != NULL; job = job->next) jobs++;
    *rows = calloc(jobs + 1, sizeof(**rows));
    for (struct job *job = syncer->jobs; *rows != NULL && job != NULL; job = job->next) {
        struct sync_figures figures;
        if (!job->told) continue;
        sync_run_figures(&job->run, &figures);
        if (!is_news(job, &figures, now)) continue;
        if (progress_fill(&(*rows)[count], job, &figures) == 0) count++;
    }
    return count;
}

static void tell(struct syncer *syncer)
{
    struct sync_progress *rows;
    struct error err = {0};
    pthread_mutex_lock(&syncer->telling);
    pthread_mutex_lock(&syncer->lock);
    const size_t count = collect(syncer, &rows);
    pthread_mutex_unlock(&syncer->lock);
    for (size_t i = 0; i < count; i++) {
        const struct sync_figures *figures = &rows[i].figures;
        const long documents = figures->phase == SYNC_LISTING ? -1 : (long)figures->documents;
        char *text = sync_progress_json(&rows[i]);
        if (text != NULL && sync_progress_tell(syncer->pipeline->pool, rows[i].source,
                                               rows[i].repository, text, documents, &err) != 0)
            log_debug("sync.not_told", "error=%s", log_quote(err.message));
        free(text);
        progress_free_row(&rows[i]);
    }
    free(rows);
    pthread_mutex_unlock(&syncer->telling);
}

int sync_cancel_here(struct syncer *syncer, const char *source, const char *repository,
                     struct error *err)
{
    pthread_mutex_lock(&syncer->lock);
    struct job *job = find_job(syncer, source, repository);
    const bool queued = job != NULL && job->state == JOB_QUEUED;
    const bool running = job != NULL && job->state == JOB_RUNNING;
    if (queued) job->state = JOB_ASKED; /* nobody begins it */
    if (running) {
        job->cancelled = true;
        atomic_store(&job->stop, true);
        pthread_cond_broadcast(&syncer->changed);
    }
    pthread_mutex_unlock(&syncer->lock);
    if (!queued) return running ? 0 : 1;

    const int status =
        job_say(syncer, job, "error", "cancelled before it began; sync again to begin", err);
    if (status == 0 || err->code == ERR_CONFLICT) {
        syncer_release(syncer, job);
        return 0;
    }
    pthread_mutex_lock(&syncer->lock);
    job->state = JOB_QUEUED;
    pthread_cond_broadcast(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
    return -1;
}

static void on_cancelled(void *arg, const char *source, const char *repository)
{
    struct error ignored = {0};
    sync_cancel_here(arg, source, repository, &ignored);
}

static bool has_jobs(struct syncer *syncer)
{
    pthread_mutex_lock(&syncer->lock);
    while (syncer->jobs == NULL && !atomic_load(&syncer->stop))
        pthread_cond_wait(&syncer->changed, &syncer->lock);
    pthread_mutex_unlock(&syncer->lock);
    return !atomic_load(&syncer->stop);
}

void *sync_watch_progress(void *arg)
{
    struct syncer *syncer = arg;
    while (has_jobs(syncer)) {
        pause_for(syncer, TELL_S);
        if (atomic_load(&syncer->stop)) break;
        tell(syncer);
        sync_cancelled(syncer->pipeline->pool, on_cancelled, syncer, NULL);
    }
    return NULL;
}
