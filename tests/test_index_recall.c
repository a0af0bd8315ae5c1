/* Recall at default settings, on real data where it is there, and after removing and adding. */
#include "tests/index_data.h"

enum { DIM = 1536 };

/* Removes every third vector from `first` on and adds it again. */
static void churn(tk_index *index, size_t n, const float *vectors, size_t first)
{
    tk_error error;
    tk_id *ids = malloc(n * sizeof(*ids));
    float *again = data_alloc(n / 3 + 1, DIM);
    size_t count = 0;
    for (size_t i = first; i < n; i += 3) {
        cr_assert_eq(tk_index_remove(index, i, &error), TK_OK, "%s", error.message);
        cr_assert_not(tk_index_contains(index, i));
        memcpy(again + count * DIM, vectors + i * DIM, DIM * sizeof(*again));
        ids[count++] = i;
    }
    cr_assert_eq(tk_index_add_batch(index, count, ids, again, 2, &error), TK_OK, "%s",
                 error.message);
    free(ids);
    free(again);
}

/* Recall of a set as it is built and after `rounds` of removing and adding a third. */
static void check_set(const char *name, size_t most, size_t queries_most, size_t rounds)
{
    char path[64];
    size_t n = 0, queries_n = 0;
    snprintf(path, sizeof(path), "%s.i8", name);
    float *vectors = data_file(path, most, &n);
    snprintf(path, sizeof(path), "%s.queries.i8", name);
    float *queries = data_file(path, queries_most, &queries_n);
    if (!vectors || !queries) {
        free(vectors);
        free(queries);
        cr_skip_test("no data set %s in %s", name, TEST_DATA_DIR);
    }
    tk_index *index = data_index(DIM);
    tk_index_stats before, after;
    data_add(index, n, DIM, vectors, 0);
    double fresh = data_recall(index, queries_n, DIM, queries);
    cr_expect_geq(fresh, 0.95, "%s: recall %.4f", name, fresh);
    tk_index_get_stats(index, &before);
    for (size_t round = 0; round < rounds; round++) churn(index, n, vectors, round % 3);
    double churned = data_recall(index, queries_n, DIM, queries);
    cr_expect_geq(churned, 0.95, "%s: recall %.4f after %zu rounds", name, churned, rounds);
    cr_expect_geq(churned, fresh - 0.01, "%s: recall %.4f, was %.4f", name, churned, fresh);
    tk_index_get_stats(index, &after);
    cr_expect_eq(after.count, n);
    cr_expect_leq(after.capacity, before.capacity + before.capacity / 50 + 256,
                  "space is used again");
    free(vectors);
    free(queries);
    tk_index_free(index);
}

Test(index_recall, ada6k)
{
    check_set("ada6k", SANITIZED ? 2500 : 6000, 100, SANITIZED ? 1 : 2);
}

/* All of it where the code is optimised; some of it where the test would take minutes. */
#ifdef NDEBUG
enum { TEXT = 50000 };
#else
enum { TEXT = SANITIZED ? 2500 : 12000 };
#endif

Test(index_recall, text50k, .timeout = 1700)
{
    check_set("text50k", TEXT, SANITIZED ? 100 : 200, 1);
}

/* As test_index_recall's sets, but always there: 20 dimensions' worth of variation in 64. */
Test(index_recall, synthetic_vectors_after_ten_rounds)
{
    enum { SMALL = 64, QUERIES = 200 };
    const size_t n = SANITIZED ? 2500 : 4000;
    float *vectors = data_clustered(n + QUERIES, SMALL, 300, 1.2f, 6);
    tk_index *index = data_index(SMALL);
    data_add(index, n, SMALL, vectors, 0);
    const float *queries = vectors + n * SMALL;
    double fresh = data_recall(index, QUERIES, SMALL, queries);
    cr_expect_geq(fresh, 0.95, "recall %.4f", fresh);
    for (size_t round = 0; round < (SANITIZED ? 4 : 10); round++) {
        for (size_t i = round % 3; i < n; i += 3)
            cr_assert_eq(tk_index_remove(index, i, NULL), TK_OK);
        for (size_t i = round % 3; i < n; i += 3)
            cr_assert_eq(tk_index_add(index, i, vectors + i * SMALL, NULL), TK_OK);
    }
    double churned = data_recall(index, QUERIES, SMALL, queries);
    cr_expect_geq(churned, fresh - 0.01, "recall %.4f, was %.4f", churned, fresh);
    free(vectors);
    tk_index_free(index);
}
