/*
 * The threads take their queries from one shared counter. What they share beyond it (the first
 * error, the end) is under the lock; each latency and each query's answers have one writer.
 */
#include "bench/runner.h"
#include "bench/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WARM_UP_SECONDS 0.03

struct shared {
    const struct run *run;
    pthread_barrier_t start;
    atomic_size_t next;
    atomic_bool stop;
    pthread_mutex_t lock;
    uint64_t first, last; /* of all threads: when they began and ended */
    uint64_t processor;   /* the most processor time that one took */
    bool failed;
    tk_error error;
};

struct searcher {
    struct shared *shared;
    unsigned number;
    pthread_t thread;
    tk_hit *hits; /* for answers that are not kept */
};

static int search_once(const struct searcher *searcher, size_t turn, tk_error *err)
{
    const struct run *run = searcher->shared->run;
    const struct exchange *exchange = run->exchange;
    const size_t query = turn % exchange->queries.count;
    tk_hit *hits = run->answers ? exchange->hits + query * exchange->k : searcher->hits;
    size_t found = 0;
    uint64_t before = clock_now();
    int result =
        run->peer->search(run->index, searcher->number, vectors_row(&exchange->queries, query),
                          exchange->k, hits, &found, err);
    exchange->latencies[turn] = clock_latency(clock_now() - before);
    if (run->answers) exchange->found[query] = found;
    return result;
}

static void *search_many(void *arg)
{
    const struct searcher *searcher = arg;
    struct shared *shared = searcher->shared;
    const struct run *run = shared->run;
    tk_error error;
    bool failed = false;
    pthread_barrier_wait(&shared->start);
    uint64_t began = clock_now(), processor = clock_processor(CLOCK_THREAD_CPUTIME_ID);
    uint64_t deadline =
        run->most_seconds > 0 ? began + (uint64_t)(run->most_seconds * 1e9) : UINT64_MAX;
    while (!failed && !atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        if (clock_now() >= deadline) break;
        size_t turn = atomic_fetch_add_explicit(&shared->next, 1, memory_order_relaxed);
        if (turn >= run->count) break;
        failed = search_once(searcher, turn, &error) != 0;
    }
    uint64_t ended = clock_now();
    processor = clock_processor(CLOCK_THREAD_CPUTIME_ID) - processor;
    pthread_mutex_lock(&shared->lock);
    if (began < shared->first) shared->first = began;
    if (ended > shared->last) shared->last = ended;
    if (processor > shared->processor) shared->processor = processor;
    if (failed && !shared->failed) {
        shared->failed = true;
        shared->error = error;
        atomic_store(&shared->stop, true);
    }
    pthread_mutex_unlock(&shared->lock);
    return NULL;
}

int run_searches(const struct run *run, size_t *done, double *seconds, tk_error *err)
{
    struct shared shared = {.run = run, .first = UINT64_MAX};
    struct searcher *searchers = calloc(run->threads, sizeof(*searchers));
    tk_hit *hits = calloc(run->threads * run->exchange->k, sizeof(*hits));
    unsigned started = 0;
    if (!searchers || !hits) {
        free(searchers);
        free(hits);
        return fail(err, "memory ran out");
    }
    pthread_mutex_init(&shared.lock, NULL);
    pthread_barrier_init(&shared.start, NULL, run->threads);
    for (unsigned i = 0; i < run->threads; i++)
        searchers[i] =
            (struct searcher){.shared = &shared, .number = i, .hits = hits + i * run->exchange->k};
    /* The calling thread is the last searcher, so the others wait for it at the barrier. Where one
     * cannot be started the barrier would never open, so the process that runs this gives up. */
    for (; started + 1 < run->threads; started++)
        if (pthread_create(&searchers[started].thread, NULL, search_many, &searchers[started]) != 0)
            abort();
    search_many(&searchers[started]);
    for (unsigned i = 0; i < started; i++) pthread_join(searchers[i].thread, NULL);
    size_t turns = atomic_load(&shared.next);
    *done = turns < run->count ? turns : run->count;
    *seconds = clock_seconds(run->cpu_time ? shared.processor : shared.last - shared.first);
    if (shared.failed) fail(err, "%s", shared.error.message);
    pthread_barrier_destroy(&shared.start);
    pthread_mutex_destroy(&shared.lock);
    free(hits);
    free(searchers);
    return shared.failed ? -1 : 0;
}

int run_warm_up(const struct run *run, tk_error *err)
{
    struct run warm = *run;
    size_t done;
    double seconds;
    warm.threads = 1;
    warm.answers = false;
    warm.count = LATENCIES;
    warm.most_seconds = WARM_UP_SECONDS;
    return run_searches(&warm, &done, &seconds, err);
}
