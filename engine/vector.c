/*
 * vector.c: see vector.h.
 *
 * Sums are of doubles: the square of any float, from the smallest denormal to the largest, is a
 * normal double, and so is the sum of 65,536 of them. Vectors of very small and very large
 * components therefore need no scaling.
 */
#include "engine/vector.h"

#include <math.h>

static tk_status sum_of_squares(const float *vector, uint32_t dim, const char *what, double *sum,
                                tk_error *error)
{
    double total = 0;
    for (uint32_t i = 0; i < dim; i++) total += (double)vector[i] * (double)vector[i];
    *sum = total;
    if (!isfinite(total)) {
        uint32_t i = 0;
        while (i < dim - 1 && isfinite(vector[i])) i++;
        return tk_fail(error, TK_ENONFINITE, "%s: component %u is %s", what, i,
                       isnan(vector[i]) ? "NaN" : "infinite");
    }
    if (total == 0) return tk_fail(error, TK_EZERO, "%s: all %u components are zero", what, dim);
    return TK_OK;
}

tk_status tk_vector_check(const float *vector, uint32_t dim, const char *what, tk_error *error)
{
    double unused;
    return sum_of_squares(vector, dim, what, &unused, error);
}

tk_status tk_vector_normalise(const float *vector, uint32_t dim, uint32_t stride, const char *what,
                              float *out, tk_error *error)
{
    double sum;
    tk_status status = sum_of_squares(vector, dim, what, &sum, error);
    if (status != TK_OK) return status;
    double length = sqrt(sum);
    for (uint32_t i = 0; i < dim; i++) out[i] = (float)((double)vector[i] / length);
    for (uint32_t i = dim; i < stride; i++) out[i] = 0;
    return TK_OK;
}
