/*
 * bench.h: one run of the benchmark.
 *
 * main.c makes the run, then has each section (search.c, updates.c, filters.c, files.c) measure its
 * part and add figures to the results. A section that cannot be measured on this data says so in a
 * note, and is no failure.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "bench/curve.h"
#include "bench/options.h"
#include "bench/results.h"
#include "bench/trial.h"

/* An engine in the run: its process and what is known of its index. */
struct contender {
    const struct peer *peer;
    struct worker worker;
    struct curve curve; /* without a filter */
    bool swept;
    double build_seconds;
};

enum { MOST_CONTENDERS = 1 + MOST_PEERS };

struct bench {
    const struct options *options;
    struct exchange exchange;
    struct contender contenders[MOST_CONTENDERS]; /* the first is tekupdb's own */
    size_t contenders_count;
    struct results results;
};

/* The recall at which the speed of other things is measured. */
#define WORKING_RECALL 0.95

/* How long a repeat of a trial lasts: about this, and no longer than that. */
#define REPEAT_SECONDS 0.4
#define REPEAT_MOST_SECONDS 2.0

/* The size of a set of data as an index is built of it, with this run's threads. */
struct peer_setup bench_setup(const struct bench *bench, size_t count);

/* Finds the smallest setting of a contender that reaches the working recall. Where none does, notes
 * that `section` cannot be measured and sets *found false. */
int bench_working_point(struct bench *bench, struct contender *contender, const char *section,
                        struct known *point, bool *found, tk_error *err);

/* A trial of a contender at a setting, with one thread and a count that lasts about `seconds`. */
struct trial bench_trial(const struct bench *bench, struct contender *contender,
                         const struct known *point, double seconds);

int section_build(struct bench *bench, tk_error *err);
int section_search(struct bench *bench, tk_error *err);
int section_threads(struct bench *bench, tk_error *err);
int section_churn(struct bench *bench, tk_error *err);
int section_filters(struct bench *bench, tk_error *err);
int section_load(struct bench *bench, tk_error *err);
int section_growth(struct bench *bench, tk_error *err);

#endif
