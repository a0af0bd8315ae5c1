#include "bench/growth.h"
#include "bench/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct growth {
    const struct peer *peer;
    void *index;
    const struct exchange *exchange;
    size_t first;
    atomic_bool stop; /* set by either side: the writer is done, or the searcher failed */
    double seconds;   /* these are the writer's until it is joined */
    bool failed;
    tk_error error;
};

static void *add_rest(void *arg)
{
    struct growth *growth = arg;
    const struct vectors *base = &growth->exchange->base;
    uint64_t began = clock_now();
    for (size_t id = growth->first; id < base->count && !atomic_load(&growth->stop); id++) {
        if (growth->peer->add(growth->index, id, vectors_row(base, id), &growth->error) == 0)
            continue;
        growth->failed = true;
        break;
    }
    growth->seconds = clock_seconds(clock_now() - began);
    atomic_store(&growth->stop, true);
    return NULL;
}

int growth_run(const struct peer *peer, void *index, const struct exchange *exchange, size_t first,
               size_t *searches, double *seconds, tk_error *err)
{
    struct growth growth = {.peer = peer, .index = index, .exchange = exchange, .first = first};
    pthread_t writer;
    tk_hit *hits = calloc(exchange->k, sizeof(*hits));
    if (!hits) return fail(err, "memory ran out");
    int result = 0;
    if (pthread_create(&writer, NULL, add_rest, &growth) != 0) {
        free(hits);
        return fail(err, "the adding thread cannot be started");
    }
    *searches = 0;
    for (size_t turn = 0; result == 0 && !atomic_load(&growth.stop); turn++) {
        size_t found;
        const float *query = vectors_row(&exchange->queries, turn % exchange->queries.count);
        uint64_t before = clock_now();
        result = peer->search(index, 0, query, exchange->k, hits, &found, err);
        if (turn >= LATENCIES) continue;
        exchange->latencies[turn] = clock_latency(clock_now() - before);
        *searches = turn + 1;
    }
    atomic_store(&growth.stop, true);
    pthread_join(writer, NULL);
    free(hits);
    *seconds = growth.seconds;
    if (result == 0 && growth.failed) result = fail(err, "while adding: %s", growth.error.message);
    return result;
}
