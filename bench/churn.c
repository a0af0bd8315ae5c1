/*
 * One thread writes: it alone changes `ring`, `steps` and the states. Searching threads read a
 * vector's state before and after a search; where both are the same, the vector was there (or not)
 * all the time. `failed` and `error` are the writer's until it is joined.
 */
#include "bench/churn.h"
#include "bench/clock.h"
#include "bench/recall.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* A state is the number of the step that last changed the vector, and these. */
enum { CHANGING = 1, ABSENT = 2, STEP = 4 };

struct churn {
    const struct peer *peer;
    void *index;
    const struct exchange *exchange;
    unsigned rate;
    pthread_t writer;
    atomic_bool stop;
    _Atomic uint64_t *states; /* one an id */
    _Atomic uint64_t steps;   /* done */
    uint64_t began, ended;
    size_t ring[CHURN_ABSENT]; /* the ids that are out, the oldest at `oldest` */
    size_t oldest, absent;
    uint64_t random;
    bool failed;
    tk_error error;
};

static size_t random_id(struct churn *churn)
{
    churn->random = churn->random * 6364136223846793005U + 1442695040888963407U;
    return (size_t)((churn->random >> 33) % churn->exchange->base.count);
}

static int take_out(struct churn *churn, uint64_t step, tk_error *err)
{
    size_t id;
    do id = random_id(churn);
    while (atomic_load(&churn->states[id]) & ABSENT);
    atomic_store(&churn->states[id], step * STEP | CHANGING);
    if (churn->peer->remove(churn->index, id, err) != 0) return -1;
    atomic_store(&churn->states[id], step * STEP | ABSENT);
    churn->ring[(churn->oldest + churn->absent++) % CHURN_ABSENT] = id;
    return 0;
}

static int put_back(struct churn *churn, uint64_t step, tk_error *err)
{
    size_t id = churn->ring[churn->oldest];
    atomic_store(&churn->states[id], step * STEP | CHANGING);
    if (churn->peer->add(churn->index, id, vectors_row(&churn->exchange->base, id), err) != 0)
        return -1;
    atomic_store(&churn->states[id], step * STEP);
    churn->oldest = (churn->oldest + 1) % CHURN_ABSENT;
    churn->absent--;
    return 0;
}

static void sleep_until(uint64_t when)
{
    struct timespec until = {.tv_sec = (time_t)(when / 1000000000U),
                             .tv_nsec = (long)(when % 1000000000U)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) continue;
}

static void *write_on(void *arg)
{
    struct churn *churn = arg;
    churn->began = clock_now();
    for (uint64_t step = 1; !atomic_load(&churn->stop); step++) {
        uint64_t due = churn->began + step * 1000000000U / churn->rate;
        if (clock_now() < due) sleep_until(due);
        if (put_back(churn, step, &churn->error) != 0 ||
            take_out(churn, step, &churn->error) != 0) {
            churn->failed = true;
            break;
        }
        atomic_store(&churn->steps, step);
    }
    churn->ended = clock_now();
    return NULL;
}

static void churn_free(struct churn *churn)
{
    if (churn) free((void *)churn->states);
    free(churn);
}

int churn_start(const struct peer *peer, void *index, const struct exchange *exchange,
                unsigned rate, struct churn **started, tk_error *err)
{
    struct churn *churn = calloc(1, sizeof(*churn));
    if (!churn) return fail(err, "memory ran out");
    churn->peer = peer;
    churn->index = index;
    churn->exchange = exchange;
    churn->rate = rate;
    churn->random = clock_now();
    churn->states = calloc(exchange->base.count, sizeof(*churn->states));
    if (!churn->states) {
        fail(err, "memory ran out");
        goto out;
    }
    while (churn->absent < CHURN_ABSENT)
        if (take_out(churn, 0, err) != 0) goto out;
    if (pthread_create(&churn->writer, NULL, write_on, churn) != 0) {
        fail(err, "the writing thread cannot be started");
        goto out;
    }
    *started = churn;
    return 0;
out:
    churn_free(churn);
    return -1;
}

/* ---- Recall ---------------------------------------------------------------------------------- */

/* The similarity of the k-th nearest among the neighbours that were present and unchanged. */
static double least_similarity(const struct churn *churn, size_t query, const uint64_t *before,
                               size_t depth)
{
    const struct neighbours *truth = &churn->exchange->truth;
    size_t present = 0;
    for (size_t i = 0; i < depth; i++) {
        size_t at = query * truth->depth + i;
        uint64_t state = atomic_load(&churn->states[truth->ids[at]]);
        if (state != before[i] || state & (CHANGING | ABSENT)) continue;
        if (++present == churn->exchange->k) return truth->similarities[at];
    }
    return -1;
}

static int search_checked(struct churn *churn, size_t query, uint64_t *before, tk_hit *hits,
                          double *recall, tk_error *err)
{
    const struct exchange *exchange = churn->exchange;
    const struct neighbours *truth = &exchange->truth;
    const size_t depth = truth->found[query];
    const float *vector = vectors_row(&exchange->queries, query);
    size_t found = 0;
    for (size_t i = 0; i < depth; i++)
        before[i] = atomic_load(&churn->states[truth->ids[query * truth->depth + i]]);
    uint64_t steps = atomic_load(&churn->steps);
    if (churn->peer->search(churn->index, 0, vector, exchange->k, hits, &found, err) != 0)
        return -1;
    for (size_t i = 0; i < found; i++) {
        if (hits[i].id >= exchange->base.count)
            return fail(err, "the answered id %llu does not exist", (unsigned long long)hits[i].id);
        uint64_t state = atomic_load(&churn->states[hits[i].id]);
        if (state & ABSENT && state / STEP <= steps)
            return fail(err, "the answered id %llu had been removed before",
                        (unsigned long long)hits[i].id);
    }
    double least = least_similarity(churn, query, before, depth);
    size_t count = recall_count(&exchange->base, vector, least, hits, found, NULL);
    *recall += (double)(count < exchange->k ? count : exchange->k) / (double)exchange->k;
    return 0;
}

int churn_recall(struct churn *churn, double *recall, tk_error *err)
{
    const struct exchange *exchange = churn->exchange;
    uint64_t *before = calloc(exchange->truth.depth, sizeof(*before));
    tk_hit *hits = calloc(exchange->k, sizeof(*hits));
    int result = before && hits ? 0 : fail(err, "memory ran out");
    double sum = 0;
    for (size_t q = 0; result == 0 && q < exchange->queries.count; q++)
        result = search_checked(churn, q, before, hits, &sum, err);
    *recall = sum / (double)exchange->queries.count;
    free(before);
    free(hits);
    return result;
}

int churn_stop(struct churn *churn, double *per_second, tk_error *err)
{
    int result = 0;
    atomic_store(&churn->stop, true);
    pthread_join(churn->writer, NULL);
    double seconds = clock_seconds(churn->ended - churn->began);
    *per_second = seconds > 0 ? (double)atomic_load(&churn->steps) / seconds : 0;
    if (churn->failed) result = fail(err, "while writing: %s", churn->error.message);
    while (result == 0 && churn->absent > 0) result = put_back(churn, 0, err);
    churn_free(churn);
    return result;
}
