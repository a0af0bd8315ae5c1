/* Sets that a graph finds hard: copies, tight clusters far apart, next to nothing, and refilling.
 */
#include "tests/index_data.h"
#include "tests/index_graph.h"

enum { DIM = 32 };

/* What tekup/index.h allows a similarity to be off by: vectors that differ by less are as good as
 * equal to an index. */
#define SIMILARITY_SLACK 1e-4f

/* Searches for every step-th of n vectors. One as near as it comes first in at least `share` of the
 * cases, and one of its neighbourhood always: a similarity of at least `near`. */
static void expect_self_first(const tk_index *index, size_t n, const float *vectors, size_t step,
                              float near, double share)
{
    size_t first = 0, all = 0;
    for (size_t i = 0; i < n; i += step, all++) {
        tk_hit hits[10];
        cr_assert_geq(data_search(index, vectors + i * DIM, 10, false, hits), 1);
        cr_expect_geq(hits[0].similarity, near - SIMILARITY_SLACK, "vector %zu: %g", i,
                      (double)hits[0].similarity);
        first += hits[0].similarity >= 1 - SIMILARITY_SLACK;
    }
    cr_expect_geq((double)first, share * (double)all, "%zu of %zu", first, all);
}

Test(index_degenerate, all_vectors_equal)
{
    enum { N = 10000 };
    tk_index *index = data_index(DIM);
    float *vectors = data_alloc(N, DIM);
    /* Of different lengths: what normalising leaves differs in the last bits. */
    for (size_t i = 0; i < N; i++)
        for (size_t d = 0; d < DIM; d++) vectors[i * DIM + d] = (float)(d + 1) * (1 + (float)i / 7);
    data_add(index, N, DIM, vectors, 0);
    cr_expect_eq(tk_index_count(index), N);
    tk_hit hits[1000];
    for (size_t k = 1; k <= 1000; k *= 10)
        for (int exact = 0; exact < 2; exact++) {
            cr_assert_eq(data_search(index, vectors, k, exact, hits), k, "k = %zu", k);
            for (size_t i = 0; i < k; i++) {
                cr_expect_float_eq(hits[i].similarity, 1, SIMILARITY_SLACK);
                for (size_t j = 0; j < i; j++) cr_assert_neq(hits[i].id, hits[j].id);
            }
        }
    graph_expect_whole(index);
    for (tk_id id = 0; id < N; id++) {
        if (id % 100 == 99) continue;
        cr_assert_eq(tk_index_remove(index, id, NULL), TK_OK);
    }
    cr_assert_eq(data_search(index, vectors, 1000, false, hits), N / 100);
    graph_expect_whole(index);
    free(vectors);
    tk_index_free(index);
}

Test(index_degenerate, many_copies_among_others)
{
    enum { N = 4000, COPIES = 10000 };
    const size_t copies = SANITIZED ? 2000 : COPIES;
    tk_index *index = data_index(DIM);
    float *vectors = data_random_vectors(N, DIM, 3), *same = data_alloc(copies, DIM);
    for (size_t i = 0; i < copies; i++) memcpy(same + i * DIM, vectors, DIM * sizeof(float));
    data_add(index, N / 2, DIM, vectors, 0);
    data_add(index, copies, DIM, same, 1000000);
    data_add(index, N / 2, DIM, vectors + N / 2 * DIM, N / 2);
    cr_expect_eq(tk_index_count(index), N + copies);
    graph_expect_whole(index);
    /* Random ones have no neighbourhood: the few that are missed are missed by far. */
    expect_self_first(index, N, vectors, 37, -1, 0.97);
    double recall = data_recall_within(index, 200, DIM, vectors + 100 * DIM, SIMILARITY_SLACK);
    cr_expect_geq(recall, 0.95, "the copies hide nobody: recall %.3f", recall);
    tk_hit hits[100];
    cr_assert_eq(data_search(index, vectors, 100, false, hits), 100);
    for (size_t i = 0; i < 100; i++) cr_expect_float_eq(hits[i].similarity, 1, SIMILARITY_SLACK);
    cr_expect_eq(hits[0].id, 0, "ties go by id");
    for (size_t i = 0; i < copies; i++)
        cr_assert_eq(tk_index_remove(index, 1000000 + i, NULL), TK_OK);
    graph_expect_whole(index);
    expect_self_first(index, N, vectors, 37, -1, 0.97);
    cr_assert_eq(data_search(index, vectors, 2, false, hits), 2);
    cr_expect_lt(hits[1].similarity, 0.99f, "all copies are gone");
    free(vectors);
    free(same);
    tk_index_free(index);
}

/* Near enough to crowd each other's neighbour lists, not near enough to be one. */
Test(index_degenerate, near_copies_among_others)
{
    enum { N = 3000, COPIES = 3000 };
    tk_index *index = data_index(DIM);
    float *vectors = data_random_vectors(N, DIM, 3), *near = data_alloc(COPIES, DIM);
    uint64_t state = 4;
    for (size_t i = 0; i < COPIES * DIM; i++)
        near[i] = vectors[i % DIM] * (1 + 1e-4f * data_uniform(&state));
    data_add(index, COPIES, DIM, near, 1000000);
    data_add(index, N, DIM, vectors, 0);
    graph_expect_whole(index);
    /* Random ones have no neighbourhood: the few that are missed are missed by far. */
    expect_self_first(index, N, vectors, 37, -1, 0.97);
    double recall = data_recall_within(index, 200, DIM, vectors + 100 * DIM, SIMILARITY_SLACK);
    cr_expect_geq(recall, 0.95, "recall %.3f", recall);
    free(vectors);
    free(near);
    tk_index_free(index);
}

Test(index_degenerate, tight_clusters_far_apart)
{
    const size_t n = SANITIZED ? 3000 : 10000;
    tk_index *index = data_index(DIM);
    float *vectors = data_clustered(n, DIM, 12, 0.001f, 5);
    data_add(index, n, DIM, vectors, 0);
    graph_expect_whole(index);
    expect_self_first(index, n, vectors, 53, 0.9999f, 0.97);
    double recall = data_recall_within(index, 200, DIM, vectors, SIMILARITY_SLACK);
    cr_expect_geq(recall, 0.95, "recall %.3f", recall);
    free(vectors);
    tk_index_free(index);
}

Test(index_degenerate, clusters_that_come_one_after_another)
{
    enum { CLUSTERS = 10, EACH = 500 };
    tk_index *index = data_index(DIM);
    for (size_t c = 0; c < CLUSTERS; c++) {
        float *vectors = data_clustered(EACH, DIM, 1, 0.01f, 100 + c);
        data_add(index, EACH, DIM, vectors, c * EACH);
        free(vectors);
    }
    graph_expect_whole(index);
    for (size_t c = 0; c < CLUSTERS; c++) {
        float *vectors = data_clustered(EACH, DIM, 1, 0.01f, 100 + c);
        /* Those of a cluster differ by little more than the slack. */
        expect_self_first(index, EACH, vectors, 7, 0.999f, 0.85);
        free(vectors);
    }
    tk_index_free(index);
}

Test(index_degenerate, fewer_vectors_than_neighbours_and_than_k)
{
    tk_index *index = data_index(DIM);
    float *vectors = data_random_vectors(40, DIM, 6);
    for (size_t n = 1; n <= 40; n++) {
        tk_hit hits[50];
        cr_assert_eq(tk_index_add(index, n - 1, vectors + (n - 1) * DIM, NULL), TK_OK);
        cr_assert_eq(data_search(index, vectors, 50, false, hits), n);
        cr_assert_eq(data_search(index, vectors, 50, true, hits), n);
        cr_assert_eq(hits[0].id, 0);
    }
    graph_expect_whole(index);
    free(vectors);
    tk_index_free(index);
}

Test(index_degenerate, one_dimension_has_two_directions)
{
    tk_index *index = data_index(1);
    tk_hit hits[20];
    for (tk_id id = 0; id < 10; id++) {
        float vector = id % 2 ? -(float)id : (float)(id + 1);
        cr_assert_eq(tk_index_add(index, id, &vector, NULL), TK_OK);
    }
    float query = 3;
    cr_assert_eq(data_search(index, &query, 20, false, hits), 10);
    for (size_t i = 0; i < 10; i++) {
        cr_expect_float_eq(hits[i].similarity, i < 5 ? 1 : -1, SIMILARITY_SLACK);
        cr_expect_eq(hits[i].id, i < 5 ? 2 * i : 2 * (i - 5) + 1);
    }
    tk_index_free(index);
}

Test(index_degenerate, the_largest_dimension)
{
    enum { LARGE = 65536, N = 20 };
    tk_index *index = data_index(LARGE);
    float *vectors = data_random_vectors(N, LARGE, 12);
    data_add(index, N, LARGE, vectors, 0);
    tk_hit hits[N];
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(data_search(index, vectors + i * LARGE, N, i % 2, hits), N);
        cr_expect_eq(hits[0].id, i);
        cr_expect_float_eq(hits[0].similarity, 1, SIMILARITY_SLACK);
        cr_expect_float_eq(hits[7].similarity,
                           data_cosine(vectors + i * LARGE, vectors + hits[7].id * LARGE, LARGE),
                           1e-4);
    }
    free(vectors);
    tk_index_free(index);
}

Test(index_degenerate, all_removed_and_refilled)
{
    enum { N = 1500, ROUNDS = 4 };
    tk_index *index = data_index(DIM);
    tk_index_stats first, last;
    for (size_t round = 0; round < ROUNDS; round++) {
        float *vectors = data_random_vectors(N, DIM, 20 + round);
        tk_hit hits[10];
        data_add(index, N, DIM, vectors, round * N);
        graph_expect_whole(index);
        double recall = data_recall_within(index, 100, DIM, vectors, SIMILARITY_SLACK);
        cr_expect_geq(recall, 0.95, "round %zu: recall %.3f", round, recall);
        tk_index_get_stats(index, round ? &last : &first);
        for (size_t i = 0; i < N; i++)
            cr_assert_eq(tk_index_remove(index, round * N + i, NULL), TK_OK);
        cr_expect_eq(tk_index_count(index), 0);
        cr_expect_eq(data_search(index, vectors, 10, false, hits), 0);
        cr_expect_eq(data_search(index, vectors, 10, true, hits), 0);
        free(vectors);
    }
    cr_expect_leq(last.capacity, first.capacity + first.capacity / 10 + 4096, "%zu, then %zu",
                  first.capacity, last.capacity);
    cr_expect_leq(last.bytes, first.bytes + first.bytes / 5 + 100000, "%zu bytes, then %zu",
                  first.bytes, last.bytes);
    tk_index_free(index);
}

Test(index_degenerate, nobody_is_lost_by_removing_and_adding)
{
    const size_t n = SANITIZED ? 2000 : 4000;
    tk_index *index = data_index(DIM);
    float *vectors = data_clustered(n, DIM, 30, 0.3f, 7);
    data_add(index, n, DIM, vectors, 0);
    for (size_t round = 0; round < 6; round++) {
        for (size_t i = round % 3; i < n; i += 3)
            cr_assert_eq(tk_index_remove(index, i, NULL), TK_OK);
        graph_expect_whole(index);
        for (size_t i = round % 3; i < n; i += 3)
            cr_assert_eq(tk_index_add(index, i, vectors + i * DIM, NULL), TK_OK);
        graph_expect_whole(index);
    }
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(tk_index_replace(index, i, vectors + (n - 1 - i) * DIM, NULL), TK_OK);
    expect_self_first(index, n, vectors, 17, 0.8f, 0.97);
    tk_hit hits[1];
    size_t right = 0, asked = 0;
    for (size_t i = 0; i < n; i += 11, asked++) {
        cr_assert_eq(data_search(index, vectors + i * DIM, 1, true, hits), 1);
        cr_expect_eq(hits[0].id, n - 1 - i);
        cr_assert_eq(data_search(index, vectors + i * DIM, 1, false, hits), 1);
        right += hits[0].id == n - 1 - i;
    }
    cr_expect_geq((double)right, 0.97 * (double)asked, "%zu of %zu", right, asked);
    free(vectors);
    tk_index_free(index);
}
