/* Synthetic vectors have the local intrinsic dimension that they are made for. */
#include "bench/intrinsic.h"
#include "bench/synthetic.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double estimate_for(size_t count, size_t dim, double lid)
{
    struct vectors base, queries;
    size_t sphere;
    double estimate = 0;
    tk_error error = {0};
    int result = synthetic_make(count, 1, dim, lid, 42, &base, &queries, &sphere, &error);
    cr_assert_eq(result, 0, "%s", error.message);
    cr_assert_eq(intrinsic_estimate(&base, &estimate, &error), 0);
    vectors_free(&base);
    vectors_free(&queries);
    return estimate;
}

Test(synthetic, has_the_dimension_that_was_stated)
{
    const double lids[] = {4, 10, 20};
    for (size_t i = 0; i < 3; i++)
        cr_expect_float_eq(estimate_for(4000, 96, lids[i]), lids[i], lids[i] / 8, "%g", lids[i]);
}

Test(synthetic, depends_on_the_seed_alone)
{
    struct vectors a, b, c, queries_a, queries_b, queries_c;
    size_t sphere;
    tk_error error;
    cr_assert_eq(synthetic_make(100, 10, 32, 5, 1, &a, &queries_a, &sphere, &error), 0);
    cr_assert_eq(synthetic_make(100, 10, 32, 5, 1, &b, &queries_b, &sphere, &error), 0);
    cr_assert_eq(synthetic_make(100, 10, 32, 5, 2, &c, &queries_c, &sphere, &error), 0);
    cr_expect_eq(memcmp(a.data, b.data, a.bytes), 0);
    cr_expect_eq(memcmp(queries_a.data, queries_b.data, queries_a.bytes), 0);
    cr_expect_neq(memcmp(a.data, c.data, a.bytes), 0);
    vectors_free(&a);
    vectors_free(&b);
    vectors_free(&c);
    vectors_free(&queries_a);
    vectors_free(&queries_b);
    vectors_free(&queries_c);
}

Test(synthetic, makes_vectors_of_length_one_and_queries_that_are_not_among_them)
{
    struct vectors base, queries;
    size_t sphere;
    tk_error error;
    cr_assert_eq(synthetic_make(500, 20, 64, 6, 3, &base, &queries, &sphere, &error), 0);
    for (size_t i = 0; i < base.count; i++)
        cr_expect_float_eq(vector_dot(vectors_row(&base, i), vectors_row(&base, i), 64), 1, 1e-5);
    for (size_t q = 0; q < queries.count; q++)
        for (size_t i = 0; i < base.count; i++)
            cr_expect_lt(vector_dot(vectors_row(&queries, q), vectors_row(&base, i), 64), 0.99999);
    vectors_free(&base);
    vectors_free(&queries);
}

Test(synthetic, refuses_a_dimension_that_cannot_be)
{
    struct vectors base, queries;
    size_t sphere;
    tk_error error = {0};
    cr_expect_eq(synthetic_make(1000, 1, 16, 40, 1, &base, &queries, &sphere, &error), -1);
    cr_expect_not_null(strstr(error.message, "cannot have a local intrinsic dimension of 40"));
    cr_expect_eq(synthetic_make(1000, 1, 1, 1, 1, &base, &queries, &sphere, &error), -1);
    cr_expect_null(base.data);
}

Test(intrinsic, is_unknown_where_there_are_too_few_neighbours)
{
    double similarities[5] = {1, 0.9, 0.8, 0.7, 0.6};
    uint32_t ids[5] = {0, 1, 2, 3, 4};
    size_t found = 5;
    const struct neighbours few = {
        .queries = 1, .depth = 5, .ids = ids, .similarities = similarities, .found = &found};
    cr_expect(isnan(intrinsic_of(&few)));
}

Test(intrinsic, does_not_take_duplicates_for_neighbours)
{
    enum { DEPTH = 2 * INTRINSIC_K };
    double similarities[DEPTH];
    uint32_t ids[DEPTH] = {0};
    size_t found = DEPTH;
    struct neighbours neighbours = {
        .queries = 1, .depth = DEPTH, .ids = ids, .similarities = similarities, .found = &found};
    /* Distances that grow as in dimension 3: the i-th is at i^(1/3). */
    for (size_t i = 0; i < DEPTH; i++) {
        double distance = 0.01 * cbrt((double)i + 1);
        similarities[i] = 1 - distance * distance / 2;
    }
    double without = intrinsic_of(&neighbours);
    memmove(similarities + 5, similarities, (DEPTH - 5) * sizeof(*similarities));
    for (size_t i = 0; i < 5; i++) similarities[i] = 1;
    cr_expect_float_eq(intrinsic_of(&neighbours), without, 1e-6);
    cr_expect(without > 2.5 && without < 4, "%g", without);
}
