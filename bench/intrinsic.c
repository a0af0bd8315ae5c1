#include "bench/intrinsic.h"
#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below this the distance is the rounding of the components: the vector itself, or its duplicate.
 */
#define LEAST_DISTANCE 1e-3

/*
 * One vector's estimate; NaN where it has too few neighbours. The sum of ln(r_k / r_i) over the k-1
 * neighbours before the last is gamma distributed, with a median of k - 1 - 1/3 over the dimension,
 * so this makes the median of the estimates the dimension.
 */
static double estimate_of(const double *similarities, size_t found)
{
    double distances[INTRINSIC_K];
    size_t n = 0;
    for (size_t i = 0; i < found && n < INTRINSIC_K; i++) {
        double distance = sqrt(fmax(0, 2 - 2 * similarities[i]));
        if (distance > LEAST_DISTANCE) distances[n++] = distance;
    }
    if (n < INTRINSIC_K) return NAN;
    double sum = 0;
    for (size_t i = 0; i + 1 < n; i++) sum += log(distances[n - 1] / distances[i]);
    return sum > 0 ? ((double)(n - 1) - 1.0 / 3) / sum : NAN;
}

double intrinsic_of(const struct neighbours *neighbours)
{
    double *estimates = malloc((neighbours->queries + 1) * sizeof(*estimates));
    size_t n = 0;
    if (!estimates) return NAN;
    for (size_t q = 0; q < neighbours->queries; q++) {
        double estimate =
            estimate_of(neighbours->similarities + q * neighbours->depth, neighbours->found[q]);
        if (isfinite(estimate)) estimates[n++] = estimate;
    }
    double middle = median(estimates, n);
    free(estimates);
    return middle;
}

int intrinsic_estimate(const struct vectors *base, double *estimate, tk_error *err)
{
    struct vectors sample = {0};
    struct neighbours neighbours = {0};
    size_t count = base->count < INTRINSIC_SAMPLE ? base->count : INTRINSIC_SAMPLE;
    int result = -1;
    if (vectors_allocate(count, base->dim, &sample, err) != 0) goto out;
    for (size_t i = 0; i < count; i++)
        memcpy(vectors_row(&sample, i), vectors_row(base, i * (base->count / count)),
               base->dim * sizeof(float));
    if (neighbours_allocate(count, 2 * INTRINSIC_K, &neighbours, err) != 0) goto out;
    if (exact_search(base, &sample, NULL, 0, &neighbours, err) != 0) goto out;
    *estimate = intrinsic_of(&neighbours);
    result = 0;
out:
    neighbours_free(&neighbours);
    vectors_free(&sample);
    return result;
}
