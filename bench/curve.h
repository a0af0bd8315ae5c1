/*
 * curve.h: the recall of one index, under one filter or none, at each search setting.
 *
 * Recall does not depend on the machine's mood, so it is measured once, over all queries; speeds
 * are measured at the settings that are found interesting (trial.h).
 */
#ifndef BENCH_CURVE_H
#define BENCH_CURVE_H

#include "bench/recall.h"
#include "bench/worker.h"

struct known {
    size_t ef;
    struct recall recall;
    double seconds; /* of the searches, with curve.threads */
};

enum { MOST_KNOWN = 128 };

struct curve {
    struct worker *worker;
    const struct exchange *exchange;
    unsigned threads;
    enum filter filter;
    uint8_t bits;
    const struct neighbours *truth;
    struct known known[MOST_KNOWN]; /* by ef, ascending */
    size_t count;
    size_t most_ef; /* nothing beyond is tried */
};

/* The recall at a setting; measured where it is not known yet. Settings below k count as k. */
int curve_at(struct curve *curve, size_t ef, struct known *known, tk_error *err);

/* Measures the settings in turn. Where `enough` is below 1 ends at the first that reaches it. */
int curve_sweep(struct curve *curve, const size_t *efs, size_t n, double enough, tk_error *err);

/* Finds the smallest setting that reaches a recall, by bisection, up to most_ef. *found is false
 * where none does. */
int curve_smallest(struct curve *curve, double recall, struct known *smallest, bool *found,
                   tk_error *err);

#endif
