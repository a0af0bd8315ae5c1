/*
 * intrinsic.h: the local intrinsic dimension of a set of vectors: how fast the number of
 * neighbours grows with the distance, which is what makes a set hard for a graph index.
 *
 * The estimator is the maximum likelihood one of Levina and Bickel ("Maximum Likelihood Estimation
 * of Intrinsic Dimension", 2004) over the nearest INTRINSIC_K neighbours of a vector, and of a
 * sample of vectors the median, since real sets have dense corners where a few estimates mean
 * little.
 */
#ifndef BENCH_INTRINSIC_H
#define BENCH_INTRINSIC_H

#include "bench/exact.h"

enum { INTRINSIC_K = 20, INTRINSIC_SAMPLE = 400 };

/* The estimate from the nearest neighbours of a sample of the base's own vectors (depth of at least
 * INTRINSIC_K + 1, since each vector finds itself). Distances of zero, duplicates, are left out.
 * NaN where there are too few neighbours to tell. */
double intrinsic_of(const struct neighbours *neighbours);

/* Estimates it on evenly spaced vectors of the base, by exact search. */
int intrinsic_estimate(const struct vectors *base, double *estimate, tk_error *err);

#endif
