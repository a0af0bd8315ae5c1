/*
 * sync.c: the interface of the syncer: its life, and the list of jobs (sync_internal.h).
 */
#include "ingest/sync_internal.h"

#include "ingest/clock.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- Jobs; all of it under the lock but making and freeing ---- */

void job_free(struct job *job)
{
    if (job == NULL) return;
    pthread_mutex_destroy(&job->run.lock);
    free(job->source);
    free(job->repository);
    free(job);
}

static struct job *job_create(struct syncer *syncer, const char *source, const char *repository)
{
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL) return NULL;
    pthread_mutex_init(&job->run.lock, NULL);
    job->source = strdup(source);
    job->repository = strdup(repository);
    if (job->source == NULL || job->repository == NULL) {
        job_free(job);
        return NULL;
    }
    job->run.pipeline = syncer->pipeline;
    job->run.source = job->source;
    job->run.repository = job->repository;
    job->run.stop = &job->stop;
    job->run.permits = &syncer->permits;
    job->run.rests = job_rests;
    job->run.resumes = job_resumes;
    job->run.arg = job;
    job->syncer = syncer;
    return job;
}

struct job *find_job(const struct syncer *syncer, const char *source, const char *repository)
{
    struct job *job = syncer->jobs;
    while (job != NULL &&
           (strcmp(job->source, source) != 0 || strcmp(job->repository, repository) != 0))
        job = job->next;
    return job;
}

static void append_job(struct syncer *syncer, struct job *job)
{
    struct job **place = &syncer->jobs;
    while (*place != NULL) place = &(*place)->next;
    *place = job;
}

void remove_job(struct syncer *syncer, const struct job *job)
{
    struct job **place = &syncer->jobs;
    while (*place != job) place = &(*place)->next;
    *place = job->next;
}

/* Waits, unless the syncer is to stop. */
void pause_for(struct syncer *syncer, double seconds)
{
    const struct timespec until = clock_after(seconds);
    pthread_mutex_lock(&syncer->lock);
    while (!atomic_load(&syncer->stop) &&
           pthread_cond_timedwait(&syncer->changed, &syncer->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&syncer->lock);
}

/* Called when every claim is lost: what runs must not go on, since another daemon may begin. */
static void stop_running(void *arg)
{
    struct syncer *syncer = arg;
    pthread_mutex_lock(&syncer->lock);
    for (struct job *job = syncer->jobs; job != NULL; job = job->next)
        if (job->state == JOB_RUNNING) atomic_store(&job->stop, true);
    pthread_cond_broadcast(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
}

/* ---- The interface ---- */

struct syncer *syncer_create(struct pipeline *pipeline, int places, struct error *err)
{
    static void *(*const threads[])(void *) = {sync_dispatch, sync_watch_schedule,
                                               sync_watch_progress};
    struct syncer *syncer = calloc(1, sizeof(*syncer));
    if (syncer == NULL) {
        out_of_memory(err);
        return NULL;
    }
    clock_condition(&syncer->changed);
    pthread_mutex_init(&syncer->lock, NULL);
    pthread_mutex_init(&syncer->telling, NULL);
    sem_init(&syncer->permits, 0, SYNC_WRITERS);
    syncer->pipeline = pipeline;
    syncer->places = places;
    sync_totals_init(syncer->totals);
    syncer->claims = claims_create(pipeline->pool, stop_running, syncer, err);
    if (syncer->claims == NULL) {
        syncer_free(syncer);
        return NULL;
    }
    for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++) {
        const int fault = pthread_create(&syncer->threads[i], NULL, threads[i], syncer);
        if (fault != 0) {
            error_set(err, ERR_INTERNAL, NULL, "a thread for syncs cannot be started: %s",
                      strerror(fault));
            syncer_free(syncer);
            return NULL;
        }
        syncer->thread_count++;
    }
    return syncer;
}

void syncer_free(struct syncer *syncer)
{
    if (syncer == NULL) return;
    pthread_mutex_lock(&syncer->lock);
    atomic_store(&syncer->stop, true);
    for (struct job *job = syncer->jobs; job != NULL; job = job->next)
        atomic_store(&job->stop, true);
    pthread_cond_broadcast(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
    for (int i = 0; i < syncer->thread_count; i++) pthread_join(syncer->threads[i], NULL);

    claims_free(syncer->claims);
    while (syncer->jobs != NULL) {
        struct job *job = syncer->jobs;
        syncer->jobs = job->next;
        job_free(job);
    }
    sem_destroy(&syncer->permits);
    pthread_cond_destroy(&syncer->changed);
    pthread_mutex_destroy(&syncer->telling);
    pthread_mutex_destroy(&syncer->lock);
    free(syncer);
}

/* Enters a job, so that nobody else can ask for the same repository. */
static struct job *enter(struct syncer *syncer, const char *source, const char *repository,
                         struct error *err)
{
    struct job *job = job_create(syncer, source, repository);
    if (job == NULL) {
        out_of_memory(err);
        return NULL;
    }
    pthread_mutex_lock(&syncer->lock);
    const struct job *other = find_job(syncer, source, repository);
    const bool running = other != NULL && other->state == JOB_RUNNING;
    if (other == NULL) append_job(syncer, job);
    pthread_mutex_unlock(&syncer->lock);
    if (other == NULL) return job;
    job_free(job);
    error_set(err, ERR_CONFLICT, "repository", "a sync of %s %s is %s already", source, repository,
              running ? "running" : "queued");
    return NULL;
}

static void forget(struct syncer *syncer, struct job *job)
{
    pthread_mutex_lock(&syncer->lock);
    remove_job(syncer, job);
    pthread_mutex_unlock(&syncer->lock);
    job_free(job);
}

struct job *syncer_reserve(struct syncer *syncer, const char *source, const char *repository,
                           struct error *err)
{
    struct job *job = enter(syncer, source, repository, err);
    if (job == NULL) return NULL;
    if (claims_take(syncer->claims, source, repository, &job->claim, err) == 0) return job;
    forget(syncer, job);
    return NULL;
}

void syncer_release(struct syncer *syncer, struct job *job)
{
    if (job == NULL) return;
    claims_drop(syncer->claims, job->source, job->repository, &job->claim);
    forget(syncer, job);
}

int syncer_request(struct syncer *syncer, const char *source, const char *repository,
                   struct error *err)
{
    struct pool *pool = syncer->pipeline->pool;
    struct source registered = {0};
    struct job *job = syncer_reserve(syncer, source, repository, err);
    if (job == NULL) return -1;

    int status = sources_get(pool, source, repository, &registered, err);
    job->scheduled = registered.interval_s > 0;
    source_free(&registered);
    if (status == 0) status = sync_state_queued(pool, source, repository, err);
    if (status == 0) status = sync_status_set(pool, source, repository, "pending", NULL, err);
    job->said = "pending";
    if (status != 0) {
        syncer_release(syncer, job);
        return -1;
    }
    pthread_mutex_lock(&syncer->lock);
    job->state = JOB_QUEUED;
    pthread_cond_broadcast(&syncer->changed);
    pthread_mutex_unlock(&syncer->lock);
    return 0;
}

int syncer_request_again(struct syncer *syncer, const char *source, const char *repository,
                         struct error *err)
{
    struct error problem = {0};
    if (syncer_request(syncer, source, repository, &problem) == 0) return 0;
    if (problem.code == ERR_CONFLICT) {
        /* Tried once more: it may have ended before it was told. */
        if (sync_want(syncer->pipeline->pool, source, repository, err) != 0) return -1;
        if (syncer_request(syncer, source, repository, &problem) == 0) return 0;
        if (problem.code == ERR_CONFLICT) return 1;
    }
    if (err != NULL) *err = problem;
    return -1;
}

static bool is_here(struct syncer *syncer, const char *source, const char *repository)
{
    pthread_mutex_lock(&syncer->lock);
    const bool is = find_job(syncer, source, repository) != NULL;
    pthread_mutex_unlock(&syncer->lock);
    return is;
}

int syncer_cancel(struct syncer *syncer, const char *source, const char *repository,
                  struct error *err)
{
    struct source registered = {0};
    struct error problem = {0};
    /* First that none is to follow; where the database is away, none can. */
    if (is_here(syncer, source, repository))
        sync_cancel(syncer->pipeline->pool, source, repository, NULL);
    const int status = sync_cancel_here(syncer, source, repository, err);
    if (status != 1) return status;
    if (sources_get(syncer->pipeline->pool, source, repository, &registered, err) != 0) return -1;
    source_free(&registered);
    /* Whether another daemon is at it shows in that it cannot be had. */
    struct job *job = syncer_reserve(syncer, source, repository, &problem);
    if (job != NULL) {
        syncer_release(syncer, job);
        return error_set(err, ERR_NOT_FOUND, "repository", "no sync of %s %s is queued or running",
                         source, repository);
    }
    if (problem.code == ERR_CONFLICT && !is_here(syncer, source, repository))
        return sync_cancel(syncer->pipeline->pool, source, repository, err);
    if (err != NULL) *err = problem;
    return -1;
}

int progress_fill(struct sync_progress *progress, const struct job *job,
                  const struct sync_figures *figures)
{
    *progress = (struct sync_progress){.source = strdup(job->source),
                                       .repository = strdup(job->repository),
                                       .running = job->state == JOB_RUNNING,
                                       .figures = *figures};
    if (progress->running) progress->elapsed_s = clock_now() - job->began;
    if (progress->source != NULL && progress->repository != NULL) return 0;
    progress_free_row(progress);
    return -1;
}

void progress_free_row(struct sync_progress *progress)
{
    free(progress->source);
    free(progress->repository);
    *progress = (struct sync_progress){0};
}

void syncer_count(struct syncer *syncer, size_t *queued, size_t *running)
{
    *queued = *running = 0;
    pthread_mutex_lock(&syncer->lock);
    for (const struct job *job = syncer->jobs; job != NULL; job = job->next) {
        *queued += job->state == JOB_QUEUED;
        *running += job->state == JOB_RUNNING;
    }
    pthread_mutex_unlock(&syncer->lock);
}

const struct sync_totals *syncer_totals(const struct syncer *syncer)
{
    return syncer->totals;
}

int syncer_progress(struct syncer *syncer, struct sync_progress **rows, size_t *count,
                    struct error *err)
{
    size_t jobs = 0;
    size_t filled = 0;
    int status = 0;
    *rows = NULL;
    *count = 0;
    pthread_mutex_lock(&syncer->lock);
    for (const struct job *job = syncer->jobs; job != NULL; job = job->next) jobs++;
    struct sync_progress *made = calloc(jobs + 1, sizeof(*made));
    if (made == NULL) status = -1;
    for (struct job *job = syncer->jobs; status == 0 && job != NULL; job = job->next) {
        struct sync_figures figures;
        sync_run_figures(&job->run, &figures);
        status = progress_fill(&made[filled], job, &figures);
        if (status == 0) filled++;
    }
    pthread_mutex_unlock(&syncer->lock);
    if (status == 0) {
        *rows = made;
        *count = filled;
        return 0;
    }
    for (size_t i = 0; i < filled; i++) progress_free_row(&made[i]);
    free(made);
    return out_of_memory(err);
}

bool syncer_leads(struct syncer *syncer)
{
    return claims_lead(syncer->claims);
}
