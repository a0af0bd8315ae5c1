/*
 * sync.c: the queue of syncs, the threads that run them, and the one that watches the schedule.
 *
 * `lock` protects the lists of jobs and of ends, and what is in them; a job that runs belongs to
 * its worker, whom others read through sync_run_figures(). No call to the database is made under
 * the lock: a job is entered as JOB_ASKED first, so that the repository is taken while its status
 * is being written, and becomes JOB_QUEUED afterwards.
 *
 * A job that is queued or runs has claimed its repository (claims.h), so that no other daemon syncs
 * it. Where the claim is lost a sync that runs is stopped; its worker then claims the repository
 * again before it writes how the sync ended, and leaves that to the daemon which has been faster.
 *
 * The status of a sync that has ended is written until it is written: while the database is away
 * its worker waits, and the repository stays taken. A scheduled one that did not come to its end
 * becomes `pending`, and the daemon that leads takes it up.
 */
#include "ingest/sync.h"

#include "ingest/sync_clock.h"
#include "ingest/sync_run.h"
#include "storage/base/log.h"
#include "storage/claims.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum job_state { JOB_ASKED, JOB_QUEUED, JOB_RUNNING };

struct job {
    struct job *next;
    enum job_state state;
    char *source, *repository;
    double began;       /* sync_clock_now(), of a job that runs */
    bool scheduled;     /* the source has an interval */
    atomic_bool stop;   /* changed under the lock */
    struct claim claim; /* whoever works on the job has it */
    const char *said;   /* the status that was written last */
    struct sync_run run;
};

/* How the last sync of a repository ended. */
struct end {
    struct end *next;
    char *source, *repository;
    struct sync_figures figures;
    double elapsed;
};

struct syncer {
    struct pipeline *pipeline;
    struct claims *claims;
    sem_t permits;
    atomic_bool stop;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job was queued, or stop */
    struct job *jobs;       /* oldest first */
    struct end *ends;

    pthread_t *threads;
    int thread_count;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static bool is_of(const char *source, const char *repository, const char *other_source,
                  const char *other_repository)
{
    return strcmp(source, other_source) == 0 && strcmp(repository, other_repository) == 0;
}

/* ---- Jobs; all of it under the lock but making and freeing ---- */

static void job_free(struct job *job)
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
    return job;
}

static struct job *find_job(const struct syncer *syncer, const char *source, const char *repository)
{
    struct job *job = syncer->jobs;
    while (job != NULL && !is_of(job->source, job->repository, source, repository)) job = job->next;
    return job;
}

static struct job *first_queued(const struct syncer *syncer)
{
    struct job *job = syncer->jobs;
    while (job != NULL && job->state != JOB_QUEUED) job = job->next;
    return job;
}

static void append_job(struct syncer *syncer, struct job *job)
{
    struct job **place = &syncer->jobs;
    while (*place != NULL) place = &(*place)->next;
    *place = job;
}

static void remove_job(struct syncer *syncer, const struct job *job)
{
    struct job **place = &syncer->jobs;
    while (*place != job) place = &(*place)->next;
    *place = job->next;
}

/* ---- Ends ---- */

static struct end *find_end(const struct syncer *syncer, const char *source, const char *repository)
{
    struct end *end = syncer->ends;
    while (end != NULL && !is_of(end->source, end->repository, source, repository)) end = end->next;
    return end;
}

static void end_free(struct end *end)
{
    free(end->source);
    free(end->repository);
    free(end);
}

/* Remembers how a job ended. Where memory runs out there is nothing to remember, and no harm. */
static void remember(struct syncer *syncer, const struct job *job,
                     const struct sync_figures *figures)
{
    struct end *end = find_end(syncer, job->source, job->repository);
    if (end == NULL) {
        end = calloc(1, sizeof(*end));
        if (end == NULL) return;
        end->source = strdup(job->source);
        end->repository = strdup(job->repository);
        if (end->source == NULL || end->repository == NULL) {
            end_free(end);
            return;
        }
        end->next = syncer->ends;
        syncer->ends = end;
    }
    end->figures = *figures;
    end->elapsed = sync_clock_now() - job->began;
}

/* ---- Running ---- */

/* Waits, unless the syncer is to stop. */
static void pause_for(struct syncer *syncer, double seconds)
{
    const struct timespec until = sync_clock_after(seconds);
    pthread_mutex_lock(&syncer->lock);
    while (!atomic_load(&syncer->stop) &&
           pthread_cond_timedwait(&syncer->changed, &syncer->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&syncer->lock);
}

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

static int say(struct syncer *syncer, struct job *job, const char *status, const char *message,
               struct error *err)
{
    if (keep_claim(syncer, job, err) != 0 ||
        sync_status_set(syncer->pipeline->pool, job->source, job->repository, status, message,
                        err) != 0)
        return -1;
    job->said = status;
    return 0;
}

/* Writes how a sync ended, as soon as the database takes it. */
static void write_status(struct syncer *syncer, struct job *job, const char *status,
                         const char *message)
{
    struct error err = {0};
    double wait = 0.25;
    while (say(syncer, job, status, message, &err) != 0) {
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
                 "source=%s repository=%s found=%zu unchanged=%zu written=%zu deleted=%zu "
                 "chunks=%zu embedded=%zu seconds=%.2f",
                 log_quote(job->source), log_quote(job->repository), figures->found,
                 figures->unchanged, figures->written, figures->deleted, figures->chunks,
                 figures->embedded, elapsed);
    else
        log_warn("sync.failed",
                 "source=%s repository=%s found=%zu written=%zu failed=%zu seconds=%.2f error=%s",
                 log_quote(job->source), log_quote(job->repository), figures->found,
                 figures->written, figures->failed, elapsed, log_quote(err->message));
}

/* Claims the repository again if that was lost while the job waited, and begins. */
static int begin(struct syncer *syncer, struct job *job, struct source *source, struct error *err)
{
    struct pool *pool = syncer->pipeline->pool;
    /* Whatever is lost from here on stops the job. */
    pthread_mutex_lock(&syncer->lock);
    atomic_store(&job->stop, atomic_load(&syncer->stop));
    pthread_mutex_unlock(&syncer->lock);
    if (keep_claim(syncer, job, err) != 0 ||
        sources_get(pool, job->source, job->repository, source, err) != 0 ||
        sync_state_begun(pool, job->source, job->repository, err) != 0 ||
        say(syncer, job, "in_progress", NULL, err) != 0)
        return -1;
    log_info("sync.start", "source=%s repository=%s", log_quote(job->source),
             log_quote(job->repository));
    return 0;
}

/* Writes how the job ended. A scheduled one that was kept from its end is to be taken up again. */
static void settle(struct syncer *syncer, struct job *job, struct error *err)
{
    const bool lost = !claims_hold(syncer->claims, &job->claim);
    const bool stopped = err->code == ERR_CANCELLED;
    if (stopped && lost)
        error_set(err, ERR_CANCELLED, NULL,
                  "interrupted: the connection that keeps other daemons away was lost");
    if (err->code == ERR_NONE)
        write_status(syncer, job, "success", NULL);
    else if (job->scheduled && (stopped || lost))
        write_status(syncer, job, "pending", NULL);
    else
        write_status(syncer, job, "error", err->message);
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

static void perform(struct syncer *syncer, struct job *job)
{
    struct source source = {0};
    struct error err = {0};
    struct sync_figures figures;

    const bool begun = begin(syncer, job, &source, &err) == 0;
    if (begun && sync_run(&job->run, source.config, &err) == 0) err.code = ERR_NONE;
    /* A source that was removed while it waited has no status any more, and that of a repository
     * which another daemon has claimed meanwhile is the other's. */
    if (begun || (err.code != ERR_NOT_FOUND && err.code != ERR_CONFLICT)) settle(syncer, job, &err);
    source_free(&source);
    sync_run_figures(&job->run, &figures);
    log_end(job, &figures, sync_clock_now() - job->began, &err);
    claims_drop(syncer->claims, job->source, job->repository, &job->claim);

    pthread_mutex_lock(&syncer->lock);
    remember(syncer, job, &figures);
    remove_job(syncer, job);
    pthread_mutex_unlock(&syncer->lock);
    go_on(syncer, job->source, job->repository);
    job_free(job);
}

static void *work(void *arg)
{
    struct syncer *syncer = arg;
    for (;;) {
        pthread_mutex_lock(&syncer->lock);
        struct job *job;
        while ((job = first_queued(syncer)) == NULL && !atomic_load(&syncer->stop))
            pthread_cond_wait(&syncer->changed, &syncer->lock);
        const bool stopping = atomic_load(&syncer->stop);
        if (!stopping) {
            job->state = JOB_RUNNING;
            job->began = sync_clock_now();
        }
        pthread_mutex_unlock(&syncer->lock);
        if (stopping) return NULL;
        perform(syncer, job);
    }
}

/* ---- The schedule, by the daemon that leads ---- */

static void ask_for(void *arg, const char *source, const char *repository)
{
    struct syncer *syncer = arg;
    if (!atomic_load(&syncer->stop) && claims_lead(syncer->claims))
        syncer_request(syncer, source, repository, NULL);
}

/* Asks for the syncs whose time has come, and ends the status of those whose daemon died. Returns
 * in how many seconds the next one may be due. */
static double keep_schedule(struct syncer *syncer)
{
    enum { LOOK_AGAIN_S = 5, LOOK_FOR_LEADERSHIP_S = 1 };
    struct pool *pool = syncer->pipeline->pool;
    struct error err = {0};
    double wait = LOOK_AGAIN_S;
    size_t recovered;
    if (!claims_lead(syncer->claims)) return LOOK_FOR_LEADERSHIP_S;
    if (sources_due(pool, ask_for, syncer, &wait, &err) == 0 &&
        sync_status_recover(pool, &recovered, &err) == 0 && recovered > 0)
        log_info("sync.recovered", "interrupted=%zu", recovered);
    return wait;
}

static void *watch_schedule(void *arg)
{
    struct syncer *syncer = arg;
    while (!atomic_load(&syncer->stop)) pause_for(syncer, keep_schedule(syncer));
    return NULL;
}

/* Called when every claim is lost: what runs must not go on, since another daemon may begin. */
static void stop_running(void *arg)
{
    struct syncer *syncer = arg;
    pthread_mutex_lock(&syncer->lock);
    for (struct job *job = syncer->jobs; job != NULL; job = job->next)
        if (job->state == JOB_RUNNING) atomic_store(&job->stop, true);
    pthread_mutex_unlock(&syncer->lock);
}

/* ---- The interface ---- */

struct syncer *syncer_create(struct pipeline *pipeline, int threads, struct error *err)
{
    struct syncer *syncer = calloc(1, sizeof(*syncer));
    if (syncer == NULL) {
        out_of_memory(err);
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&syncer->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&syncer->lock, NULL);
    sem_init(&syncer->permits, 0, SYNC_WRITERS);
    syncer->pipeline = pipeline;
    syncer->threads = calloc((size_t)threads + 1, sizeof(*syncer->threads));
    if (syncer->threads == NULL) {
        out_of_memory(err);
        syncer_free(syncer);
        return NULL;
    }
    syncer->claims = claims_create(pipeline->pool, stop_running, syncer, err);
    if (syncer->claims == NULL) {
        syncer_free(syncer);
        return NULL;
    }
    for (int i = 0; i <= threads; i++) {
        const int fault =
            pthread_create(&syncer->threads[i], NULL, i < threads ? work : watch_schedule, syncer);
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
    while (syncer->ends != NULL) {
        struct end *end = syncer->ends;
        syncer->ends = end->next;
        end_free(end);
    }
    free(syncer->threads);
    sem_destroy(&syncer->permits);
    pthread_cond_destroy(&syncer->changed);
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

static int fill(struct sync_progress *progress, const char *source, const char *repository,
                const struct sync_figures *figures)
{
    *progress = (struct sync_progress){
        .source = strdup(source),
        .repository = strdup(repository),
        .found = figures->found,
        .unchanged = figures->unchanged,
        .written = figures->written,
        .deleted = figures->deleted,
        .failed = figures->failed,
        .chunks = figures->chunks,
        .embedded = figures->embedded,
        .reused = figures->reused,
        .total = figures->total,
    };
    memcpy(progress->skipped, figures->skipped, sizeof(progress->skipped));
    if (progress->source != NULL && progress->repository != NULL) return 0;
    free(progress->source);
    free(progress->repository);
    *progress = (struct sync_progress){0};
    return -1;
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
        status = fill(&made[filled], job->source, job->repository, &figures);
        if (status != 0) break;
        made[filled].running = job->state == JOB_RUNNING;
        if (made[filled].running) made[filled].elapsed_s = sync_clock_now() - job->began;
        filled++;
    }
    pthread_mutex_unlock(&syncer->lock);
    if (status == 0) {
        *rows = made;
        *count = filled;
        return 0;
    }
    for (size_t i = 0; i < filled; i++) {
        free(made[i].source);
        free(made[i].repository);
    }
    free(made);
    return out_of_memory(err);
}

bool syncer_leads(struct syncer *syncer)
{
    return claims_lead(syncer->claims);
}

int syncer_last(struct syncer *syncer, const char *source, const char *repository,
                struct sync_progress *progress, struct error *err)
{
    int status = 0;
    *progress = (struct sync_progress){0};
    pthread_mutex_lock(&syncer->lock);
    const struct end *end = find_end(syncer, source, repository);
    if (end != NULL) {
        status = fill(progress, source, repository, &end->figures);
        progress->elapsed_s = end->elapsed;
    }
    pthread_mutex_unlock(&syncer->lock);
    if (end == NULL)
        return error_set(err, ERR_NOT_FOUND, "repository", "%s %s was not synced since the start",
                         source, repository);
    return status == 0 ? 0 : out_of_memory(err);
}
