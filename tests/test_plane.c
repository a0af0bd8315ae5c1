#include "tools/tekupd/map/plane.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIM = 96 };

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (double)(1 << 24) - 0.5;
}

/* Vectors that are spread differently along directions that are none of the coordinates', far from
 * the origin. */
static float *cloud(size_t count, size_t dim, uint64_t seed)
{
    float *vectors = malloc((count + 1) * dim * sizeof(*vectors));
    double directions[MOST_DIM][MOST_DIM];
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++) directions[i][j] = uniform(&seed);
    for (size_t v = 0; v < count; v++) {
        double vector[MOST_DIM];
        for (size_t j = 0; j < dim; j++) vector[j] = 20 + (double)j;
        for (size_t i = 0; i < dim; i++) {
            const double far = uniform(&seed) * 8 / (double)(1 + i);
            for (size_t j = 0; j < dim; j++) vector[j] += far * directions[i][j];
        }
        for (size_t j = 0; j < dim; j++) vectors[v * dim + j] = (float)vector[j];
    }
    return vectors;
}

/* The same by the book: the covariance in doubles, and power iteration until nothing moves. */
struct reference {
    double mean[MOST_DIM], axes[2][MOST_DIM], explained[2];
};

static void power(double covariance[MOST_DIM][MOST_DIM], size_t dim, double *axis, double *value)
{
    for (size_t i = 0; i < dim; i++) axis[i] = 1 + 0.01 * (double)i;
    for (int step = 0; step < 20000; step++) {
        double next[MOST_DIM] = {0}, length = 0;
        for (size_t i = 0; i < dim; i++) {
            for (size_t j = 0; j < dim; j++) next[i] += covariance[i][j] * axis[j];
            length += next[i] * next[i];
        }
        *value = sqrt(length);
        for (size_t i = 0; i < dim; i++) axis[i] = *value > 0 ? next[i] / *value : 0;
    }
}

static void by_the_book(const float *vectors, size_t count, size_t dim, struct reference *reference)
{
    static double covariance[MOST_DIM][MOST_DIM];
    double trace = 0;
    memset(covariance, 0, sizeof(covariance));
    memset(reference, 0, sizeof(*reference));
    for (size_t v = 0; v < count; v++)
        for (size_t i = 0; i < dim; i++)
            reference->mean[i] += (double)vectors[v * dim + i] / (double)count;
    for (size_t v = 0; v < count; v++)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++)
                covariance[i][j] += ((double)vectors[v * dim + i] - reference->mean[i]) *
                                    ((double)vectors[v * dim + j] - reference->mean[j]) /
                                    (double)count;
    for (size_t i = 0; i < dim; i++) trace += covariance[i][i];
    for (size_t a = 0; a < 2; a++) {
        double value;
        double *axis = reference->axes[a];
        power(covariance, dim, axis, &value);
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++) covariance[i][j] -= value * axis[i] * axis[j];
        reference->explained[a] = value / trace;
    }
}

static struct plane *fit(const float *vectors, size_t count, size_t dim, size_t at_once,
                         const struct plane *before)
{
    struct error err = {0};
    struct plane_fit *fit = plane_fit_create(dim, &err);
    cr_assert_not_null(fit, "%s", err.message);
    for (size_t at = 0; at < count; at += at_once)
        plane_fit_add(fit, vectors + at * dim, count - at < at_once ? count - at : at_once);
    struct plane *plane = plane_fit_finish(fit, before, &err);
    cr_assert_not_null(plane, "%s", err.message);
    plane_fit_free(fit);
    return plane;
}

static double dot(const float *a, const double *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void compare(size_t count, size_t dim, size_t at_once)
{
    float *vectors = cloud(count, dim, count + dim);
    float *xy = malloc(2 * count * sizeof(*xy));
    struct reference reference;
    struct plane *plane = fit(vectors, count, dim, at_once, NULL);
    by_the_book(vectors, count, dim, &reference);
    for (size_t a = 0; a < 2; a++) {
        const double along = dot(plane->axes + a * dim, reference.axes[a], dim);
        cr_expect_float_eq(fabs(along), 1, 1e-4, "%zu x %zu, axis %zu: %g", count, dim, a, along);
        cr_expect_float_eq(plane->explained[a], reference.explained[a], 1e-4);
        if (along < 0)
            for (size_t i = 0; i < dim; i++) reference.axes[a][i] *= -1;
    }
    plane_project(plane, vectors, count, xy);
    for (size_t v = 0; v < count; v++) {
        for (size_t a = 0; a < 2; a++) {
            double wanted = 0;
            for (size_t i = 0; i < dim; i++)
                wanted += ((double)vectors[v * dim + i] - reference.mean[i]) * reference.axes[a][i];
            cr_expect_float_eq((double)xy[2 * v + a], wanted, 0.02, "vector %zu, axis %zu: %g, %g",
                               v, a, (double)xy[2 * v + a], wanted);
        }
    }
    free(plane);
    free(vectors);
    free(xy);
}

Test(plane, is_that_of_the_book)
{
    compare(1000, 64, 1000);
    compare(1000, 64, 7);
    compare(700, 96, 300);
    compare(50, 2, 50);
    compare(257, 3, 256);
    compare(20, 96, 20); /* fewer vectors than dimensions */
}

Test(plane, points_the_same_way_again)
{
    enum { COUNT = 500, DIM = 32 };
    float *vectors = cloud(COUNT, DIM, 1);
    struct plane *plane = fit(vectors, COUNT, DIM, 100, NULL);
    for (size_t a = 0; a < 2; a++) {
        float largest = 0;
        for (size_t i = 0; i < DIM; i++)
            if (fabsf(plane->axes[a * DIM + i]) > fabsf(largest))
                largest = plane->axes[a * DIM + i];
        cr_expect_gt(largest, 0);
    }
    for (size_t i = 0; i < 2 * DIM; i++) plane->axes[i] *= -1;
    struct plane *again = fit(vectors, COUNT, DIM, 100, plane);
    for (size_t i = 0; i < 2 * DIM; i++) cr_expect_float_eq(again->axes[i], plane->axes[i], 1e-4);
    free(plane);
    free(again);
    free(vectors);
}

Test(plane, of_vectors_that_are_all_the_same)
{
    enum { DIM = 16 };
    float vectors[10 * DIM], xy[20];
    for (size_t i = 0; i < 10 * DIM; i++) vectors[i] = 0.25f;
    for (size_t count = 0; count <= 10; count++) {
        struct plane *plane = fit(vectors, count, DIM, 3, NULL);
        plane_project(plane, vectors, count, xy);
        for (size_t i = 0; i < 2 * count; i++) cr_expect_float_eq(xy[i], 0, 1e-5);
        cr_expect(plane->explained[0] <= 1 && plane->explained[1] <= 1);
        if (count == 0) cr_expect(plane->explained[0] == 0 && plane->explained[1] == 0);
        free(plane);
    }
}

Test(plane, of_vectors_in_a_line)
{
    enum { DIM = 8, COUNT = 100 };
    float vectors[COUNT * DIM], xy[2 * COUNT];
    for (size_t v = 0; v < COUNT; v++)
        for (size_t i = 0; i < DIM; i++) vectors[v * DIM + i] = (float)v;
    struct plane *plane = fit(vectors, COUNT, DIM, COUNT, NULL);
    cr_expect_float_eq(plane->explained[0], 1, 1e-5);
    cr_expect_float_eq(plane->explained[1], 0, 1e-5);
    plane_project(plane, vectors, COUNT, xy);
    for (size_t v = 0; v < COUNT; v++)
        cr_expect_float_eq((double)xy[2 * v], ((double)v - 49.5) * sqrt(DIM), 1e-3);
    free(plane);
}
