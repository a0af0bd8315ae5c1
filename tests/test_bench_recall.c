/* The truth, and what counts as having found it. */
#include "bench/exact.h"
#include "bench/recall.h"
#include "bench/synthetic.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void make(struct vectors *vectors, size_t count, size_t dim)
{
    tk_error error;
    cr_assert_eq(vectors_allocate(count, dim, vectors, &error), 0);
}

/* Vectors in the plane, by their angle in degrees. */
static void set_angle(struct vectors *vectors, size_t row, double degrees)
{
    vectors_row(vectors, row)[0] = (float)cos(degrees * acos(-1) / 180);
    vectors_row(vectors, row)[1] = (float)sin(degrees * acos(-1) / 180);
}

struct plane {
    struct vectors base, queries;
    struct neighbours truth;
};

/* One query at angle 0 and vectors at the given angles. */
static struct plane make_plane(const double *degrees, size_t n, size_t depth)
{
    struct plane plane;
    tk_error error;
    make(&plane.base, n, 2);
    make(&plane.queries, 1, 2);
    for (size_t i = 0; i < n; i++) set_angle(&plane.base, i, degrees[i]);
    set_angle(&plane.queries, 0, 0);
    cr_assert_eq(neighbours_allocate(1, depth, &plane.truth, &error), 0);
    cr_assert_eq(exact_search(&plane.base, &plane.queries, NULL, 0, &plane.truth, &error), 0);
    return plane;
}

static void free_plane(struct plane *plane)
{
    neighbours_free(&plane->truth);
    vectors_free(&plane->base);
    vectors_free(&plane->queries);
}

static double recall_of(const struct plane *plane, const tk_hit *hits, size_t found, size_t k)
{
    struct recall recall;
    tk_error error = {0};
    const struct answers answers = {k, hits, &found};
    int result = recall_measure(&plane->base, &plane->queries, &plane->truth, &answers, NULL, 0,
                                &recall, &error);
    cr_assert_eq(result, 0, "%s", error.message);
    return recall.value;
}

Test(exact, finds_what_comparing_everything_finds)
{
    struct vectors base, queries;
    struct neighbours neighbours;
    size_t sphere;
    tk_error error;
    enum { COUNT = 3000, DEPTH = 15 };
    cr_assert_eq(synthetic_make(COUNT, 150, 48, 12, 7, &base, &queries, &sphere, &error), 0);
    cr_assert_eq(neighbours_allocate(150, DEPTH, &neighbours, &error), 0);
    cr_assert_eq(exact_search(&base, &queries, NULL, 0, &neighbours, &error), 0);
    for (size_t q = 0; q < 150; q++) {
        const double *found = neighbours.similarities + q * DEPTH;
        cr_assert_eq(neighbours.found[q], DEPTH);
        size_t better = 0;
        for (size_t i = 0; i < COUNT; i++)
            better +=
                vector_dot(vectors_row(&queries, q), vectors_row(&base, i), 48) > found[DEPTH - 1];
        cr_expect_eq(better, DEPTH - 1, "query %zu", q);
        for (size_t i = 1; i < DEPTH; i++) cr_expect_leq(found[i], found[i - 1]);
    }
    neighbours_free(&neighbours);
    vectors_free(&base);
    vectors_free(&queries);
}

Test(exact, keeps_to_the_filter_and_says_how_many_there_were)
{
    struct plane plane = make_plane((const double[]){0, 1, 2, 3, 4, 5}, 6, 4);
    const uint8_t keep[6] = {0, 2, 0, 2, 1, 3};
    tk_error error;
    cr_assert_eq(exact_search(&plane.base, &plane.queries, keep, 2, &plane.truth, &error), 0);
    cr_assert_eq(plane.truth.found[0], 3);
    cr_expect_eq(plane.truth.ids[0], 1);
    cr_expect_eq(plane.truth.ids[1], 3);
    cr_expect_eq(plane.truth.ids[2], 5);
    cr_assert_eq(exact_search(&plane.base, &plane.queries, keep, 8, &plane.truth, &error), 0);
    cr_expect_eq(plane.truth.found[0], 0);
    free_plane(&plane);
}

Test(exact, breaks_ties_by_the_smaller_id)
{
    struct plane plane = make_plane((const double[]){5, 5, 5, 5, 1}, 5, 3);
    cr_expect_eq(plane.truth.ids[0], 4);
    cr_expect_eq(plane.truth.ids[1], 0);
    cr_expect_eq(plane.truth.ids[2], 1);
    free_plane(&plane);
}

Test(recall, is_the_share_of_the_nearest_that_was_found)
{
    struct plane plane = make_plane((const double[]){0, 1, 2, 3, 4, 5}, 6, 4);
    const tk_hit all[] = {{3, 0}, {1, 0}, {0, 0}, {2, 0}};
    const tk_hit half[] = {{0, 0}, {5, 0}, {3, 0}, {4, 0}};
    cr_expect_float_eq(recall_of(&plane, all, 4, 4), 1, 1e-12);
    cr_expect_float_eq(recall_of(&plane, half, 4, 4), 0.5, 1e-12);
    cr_expect_float_eq(recall_of(&plane, all, 1, 4), 0.25, 1e-12);
    cr_expect_float_eq(recall_of(&plane, all, 0, 4), 0, 1e-12);
    free_plane(&plane);
}

Test(recall, counts_whatever_ties_with_the_last_place)
{
    struct plane plane = make_plane((const double[]){1, 5, 5, 5, 5, 9}, 6, 2);
    const tk_hit other[] = {{0, 0}, {4, 0}};
    const tk_hit worse[] = {{0, 0}, {5, 0}};
    cr_expect_float_eq(recall_of(&plane, other, 2, 2), 1, 1e-12);
    cr_expect_float_eq(recall_of(&plane, worse, 2, 2), 0.5, 1e-12);
    free_plane(&plane);
}

Test(recall, forgives_a_millionth_of_similarity_and_no_more)
{
    /* cos 60 = 0.5; a difference of 1e-6 in the cosine is one of 6.6e-5 degrees there. */
    struct plane plane = make_plane((const double[]){60, 60 + 5e-5, 60 + 1e-3}, 3, 1);
    cr_expect_float_eq(recall_of(&plane, (const tk_hit[]){{1, 0}}, 1, 1), 1, 1e-12);
    cr_expect_float_eq(recall_of(&plane, (const tk_hit[]){{2, 0}}, 1, 1), 0, 1e-12);
    free_plane(&plane);
}

Test(recall, counts_an_id_once_however_often_it_is_answered)
{
    struct plane plane = make_plane((const double[]){0, 1, 2, 3}, 4, 4);
    const tk_hit hits[] = {{0, 0}, {0, 0}, {0, 0}, {1, 0}};
    cr_expect_float_eq(recall_of(&plane, hits, 4, 4), 0.5, 1e-12);
    free_plane(&plane);
}

Test(recall, is_of_what_there_is_where_that_is_less_than_k)
{
    struct plane plane = make_plane((const double[]){0, 1}, 2, 4);
    const tk_hit hits[] = {{0, 0}, {1, 0}};
    cr_expect_float_eq(recall_of(&plane, hits, 2, 4), 1, 1e-12);
    cr_expect_float_eq(recall_of(&plane, hits, 1, 4), 0.5, 1e-12);
    free_plane(&plane);
}

Test(recall, reports_the_largest_error_of_a_similarity)
{
    struct plane plane = make_plane((const double[]){0, 60}, 2, 2);
    const tk_hit hits[] = {{0, 1.0F}, {1, 0.51F}};
    const size_t found = 2;
    const struct answers answers = {2, hits, &found};
    struct recall recall;
    tk_error error;
    cr_assert_eq(recall_measure(&plane.base, &plane.queries, &plane.truth, &answers, NULL, 0,
                                &recall, &error),
                 0);
    cr_expect_float_eq(recall.similarity_error, 0.01, 1e-6);
    free_plane(&plane);
}

Test(recall, refuses_answers_that_cannot_be)
{
    struct plane plane = make_plane((const double[]){0, 1, 2}, 3, 2);
    const uint8_t keep[3] = {1, 0, 1};
    struct recall recall;
    tk_error error;
    const tk_hit unknown[] = {{0, 0}, {3, 0}}, outside[] = {{0, 0}, {1, 0}};
    size_t found = 2;
    struct answers answers = {2, unknown, &found};
    cr_expect_eq(recall_measure(&plane.base, &plane.queries, &plane.truth, &answers, NULL, 0,
                                &recall, &error),
                 -1);
    cr_expect_not_null(strstr(error.message, "id 3 does not exist"));
    answers.hits = outside;
    cr_expect_eq(recall_measure(&plane.base, &plane.queries, &plane.truth, &answers, keep, 1,
                                &recall, &error),
                 -1);
    cr_expect_not_null(strstr(error.message, "id 1 is not part of the filter"));
    const tk_hit nonsense[] = {{0, NAN}, {2, 0.5F}};
    answers.hits = nonsense;
    cr_expect_eq(recall_measure(&plane.base, &plane.queries, &plane.truth, &answers, NULL, 0,
                                &recall, &error),
                 -1);
    cr_expect_not_null(strstr(error.message, "similarity of id 0 is no number"));
    answers.hits = outside;
    found = 3;
    cr_expect_eq(recall_measure(&plane.base, &plane.queries, &plane.truth, &answers, NULL, 0,
                                &recall, &error),
                 -1);
    free_plane(&plane);
}
