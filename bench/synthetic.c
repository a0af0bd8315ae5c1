#include "bench/synthetic.h"
#include "bench/intrinsic.h"

#include <math.h>
#include <stdlib.h>

/* ---- Random numbers -------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood 2014): every seed is a good one. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

/* A normal deviate, by Box and Muller. */
static double normal(uint64_t *state)
{
    double u = ((double)(next_random(state) >> 11) + 0.5) * 0x1p-53;
    double v = ((double)(next_random(state) >> 11) + 0.5) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}

/* ---- The dimension that the estimator sees --------------------------------------------------- */

enum { STEPS = 20000 };

/*
 * The share of S^d within the angle a of a point is F(a), the integral of sin^(d-1) from 0 to a,
 * over that to pi. With k of n points within a_k, F(a_k) = k/n, and the mean of ln(r_k/r) over
 * them, r = 2 sin(a/2) being the distance, is by parts
 *
 *     1/F(a_k) * integral from 0 to a_k of F(a) d ln r(a),      d ln r = cot(a/2)/2 da
 */
double synthetic_expected(size_t count, size_t d)
{
    const double pi = acos(-1), step = pi / STEPS;
    const double power = (double)d - 1;
    double whole = 0;
    for (size_t i = 0; i < STEPS; i++) whole += pow(sin(((double)i + 0.5) * step), power);
    double aim = whole * INTRINSIC_K / (double)count;
    double within = 0, inverse = 0;
    for (size_t i = 0; i < STEPS && within < aim; i++) {
        double angle = ((double)i + 0.5) * step;
        double density = pow(sin(angle), power);
        inverse += (within + density / 2) / tan(angle / 2) / 2 * step;
        within += density;
    }
    return inverse > 0 ? within / inverse : 0;
}

size_t synthetic_sphere(size_t count, double lid, size_t most)
{
    size_t low = 1, high = most;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (synthetic_expected(count, middle) < lid)
            low = middle + 1;
        else
            high = middle;
    }
    double above = synthetic_expected(count, low);
    if (low > 1) {
        double below = synthetic_expected(count, low - 1);
        if (fabs(below - lid) < fabs(above - lid)) {
            low--;
            above = below;
        }
    }
    return fabs(above - lid) <= lid / 10 ? low : 0;
}

/* ---- Vectors --------------------------------------------------------------------------------- */

/* `rows` orthonormal rows of dim floats, by Gram and Schmidt on normal deviates (twice, which makes
 * up for the rounding of the first time). */
static void random_subspace(float *basis, size_t rows, size_t dim, uint64_t *state)
{
    for (size_t row = 0; row < rows; row++) {
        float *vector = basis + row * dim;
        for (size_t i = 0; i < dim; i++) vector[i] = (float)normal(state);
        vector_normalise(vector, dim);
        for (size_t pass = 0; pass < 2; pass++) {
            for (size_t earlier = 0; earlier < row; earlier++) {
                const float *other = basis + earlier * dim;
                float share = (float)vector_dot(vector, other, dim);
                for (size_t i = 0; i < dim; i++) vector[i] -= share * other[i];
            }
            vector_normalise(vector, dim);
        }
    }
}

static void fill(struct vectors *vectors, const float *basis, size_t rows, uint64_t *state)
{
    for (size_t n = 0; n < vectors->count; n++) {
        float *vector = vectors_row(vectors, n);
        do {
            for (size_t i = 0; i < vectors->dim; i++) vector[i] = 0;
            for (size_t row = 0; row < rows; row++) {
                const float *direction = basis + row * vectors->dim;
                float share = (float)normal(state);
                for (size_t i = 0; i < vectors->dim; i++) vector[i] += share * direction[i];
            }
        } while (vector_normalise(vector, vectors->dim) != 0);
    }
}

int synthetic_make(size_t count, size_t asked, size_t dim, double lid, uint64_t seed,
                   struct vectors *base, struct vectors *queries, size_t *sphere, tk_error *err)
{
    float *basis = NULL;
    int result = -1;
    *base = *queries = (struct vectors){0};
    *sphere = dim < 2 ? 0 : synthetic_sphere(count, lid, dim - 1);
    if (*sphere == 0)
        return fail(err,
                    "%zu vectors of dimension %zu cannot have a local intrinsic dimension of "
                    "%g",
                    count, dim, lid);
    const size_t rows = *sphere + 1;
    basis = malloc(rows * dim * sizeof(float));
    if (!basis) {
        fail(err, "memory ran out");
        goto out;
    }
    if (vectors_allocate(count, dim, base, err) != 0) goto out;
    if (vectors_allocate(asked, dim, queries, err) != 0) goto out;
    random_subspace(basis, rows, dim, &seed);
    fill(base, basis, rows, &seed);
    fill(queries, basis, rows, &seed);
    result = 0;
out:
    if (result != 0) {
        vectors_free(base);
        vectors_free(queries);
    }
    free(basis);
    return result;
}
