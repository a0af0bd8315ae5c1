/* runner.h: runs searches on an index of this process, with one thread or several. */
#ifndef BENCH_RUNNER_H
#define BENCH_RUNNER_H

#include "bench/exchange.h"
#include "bench/peer.h"

#include <stdbool.h>

struct run {
    const struct peer *peer;
    const void *index;
    const struct exchange *exchange;
    unsigned threads;
    bool answers;        /* keep the answers of one pass over the queries */
    size_t count;        /* searches to do, at most LATENCIES */
    double most_seconds; /* stop early after this; 0: never */
    bool cpu_time;       /* *seconds is processor time, of the thread that took the most */
};

/* Goes over the queries in turn until count searches are done. The latency of each is left in
 * exchange->latencies; with `answers`, the hits of each query in exchange->hits. *done is how many
 * there were, *seconds the time from the first thread's start to the last one's end. */
int run_searches(const struct run *run, size_t *done, double *seconds, tk_error *err);

/* Searches for a moment without measuring, so that caches and page tables are as warm as they are
 * in the midst of a run. */
int run_warm_up(const struct run *run, tk_error *err);

#endif
