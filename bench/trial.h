/*
 * trial.h: measuring speeds against each other.
 *
 * Trials that are to be compared are measured together: a repeat goes once through all of them, the
 * next repeat begins one trial later, and each trial's median over the repeats is what is reported.
 * A disturbance of the machine so meets all of them, and makes none the winner.
 */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include "bench/results.h"
#include "bench/worker.h"

struct trial {
    struct worker *worker;
    size_t ef;
    unsigned threads;
    enum filter filter;
    uint8_t bits;
    unsigned churn;      /* removals and additions a second meanwhile, or 0 */
    size_t count;        /* searches a repeat, from trial_count */
    double most_seconds; /* a repeat is cut short after */
    bool cpu_time;       /* speed is by processor time, latencies are not */

    struct speed speed; /* the medians */
    double rate;        /* removals and additions that there were, the median */
};

/* A repeat is as many whole passes over the queries as take about `seconds`, going by how long one
 * pass took with one thread. */
size_t trial_count(size_t queries, double pass_seconds, double seconds);

/* Measures n trials, and fills in their speeds. `what` is said to the user meanwhile. */
int trials_measure(struct trial *trials, size_t n, unsigned repeats,
                   const struct exchange *exchange, const char *what, tk_error *err);

#endif
