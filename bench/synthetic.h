/*
 * synthetic.h: vectors made to a stated local intrinsic dimension, where there is no file.
 *
 * Points are uniform on the unit sphere S^d of a random (d+1)-dimensional subspace. What the
 * estimator of intrinsic.h sees at a distance where a vector has its 20 nearest of N is less than
 * d, since a sphere curves; it follows from N and d alone, so d is chosen as the one whose expected
 * estimate comes nearest to what was stated. The subspace is turned at random, so that every one of
 * the vectors' components carries a share.
 */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include "bench/vectors.h"

#include <stdint.h>

/* The estimate to be expected for `count` uniform points on the sphere S^d. */
double synthetic_expected(size_t count, size_t d);

/* The d to choose, 1 to most; 0 where none comes within a tenth of lid. */
size_t synthetic_sphere(size_t count, double lid, size_t most);

/* Makes `count` vectors, and `asked` further ones of the same distribution. The same seed gives the
 * same vectors. *sphere is the d that was chosen. */
int synthetic_make(size_t count, size_t asked, size_t dim, double lid, uint64_t seed,
                   struct vectors *base, struct vectors *queries, size_t *sphere, tk_error *err);

#endif
