/*
 * vectors.h: a set of vectors of length 1 in memory that the measured processes share.
 *
 * The memory is a shared mapping, made before the processes are forked. It so exists once, however
 * many engines are measured, and can be told from what an engine itself takes.
 */
#ifndef BENCH_VECTORS_H
#define BENCH_VECTORS_H

#include "bench/failure.h"

#include <stddef.h>
#include <stdint.h>

struct vectors {
    float *data; /* count x dim, row by row */
    size_t count, dim;
    size_t bytes; /* of the mapping */
};

/* Zeroed memory that forked processes share; NULL when there is none. Released by shared_free. */
void *shared_allocate(size_t bytes);
void shared_free(void *memory, size_t bytes);

/* Room for count vectors, zeroed. Fails where that is too many for the machine. */
int vectors_allocate(size_t count, size_t dim, struct vectors *vectors, tk_error *err);
void vectors_free(struct vectors *vectors);

/* Moves so many of the vectors, chosen at random, to a set of their own; those behind them take
 * their places. count is at most vectors->count. The same seed chooses the same ones. */
int vectors_hold_out(struct vectors *vectors, size_t count, uint64_t seed, struct vectors *held,
                     tk_error *err);

static inline float *vectors_row(const struct vectors *vectors, size_t i)
{
    return vectors->data + i * vectors->dim;
}

/* Divides one vector by its length. Returns -1 where it has a component that is not finite, -2
 * where its length is zero (or too small or large for a double's square). */
int vector_normalise(float *vector, size_t dim);

/* The dot product in double precision: of two vectors of length 1, their cosine. */
double vector_dot(const float *a, const float *b, size_t dim);

#endif
