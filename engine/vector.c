/*
 * vector.c: see vector.h.
 *
 * Sums are of doubles: the square of any float, from the smallest denormal to the largest, is a
 * normal double, and so is the sum of 65,536 of them. Vectors of very small and very large
 * components therefore need no scaling.
 */
#include "engine/vector.h"

#include <math.h>

/* Lengths between these are divided by in single precision. */
#define LENGTH_SMALL 1e-15
#define LENGTH_LARGE 1e15

static tk_status sum_of_squares(const struct kernels *kernels, const float *vector, uint32_t dim,
                                const char *what, double *sum, tk_error *error)
{
    *sum = kernels->squares(vector, dim);
    if (!isfinite(*sum)) {
        uint32_t i = 0;
        while (i < dim - 1 && isfinite(vector[i])) i++;
        return tk_fail(error, TK_ENONFINITE, "%s: component %u is %s", what, i,
                       isnan(vector[i]) ? "NaN" : "infinite");
    }
    if (*sum == 0) return tk_fail(error, TK_EZERO, "%s: all %u components are zero", what, dim);
    return TK_OK;
}

tk_status tk_vector_check(const struct kernels *kernels, const float *vector, uint32_t dim,
                          const char *what, tk_error *error)
{
    double unused;
    return sum_of_squares(kernels, vector, dim, what, &unused, error);
}

tk_status tk_vector_normalise(const struct kernels *kernels, const float *vector, uint32_t dim,
                              const char *what, float *out, tk_error *error)
{
    double sum;
    tk_status status = sum_of_squares(kernels, vector, dim, what, &sum, error);
    if (status != TK_OK) return status;
    const double length = sqrt(sum);
    if (length > LENGTH_SMALL && length < LENGTH_LARGE) {
        kernels->scale(vector, (float)(1 / length), dim, out);
    } else {
        for (uint32_t i = 0; i < dim; i++) out[i] = (float)((double)vector[i] / length);
    }
    return TK_OK;
}
