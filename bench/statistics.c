#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int compare_samples(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

double median(double *values, size_t n)
{
    if (n == 0) return NAN;
    qsort(values, n, sizeof(*values), compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void sort_samples(uint32_t *samples, size_t n)
{
    qsort(samples, n, sizeof(*samples), compare_samples);
}

uint32_t percentile(const uint32_t *sorted, size_t n, double share)
{
    if (n == 0) return 0;
    double rank = ceil(share * (double)n);
    size_t at = rank < 1 ? 0 : (size_t)rank - 1;
    return sorted[at < n ? at : n - 1];
}
