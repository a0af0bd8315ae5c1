/*
 * exact.h: the true nearest neighbours, by comparing every query with every vector.
 *
 * Candidates come from blocked matrix products in float32 (OpenBLAS); those that may be among the
 * nearest are compared again in double precision, so that the similarities are good to about 1e-7
 * and ties are ties.
 */
#ifndef BENCH_EXACT_H
#define BENCH_EXACT_H

#include "bench/vectors.h"

#include <stdint.h>

/* For each query its nearest vectors, best first, ties by smaller id; in shared memory, so that a
 * forked process can fill it in. */
struct neighbours {
    size_t queries, depth;
    uint32_t *ids;        /* queries x depth */
    double *similarities; /* queries x depth */
    size_t *found;        /* per query, less than depth where there are not as many */
    void *memory;
    size_t bytes;
};

int neighbours_allocate(size_t queries, size_t depth, struct neighbours *neighbours, tk_error *err);
void neighbours_free(struct neighbours *neighbours);

/* Finds the nearest depth vectors of every query, among those whose keep[id] has a bit in common
 * with `bits`, or among all where keep is NULL. Uses the threads of OpenBLAS. */
int exact_search(const struct vectors *base, const struct vectors *queries, const uint8_t *keep,
                 uint8_t bits, struct neighbours *neighbours, tk_error *err);

#endif
