/*
 * plane.c: see plane.h.
 *
 * Embeddings have much in common: their mean is longer than they are spread. So the mean of the
 * first block is taken off all of them before they are multiplied, which keeps the covariance from
 * being a small difference of large numbers.
 */
#include "tools/tekupd/map/plane.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 };

/* Of LAPACK, which comes with OpenBLAS; the last arguments are the lengths of the texts. */
void ssyevr_(const char *jobz, const char *range, const char *uplo, const int *n, float *a,
             const int *lda, const float *vl, const float *vu, const int *il, const int *iu,
             const float *abstol, int *m, float *w, float *z, const int *ldz, int *isuppz,
             float *work, const int *lwork, int *iwork, const int *liwork, int *info,
             size_t jobz_length, size_t range_length, size_t uplo_length);

struct plane_fit {
    size_t dim, count;
    float *shift;
    double *sum;     /* of what is left of the vectors */
    float *products; /* of the same: dim x dim, the upper triangle */
    float *block;
};

struct plane_fit *plane_fit_create(size_t dim, struct error *err)
{
    struct plane_fit *fit = calloc(1, sizeof(*fit));
    if (fit != NULL) {
        fit->dim = dim;
        fit->shift = calloc(dim, sizeof(*fit->shift));
        fit->sum = calloc(dim, sizeof(*fit->sum));
        fit->products = calloc(dim * dim, sizeof(*fit->products));
        fit->block = malloc(BLOCK * dim * sizeof(*fit->block));
        if (fit->shift != NULL && fit->sum != NULL && fit->products != NULL && fit->block != NULL)
            return fit;
    }
    plane_fit_free(fit);
    error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    return NULL;
}

void plane_fit_free(struct plane_fit *fit)
{
    if (fit == NULL) return;
    free(fit->shift);
    free(fit->sum);
    free(fit->products);
    free(fit->block);
    free(fit);
}

static void choose_shift(struct plane_fit *fit, const float *vectors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cblas_saxpy((int)fit->dim, 1.0f / (float)count, vectors + i * fit->dim, 1, fit->shift, 1);
}

static void add_block(struct plane_fit *fit, const float *vectors, size_t count)
{
    const size_t dim = fit->dim;
    if (fit->count == 0) choose_shift(fit, vectors, count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < dim; j++) {
            const float left = vectors[i * dim + j] - fit->shift[j];
            fit->block[i * dim + j] = left;
            fit->sum[j] += (double)left;
        }
    }
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)dim, (int)count, 1, fit->block,
                (int)dim, 1, fit->products, (int)dim);
    fit->count += count;
}

void plane_fit_add(struct plane_fit *fit, const float *vectors, size_t count)
{
    for (size_t at = 0; at < count; at += BLOCK)
        add_block(fit, vectors + at * fit->dim, count - at < BLOCK ? count - at : BLOCK);
}

/* ---- Finishing ------------------------------------------------------------------------------- */

/* What the eigenvalues are computed in. */
struct work {
    float *matrix, *values, *vectors, *floats;
    int *integers, support[4];
    int float_count, integer_count;
};

static void work_free(struct work *work)
{
    free(work->matrix);
    free(work->values);
    free(work->vectors);
    free(work->floats);
    free(work->integers);
}

/* The covariance, whose trace is returned: the variance of the vectors. */
static double fill_covariance(const struct plane_fit *fit, float *matrix)
{
    const size_t dim = fit->dim;
    const double count = fit->count > 0 ? (double)fit->count : 1;
    double trace = 0;
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = i; j < dim; j++)
            matrix[i * dim + j] = (float)((double)fit->products[i * dim + j] / count -
                                          fit->sum[i] / count * (fit->sum[j] / count));
        trace += (double)matrix[i * dim + i];
    }
    return trace;
}

/* The two largest eigenvalues, ascending, and their vectors. A row-major upper triangle is the
 * lower one to LAPACK. With float_count -1 it only says how much room it needs. */
static int run_lapack(struct work *work, int dim)
{
    const int first = dim - 1;
    const float unused = 0;
    float floats = 0;
    int found, info, integers = 0;
    const bool asks = work->float_count < 0;
    ssyevr_("V", "I", "L", &dim, work->matrix, &dim, &unused, &unused, &first, &dim, &unused,
            &found, work->values, work->vectors, &dim, work->support, asks ? &floats : work->floats,
            &work->float_count, asks ? &integers : work->integers, &work->integer_count, &info, 1,
            1, 1);
    if (info != 0 || (!asks && found != 2)) return -1;
    if (asks) {
        work->float_count = (int)ceilf(floats);
        work->integer_count = integers;
    }
    return 0;
}

static int solve(struct work *work, int dim, struct error *err)
{
    work->float_count = work->integer_count = -1;
    if (run_lapack(work, dim) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "the eigenvalues cannot be computed");
    work->floats = malloc((size_t)work->float_count * sizeof(*work->floats));
    work->integers = malloc((size_t)work->integer_count * sizeof(*work->integers));
    if (work->floats == NULL || work->integers == NULL)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (run_lapack(work, dim) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "the eigenvalues cannot be computed");
    return 0;
}

/* The way an axis points is nobody's choice but ours. */
static void point(float *axis, const float *before, size_t dim)
{
    const int n = (int)dim;
    const float along =
        before != NULL ? cblas_sdot(n, axis, 1, before, 1) : axis[cblas_isamax(n, axis, 1)];
    if (along < 0) cblas_sscal(n, -1, axis, 1);
}

static struct plane *make_plane(const struct plane_fit *fit, const struct work *work, double trace,
                                const struct plane *before, struct error *err)
{
    const size_t dim = fit->dim;
    struct plane *plane = calloc(1, sizeof(*plane) + 2 * dim * sizeof(float));
    if (plane == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    plane->dim = dim;
    for (size_t i = 0; i < 2; i++) {
        float *axis = plane->axes + i * dim;
        const double value = (double)work->values[1 - i];
        memcpy(axis, work->vectors + (1 - i) * dim, dim * sizeof(*axis));
        point(axis, before != NULL ? before->axes + i * dim : NULL, dim);
        plane->explained[i] = trace > 0 && value > 0 ? fmin(value / trace, 1) : 0;
        double offset = 0;
        for (size_t j = 0; j < dim && fit->count > 0; j++)
            offset += (double)axis[j] * ((double)fit->shift[j] + fit->sum[j] / (double)fit->count);
        plane->offset[i] = (float)offset;
    }
    return plane;
}

struct plane *plane_fit_finish(const struct plane_fit *fit, const struct plane *before,
                               struct error *err)
{
    const size_t dim = fit->dim;
    struct plane *plane = NULL;
    struct work work = {.matrix = malloc(dim * dim * sizeof(float)),
                        .values = malloc(dim * sizeof(float)),
                        .vectors = malloc(2 * dim * sizeof(float))};
    if (work.matrix == NULL || work.values == NULL || work.vectors == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    } else {
        const double trace = fill_covariance(fit, work.matrix);
        if (solve(&work, (int)dim, err) == 0) plane = make_plane(fit, &work, trace, before, err);
    }
    work_free(&work);
    return plane;
}

void plane_project(const struct plane *plane, const float *vectors, size_t count, float *xy)
{
    const int dim = (int)plane->dim;
    if (count == 0) return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, 2, dim, 1, vectors, dim,
                plane->axes, dim, 0, xy, 2);
    for (size_t i = 0; i < 2 * count; i++) xy[i] -= plane->offset[i % 2];
}
