/* Sets of vectors: what is held out for queries is gone from the rest. */
#include "bench/vectors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { COUNT = 200, DIM = 3 };

/* Vector i has i in every component. */
static struct vectors make_vectors(void)
{
    struct vectors vectors;
    tk_error error = {0};
    cr_assert_eq(vectors_allocate(COUNT, DIM, &vectors, &error), 0, "%s", error.message);
    for (size_t i = 0; i < COUNT * DIM; i++) vectors.data[i] = (float)(i / DIM);
    return vectors;
}

static void count_vectors(const struct vectors *vectors, int seen[COUNT])
{
    for (size_t i = 0; i < vectors->count; i++) {
        const float *row = vectors_row(vectors, i);
        for (size_t d = 1; d < DIM; d++) cr_assert_eq(row[d], row[0]);
        seen[(int)row[0]]++;
    }
}

Test(vectors, each_is_held_out_or_left)
{
    const size_t counts[] = {0, 1, 20, COUNT};
    for (size_t i = 0; i < 4; i++) {
        struct vectors vectors = make_vectors(), held;
        int seen[COUNT] = {0};
        tk_error error;
        cr_assert_eq(vectors_hold_out(&vectors, counts[i], 1, &held, &error), 0);
        cr_expect_eq(held.count, counts[i]);
        cr_expect_eq(vectors.count, COUNT - counts[i]);
        count_vectors(&vectors, seen);
        count_vectors(&held, seen);
        for (size_t v = 0; v < COUNT; v++) cr_expect_eq(seen[v], 1, "vector %zu", v);
        vectors_free(&held);
        vectors_free(&vectors);
    }
}

Test(vectors, the_seed_says_which_are_held_out)
{
    struct vectors vectors[3], held[3];
    const uint64_t seeds[] = {1, 1, 2};
    tk_error error;
    for (size_t i = 0; i < 3; i++) {
        vectors[i] = make_vectors();
        cr_assert_eq(vectors_hold_out(&vectors[i], 20, seeds[i], &held[i], &error), 0);
    }
    cr_expect_eq(memcmp(held[0].data, held[1].data, held[0].bytes), 0);
    cr_expect_neq(memcmp(held[0].data, held[2].data, held[0].bytes), 0);
    /* Not the first ones, and not all of one place. */
    double mean = 0;
    for (size_t i = 0; i < 20; i++) mean += vectors_row(&held[0], i)[0] / 20.0;
    cr_expect(fabs(mean - COUNT / 2.0) < COUNT / 4.0, "%g", mean);
    for (size_t i = 0; i < 3; i++) {
        vectors_free(&held[i]);
        vectors_free(&vectors[i]);
    }
}

Test(vectors, come_to_length_one)
{
    float vector[DIM] = {3, 0, 4}, zero[DIM] = {0}, wild[DIM] = {1, NAN, 0};
    cr_expect_eq(vector_normalise(vector, DIM), 0);
    cr_expect_float_eq(vector[0], 0.6f, 1e-6f);
    cr_expect_float_eq(vector[2], 0.8f, 1e-6f);
    cr_expect_eq(vector_normalise(zero, DIM), -2);
    cr_expect_eq(vector_normalise(wild, DIM), -1);
    wild[1] = INFINITY;
    cr_expect_eq(vector_normalise(wild, DIM), -1);
}
