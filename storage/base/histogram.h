/*
 * histogram.h: how long something took, counted in buckets, for Prometheus.
 *
 * Observing is a few atomic additions, from any thread, without a lock. What is read while others
 * observe may be a moment old, but its count is always that of its buckets.
 */
#ifndef STORAGE_BASE_HISTOGRAM_H
#define STORAGE_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 16 };

/* The upper bounds of the buckets in seconds, ascending; beyond the last one there is one more. */
struct histogram_scale {
    size_t count; /* at most HISTOGRAM_BOUNDS */
    double bounds[HISTOGRAM_BOUNDS];
};
extern const struct histogram_scale histogram_calls; /* from 0.1 ms to 10 s */
extern const struct histogram_scale histogram_jobs;  /* from 0.1 s to 12 h */

struct histogram {
    const struct histogram_scale *scale;
    _Atomic uint64_t buckets[HISTOGRAM_BOUNDS + 1];
    _Atomic uint64_t sum_ns;
};

void histogram_init(struct histogram *histogram, const struct histogram_scale *scale);

/* Less than nothing is nothing. A value that is a bound is in the bucket below it. */
void histogram_observe(struct histogram *histogram, double seconds);

struct histogram_values {
    const struct histogram_scale *scale;
    uint64_t
        buckets[HISTOGRAM_BOUNDS + 1]; /* each with what is in those before, as Prometheus has it */
    uint64_t count;
    double sum;
};
void histogram_read(const struct histogram *histogram, struct histogram_values *values);

#endif
