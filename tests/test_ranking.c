/* Orders that are made of others: fused ranks, and pages without near-duplicates. */
#include "tools/tekupd/search/ranking.h"

#include <criterion/criterion.h>
#include <math.h>

Test(ranking, what_two_orders_find_comes_before_what_one_finds)
{
    cr_expect_float_eq(ranking_fusion(0), 1.0 / 61, 1e-12);
    cr_expect_gt(ranking_fusion(3), ranking_fusion(4));
    cr_expect_gt(ranking_fusion(50) + ranking_fusion(50), ranking_fusion(0));
}

/* Three that are nearly the same, one beside them, one opposite. */
static const float vectors[] = {1, 0, 0.9999f, 0.0141f, 0.9998f, -0.02f, 0.6f, 0.8f, -1, 0};
static const bool all[] = {true, true, true, true, true};
static const double relevance[] = {0.9, 0.89, 0.88, 0.5, 0.1};

static void check(double diversity, const bool *has, size_t limit, const size_t *wanted)
{
    size_t order[5];
    struct error err = {0};
    cr_assert_eq(ranking_diversify(relevance, vectors, has, 2, 5, diversity, limit, order, &err),
                 0);
    for (size_t i = 0; i < limit; i++)
        cr_expect_eq(order[i], wanted[i], "place %zu is %zu, not %zu", i, order[i], wanted[i]);
}

Test(ranking, without_diversity_the_order_stays)
{
    check(0, all, 5, (const size_t[]){0, 1, 2, 3, 4});
}

Test(ranking, copies_make_way_and_come_after_all_when_there_is_room)
{
    check(0.5, all, 3, (const size_t[]){0, 4, 3});
    check(0.3, all, 3, (const size_t[]){0, 4, 1});
    check(1, all, 2, (const size_t[]){0, 4});
    size_t order[5];
    cr_assert_eq(ranking_diversify(relevance, vectors, all, 2, 5, 0.5, 5, order, NULL), 0);
    unsigned seen = 0;
    for (size_t i = 0; i < 5; i++) seen |= 1u << order[i];
    cr_expect_eq(seen, 31, "each once");
}

Test(ranking, what_has_no_vector_is_like_nothing)
{
    const bool has[] = {true, false, true, true, true};
    check(0.5, has, 3, (const size_t[]){0, 4, 1});
    const bool none[] = {false, false, false, false, false};
    check(0.9, none, 5, (const size_t[]){0, 1, 2, 3, 4});
}

Test(ranking, none_of_none)
{
    cr_expect_eq(ranking_diversify(relevance, vectors, all, 2, 0, 0.5, 0, NULL, NULL), 0);
}

Test(ranking, dimensions_that_are_no_multiple_of_the_lanes)
{
    enum { DIM = 13 };
    float long_vectors[3 * DIM] = {0};
    long_vectors[DIM - 1] = long_vectors[2 * DIM - 1] = 1; /* the first two are the same */
    long_vectors[2 * DIM] = 1;
    size_t order[2];
    const double equal[] = {1, 1, 0.9};
    cr_assert_eq(ranking_diversify(equal, long_vectors, all, DIM, 3, 0.5, 2, order, NULL), 0);
    cr_expect_eq(order[0], 0);
    cr_expect_eq(order[1], 2);
}
