/* saver.c: `lock` protects everything but the files, which belong to whoever has set `saving`. */
#include "tools/tekupd/mirror/saver.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "tools/tekupd/mirror/snapshot.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* After one that failed; and how long the place in the feed of one that cannot be followed by
 * another is kept. */
enum { RETRY_S = 60, KEPT_S = 24 * 60 * 60 };

/* What is to be written. */
struct order {
    struct replica *replica;
    char identity[FEED_IDENTITY_SIZE];
    char *position;
    unsigned long long touched;
};

struct saver {
    struct saver_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping, saving, ordered;
    struct order order;
    void (*asked)(void *arg, const struct error *failure);
    void *asked_arg;
    char *position;             /* of the last snapshot, or later where nothing has changed since */
    char *handed;               /* what saver_position() gave */
    unsigned long long touched; /* changes that it has */
    double clean_s;             /* when everything was in a snapshot last */
    double failed_s;            /* when the last try failed; 0: it did not */
    struct saver_report report;
};

static double wall_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- Writing one ----------------------------------------------------------------------------- */

static void order_free(struct order *order)
{
    replica_release(order->replica);
    free(order->position);
    *order = (struct order){0};
}

/* With `lock` held. */
static void keep(struct saver *saver, struct order *order, double took_s)
{
    free(saver->position);
    saver->position = order->position;
    order->position = NULL;
    saver->touched = order->touched;
    saver->clean_s = clock_now();
    saver->failed_s = 0;
    saver->report.saved_at = wall_clock();
    saver->report.took_s = took_s;
    saver->report.error[0] = '\0';
}

/* The snapshot before is kept, with its place in the feed; but not for ever. */
static void miss(struct saver *saver, const struct error *err)
{
    log_error("snapshot.failed", "error=%s again_in_s=%d", log_quote(err->message), RETRY_S);
    saver->failed_s = clock_now();
    snprintf(saver->report.error, sizeof(saver->report.error), "%s", err->message);
    if (saver->position != NULL && clock_now() - saver->clean_s > KEPT_S) {
        log_warn("snapshot.given_up", "reason=\"none could be written for a day\"");
        free(saver->position);
        saver->position = NULL;
    }
}

static void write_one(struct saver *saver, struct order *order)
{
    struct error err = {0};
    const double began = clock_now();
    const int rc =
        snapshot_save(saver->options.data, order->replica, order->identity, order->position, &err);
    const double took = clock_now() - began;
    const size_t count = tk_index_count(replica_index(order->replica));
    pthread_mutex_lock(&saver->lock);
    if (rc == 0)
        keep(saver, order, took);
    else
        miss(saver, &err);
    void (*asked)(void *, const struct error *) = saver->asked;
    saver->asked = NULL;
    saver->saving = saver->report.saving = false;
    pthread_cond_broadcast(&saver->changed);
    pthread_mutex_unlock(&saver->lock);
    if (rc == 0) log_info("snapshot.saved", "embeddings=%zu seconds=%.2f", count, took);
    if (asked != NULL) asked(saver->asked_arg, rc == 0 ? NULL : &err);
    order_free(order);
    saver->options.done(saver->options.arg);
}

static void *run(void *arg)
{
    struct saver *saver = arg;
    pthread_mutex_lock(&saver->lock);
    for (;;) {
        while (!saver->ordered && !saver->stopping)
            pthread_cond_wait(&saver->changed, &saver->lock);
        if (!saver->ordered) break;
        struct order order = saver->order;
        saver->order = (struct order){0};
        saver->ordered = false;
        pthread_mutex_unlock(&saver->lock);
        write_one(saver, &order);
        pthread_mutex_lock(&saver->lock);
    }
    pthread_mutex_unlock(&saver->lock);
    return NULL;
}

/* ---- When ------------------------------------------------------------------------------------ */

/* With `lock` held. */
static bool is_due(const struct saver *saver, unsigned long long touched)
{
    const struct saver_options *options = &saver->options;
    const double time = clock_now();
    if (saver->asked != NULL) return true;
    if (touched == saver->touched && saver->position != NULL) return false;
    if (saver->failed_s > 0 && time - saver->failed_s < RETRY_S) return false;
    if (saver->failed_s > 0) return true;
    if (saver->position == NULL) return options->changes > 0 || options->minutes > 0;
    return (options->changes > 0 &&
            touched - saver->touched >= (unsigned long long)options->changes) ||
           (options->minutes > 0 && time - saver->clean_s >= options->minutes * 60.0);
}

/* With `lock` held. */
static void give_order(struct saver *saver, struct replica *replica, const char *identity,
                       const char *position, unsigned long long touched)
{
    struct order *order = &saver->order;
    char *copy = strdup(position);
    if (copy == NULL) return; /* the next offer will do */
    order->replica = replica_keep(replica);
    snprintf(order->identity, sizeof(order->identity), "%s", identity);
    order->position = copy;
    order->touched = touched;
    saver->ordered = saver->saving = saver->report.saving = true;
    pthread_cond_broadcast(&saver->changed);
}

/* Nothing has changed in the index since the last snapshot: its place in the feed moves on alone.
 * With `lock` held, and nobody saving. */
static void move_on(struct saver *saver, const char *position)
{
    struct error err = {0};
    char *copy = strdup(position);
    if (copy == NULL || snapshot_move(saver->options.data, position, &err) != 0) {
        log_warn("snapshot.move", "error=%s", log_quote(err.message));
        free(copy);
        return;
    }
    free(saver->position);
    saver->position = copy;
}

bool saver_waits_for_the_first(struct saver *saver)
{
    const struct saver_options *options = &saver->options;
    pthread_mutex_lock(&saver->lock);
    const bool waits = saver->position == NULL && !saver->saving && saver->failed_s == 0 &&
                       (options->changes > 0 || options->minutes > 0);
    pthread_mutex_unlock(&saver->lock);
    return waits;
}

void saver_offer(struct saver *saver, struct replica *replica, const char *identity,
                 const char *position, unsigned long long touched)
{
    pthread_mutex_lock(&saver->lock);
    if (touched == saver->touched && !saver->saving) saver->clean_s = clock_now();
    saver->report.touched = touched - saver->touched;
    if (!saver->saving && !saver->stopping && is_due(saver, touched))
        give_order(saver, replica, identity, position, touched);
    pthread_mutex_unlock(&saver->lock);
}

void saver_move(struct saver *saver, const char *position, unsigned long long touched)
{
    pthread_mutex_lock(&saver->lock);
    if (!saver->saving && saver->position != NULL && touched == saver->touched &&
        strcmp(saver->position, position) != 0)
        move_on(saver, position);
    pthread_mutex_unlock(&saver->lock);
}

const char *saver_position(struct saver *saver)
{
    pthread_mutex_lock(&saver->lock);
    free(saver->handed);
    saver->handed = saver->position != NULL ? strdup(saver->position) : NULL;
    pthread_mutex_unlock(&saver->lock);
    return saver->handed;
}

void saver_last(struct saver *saver, struct replica *replica, const char *identity,
                const char *position, unsigned long long touched)
{
    pthread_mutex_lock(&saver->lock);
    while (saver->saving) pthread_cond_wait(&saver->changed, &saver->lock);
    if (touched != saver->touched || saver->position == NULL) {
        give_order(saver, replica, identity, position, touched);
        while (saver->saving) pthread_cond_wait(&saver->changed, &saver->lock);
    }
    pthread_mutex_unlock(&saver->lock);
}

int saver_request(struct saver *saver, void (*done)(void *arg, const struct error *failure),
                  void *arg, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&saver->lock);
    if (saver->asked != NULL || saver->saving || saver->stopping) {
        rc = error_set(err, ERR_CONFLICT, NULL, "a snapshot is being written already");
    } else {
        saver->asked = done;
        saver->asked_arg = arg;
    }
    pthread_mutex_unlock(&saver->lock);
    return rc;
}

void saver_restart(struct saver *saver, const char *position)
{
    pthread_mutex_lock(&saver->lock);
    while (saver->saving) pthread_cond_wait(&saver->changed, &saver->lock);
    free(saver->position);
    saver->position = position != NULL ? strdup(position) : NULL;
    saver->clean_s = clock_now();
    pthread_mutex_unlock(&saver->lock);
}

void saver_get(struct saver *saver, struct saver_report *report)
{
    pthread_mutex_lock(&saver->lock);
    *report = saver->report;
    pthread_mutex_unlock(&saver->lock);
}

/* ---- Its life -------------------------------------------------------------------------------- */

struct saver *saver_create(const struct saver_options *options, struct error *err)
{
    struct saver *saver = calloc(1, sizeof(*saver));
    if (saver == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    saver->options = *options;
    saver->clean_s = clock_now();
    pthread_mutex_init(&saver->lock, NULL);
    pthread_cond_init(&saver->changed, NULL);
    if (pthread_create(&saver->thread, NULL, run, saver) == 0) {
        pthread_setname_np(saver->thread, "tekupd-saver");
        return saver;
    }
    error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
    pthread_cond_destroy(&saver->changed);
    pthread_mutex_destroy(&saver->lock);
    free(saver);
    return NULL;
}

void saver_free(struct saver *saver)
{
    struct error err;
    if (saver == NULL) return;
    pthread_mutex_lock(&saver->lock);
    saver->stopping = true;
    pthread_cond_broadcast(&saver->changed);
    pthread_mutex_unlock(&saver->lock);
    pthread_join(saver->thread, NULL);
    if (saver->asked != NULL) {
        error_set(&err, ERR_CANCELLED, NULL, "the daemon stops");
        saver->asked(saver->asked_arg, &err);
    }
    free(saver->position);
    free(saver->handed);
    pthread_cond_destroy(&saver->changed);
    pthread_mutex_destroy(&saver->lock);
    free(saver);
}
