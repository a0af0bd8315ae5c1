/* chores.c: `lock` protects everything but the progress, which is atomic. */
#include "tools/tekupd/mirror/chores.h"

#include "storage/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A rebuilt index is handed over when no more than this was left to catch up with. */
enum { NEAR = 500, CATCHING_UP = 50 };

struct chores {
    struct follower_options options;
    struct follower *follower;
    pthread_mutex_t lock;
    pthread_t thread;
    bool started; /* a thread is to be joined */
    atomic_bool stop;
    struct timespec began, ended;
    struct follow_progress progress;
    struct chore_report report;
};

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
    return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static char *where_it_stands(void *arg)
{
    return follower_position(arg);
}

static int verify_mirror(struct chores *chores, struct verify_result *result, struct error *err)
{
    struct replica *replica = mirror_use(chores->options.mirror);
    if (replica == NULL) return error_set(err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    const struct verify_subject subject = {
        .pool = chores->options.pool,
        .replica = replica,
        .position = where_it_stands,
        .arg = chores->follower,
        .stop = &chores->stop,
    };
    const int rc = verify(&subject, &chores->progress, result, err);
    replica_release(replica);
    if (rc == 0)
        log_info("index.verified", "documents=%zu embeddings=%zu differences=%zu",
                 result->documents, result->embeddings, result->differences);
    return rc;
}

/* ---- Building anew --------------------------------------------------------------------------- */

/* Catches up as far as can be done beside the follower. */
static int come_near(struct follow *fresh, struct error *err)
{
    atomic_ullong applied;
    for (int i = 0; i < CATCHING_UP; i++) {
        atomic_init(&applied, 0);
        if (follow_changes(fresh, NULL, NULL, &applied, err) != 0) return -1;
        if (atomic_load(&applied) <= NEAR) return 0;
    }
    return 0; /* the follower will have more to do */
}

static int rebuild(struct chores *chores, struct error *err)
{
    struct follow fresh;
    char name[FEED_FOLLOWER_SIZE];
    int rc = -1;
    follow_init(&fresh, &chores->stop);
    snprintf(name, sizeof(name), "%.40s-rebuild", follower_own_name(chores->follower));
    struct replica *replica =
        replica_create(&chores->options.index, models_serving(chores->options.models), err);
    if (replica == NULL) return -1;
    if (follow_connect(&fresh, chores->options.pool, err) == 0)
        rc = follow_read_all(&fresh, name, replica, &chores->progress, err);
    replica_release(replica);
    if (rc == 0) rc = come_near(&fresh, err);
    if (rc == 0) rc = follower_adopt(chores->follower, &fresh, err);
    if (fresh.feed != NULL) feed_unregister(fresh.feed, name, NULL);
    follow_free(&fresh);
    if (rc == 0)
        log_info("index.rebuilt", "embeddings=%zu", atomic_load(&chores->progress.embeddings));
    return rc;
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void *run(void *arg)
{
    struct chores *chores = arg;
    struct error err = {0};
    struct verify_result *result = calloc(1, sizeof(*result));
    int rc = -1;
    if (result == NULL)
        error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    else if (chores->report.chore == CHORE_VERIFY)
        rc = verify_mirror(chores, result, &err);
    else
        rc = rebuild(chores, &err);
    if (rc != 0)
        log_warn("index.chore_failed", "chore=%s error=%s",
                 chores->report.chore == CHORE_VERIFY ? "verify" : "rebuild",
                 log_quote(err.message));
    pthread_mutex_lock(&chores->lock);
    chores->report.running = false;
    if (rc != 0)
        chores->report.failure = err;
    else
        chores->report.result = *result;
    chores->ended = now();
    pthread_mutex_unlock(&chores->lock);
    free(result);
    return NULL;
}

/* With `lock` held, and nothing going on. */
static int start(struct chores *chores, enum chore chore, struct error *err)
{
    if (chores->started) pthread_join(chores->thread, NULL);
    chores->started = false;
    chores->report = (struct chore_report){.chore = chore, .running = true};
    chores->began = now();
    atomic_store(&chores->progress.documents, 0);
    atomic_store(&chores->progress.embeddings, 0);
    atomic_store(&chores->progress.all_documents, 0);
    atomic_store(&chores->progress.all_embeddings, 0);
    if (pthread_create(&chores->thread, NULL, run, chores) != 0) {
        chores->report = (struct chore_report){0};
        return error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
    }
    pthread_setname_np(chores->thread, "tekupd-chores");
    chores->started = true;
    return 0;
}

int chores_begin(struct chores *chores, enum chore chore, struct error *err)
{
    struct follower_report follower;
    int rc;
    follower_get(chores->follower, &follower);
    if (!follower.answering || follower.state == FOLLOWER_AWAY)
        return error_set(err, ERR_UNAVAILABLE, NULL, "the index does not follow the database now");
    pthread_mutex_lock(&chores->lock);
    if (chores->report.running)
        rc =
            error_set(err, ERR_CONFLICT, NULL, "the index is being verified or built anew already");
    else if (atomic_load(&chores->stop))
        rc = error_set(err, ERR_UNAVAILABLE, NULL, "the daemon stops");
    else
        rc = start(chores, chore, err);
    pthread_mutex_unlock(&chores->lock);
    return rc;
}

void chores_get(struct chores *chores, struct chore_report *report)
{
    pthread_mutex_lock(&chores->lock);
    *report = chores->report;
    const struct timespec until = report->running ? now() : chores->ended;
    if (report->chore != CHORE_NONE) report->elapsed_s = seconds_between(&chores->began, &until);
    pthread_mutex_unlock(&chores->lock);
    report->documents = atomic_load(&chores->progress.documents);
    report->embeddings = atomic_load(&chores->progress.embeddings);
    report->all_documents = atomic_load(&chores->progress.all_documents);
    report->all_embeddings = atomic_load(&chores->progress.all_embeddings);
}

struct chores *chores_create(const struct follower_options *options, struct follower *follower,
                             struct error *err)
{
    struct chores *chores = calloc(1, sizeof(*chores));
    if (chores == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    chores->options = *options;
    chores->follower = follower;
    pthread_mutex_init(&chores->lock, NULL);
    return chores;
}

void chores_stop(struct chores *chores)
{
    if (chores == NULL) return;
    pthread_mutex_lock(&chores->lock);
    atomic_store(&chores->stop, true);
    const bool started = chores->started;
    chores->started = false;
    pthread_mutex_unlock(&chores->lock);
    if (started) pthread_join(chores->thread, NULL);
}

void chores_free(struct chores *chores)
{
    if (chores == NULL) return;
    chores_stop(chores);
    pthread_mutex_destroy(&chores->lock);
    free(chores);
}
