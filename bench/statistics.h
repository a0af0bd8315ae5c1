/* statistics.h: medians and percentiles of what was measured. */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/* The median; of an even number the mean of the two in the middle. Sorts the values in place. NaN
 * where there are none. */
double median(double *values, size_t n);

/* Sorts samples for percentile(). */
void sort_samples(uint32_t *samples, size_t n);

/* The smallest sample that at least `share` (0 to 1) of the sorted samples do not exceed (nearest
 * rank). 0 where there are none. */
uint32_t percentile(const uint32_t *sorted, size_t n, double share);

#endif
