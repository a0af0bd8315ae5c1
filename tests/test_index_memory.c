/* Every allocation of every function is made to fail once; the index is then as it was. */
#include "engine/handle.h"
#include "tests/index_data.h"

#include <unistd.h>

enum { DIM = 16, N = 600 };

static void fail_after(tk_index *index, int64_t successes)
{
    atomic_store(&index->memory.fail_after, successes);
}

/* Whether the index holds the ids 0 to n - 1 with these vectors and nothing else. */
static void expect_content(const tk_index *index, size_t n, const float *vectors)
{
    cr_assert_eq(tk_index_count(index), n);
    tk_hit *hits = malloc((n + 10) * sizeof(*hits));
    cr_assert_eq(data_search(index, vectors, n + 10, true, hits), n);
    free(hits);
    for (size_t i = 0; i < n; i++) {
        float out[DIM];
        cr_assert_eq(tk_index_get(index, i, out, NULL), TK_OK, "id %zu", i);
        cr_assert_float_eq(data_cosine(out, vectors + i * DIM, DIM), 1, 1e-4, "id %zu", i);
    }
}

/* Calls something with its first, second, third... allocation failing until it succeeds; checks
 * that it fails cleanly each time. Returns how often it failed. */
static size_t fail_each(tk_index *index, tk_status (*call)(tk_index *, const float *),
                        const float *vectors, size_t n)
{
    for (size_t successes = 0;; successes++) {
        fail_after(index, (int64_t)successes);
        tk_status status = call(index, vectors);
        fail_after(index, -1);
        if (status == TK_OK) return successes;
        cr_assert_eq(status, TK_ENOMEM);
        cr_assert_lt(successes, 10000);
        expect_content(index, n, vectors);
    }
}

static tk_status add_next(tk_index *index, const float *vectors)
{
    size_t n = tk_index_count(index);
    return tk_index_add(index, n, vectors + n * DIM, NULL);
}

static tk_status replace_first(tk_index *index, const float *vectors)
{
    return tk_index_replace(index, 0, vectors, NULL);
}

static tk_status search_walk(tk_index *index, const float *vectors)
{
    tk_hit hits[10];
    size_t found;
    tk_search search;
    tk_search_init(&search);
    search.ef = 10; /* so that even a set this small is walked through */
    return tk_index_search(index, vectors, &search, hits, &found, NULL);
}

static tk_status search_batch(tk_index *index, const float *vectors)
{
    tk_hit hits[50];
    size_t found[5];
    tk_search search;
    tk_search_init(&search);
    search.exact = true;
    return tk_index_search_batch(index, 5, vectors, &search, 1, hits, found, NULL);
}

static tk_status search_range(tk_index *index, const float *vectors)
{
    tk_hit *hits;
    size_t found;
    tk_search search;
    tk_search_init(&search);
    search.threshold = 0;
    tk_status status = tk_index_search_range(index, vectors, &search, &hits, &found, NULL);
    cr_assert((status == TK_OK) == (hits != NULL));
    free(hits);
    return status;
}

Test(index_memory, an_add_that_fails_leaves_nothing_behind)
{
    float *vectors = data_random_vectors(N, DIM, 1);
    tk_index *index = data_index(DIM);
    size_t failures = 0;
    for (size_t n = 0; n < N; n++) {
        if (n % 20 == 0 || n < 20)
            failures += fail_each(index, add_next, vectors, n);
        else
            cr_assert_eq(add_next(index, vectors), TK_OK);
    }
    cr_expect_gt(failures, 100, "there must have been something to fail");
    expect_content(index, N, vectors);
    double recall = data_recall(index, N, DIM, vectors);
    cr_expect_geq(recall, 0.99);
    free(vectors);
    tk_index_free(index);
}

Test(index_memory, a_search_that_fails_can_be_repeated)
{
    float *vectors = data_random_vectors(N, DIM, 1);
    static tk_status (*const calls[])(tk_index *, const float *) = {search_walk, search_batch,
                                                                    search_range};
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        tk_index *index = data_index(DIM);
        for (size_t n = 0; n < N; n++) cr_assert_eq(add_next(index, vectors), TK_OK);
        /* Working memory is kept between calls, so a new index is what has to allocate some. */
        char path[] = "/tmp/tekup-memory-XXXXXX";
        int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        close(fd);
        cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
        tk_index_free(index);
        cr_assert_eq(tk_index_load(path, &index, NULL), TK_OK);
        unlink(path);
        for (size_t successes = 0;; successes++) {
            fail_after(index, (int64_t)successes);
            tk_status status = calls[i](index, vectors);
            fail_after(index, -1);
            if (status == TK_OK) break;
            cr_assert_eq(status, TK_ENOMEM);
            cr_assert_lt(successes, 1000);
        }
        expect_content(index, N, vectors);
        tk_index_free(index);
    }
    free(vectors);
}

Test(index_memory, a_replace_that_fails_keeps_the_old_vector)
{
    float *vectors = data_random_vectors(N, DIM, 1), *other = data_random_vectors(1, DIM, 2);
    tk_index *index = data_index(DIM);
    for (size_t n = 0; n < N; n++) cr_assert_eq(add_next(index, vectors), TK_OK);
    cr_assert_eq(tk_index_replace(index, 0, other, NULL), TK_OK);
    for (size_t successes = 0;; successes++) {
        float out[DIM];
        fail_after(index, (int64_t)successes);
        tk_status status = replace_first(index, vectors);
        fail_after(index, -1);
        cr_assert_eq(tk_index_get(index, 0, out, NULL), TK_OK);
        const float *expected = status == TK_OK ? vectors : other;
        cr_assert_float_eq(data_cosine(out, expected, DIM), 1, 1e-4);
        if (status == TK_OK) break;
        cr_assert_eq(status, TK_ENOMEM);
    }
    expect_content(index, N, vectors);
    free(vectors);
    free(other);
    tk_index_free(index);
}

/* A remove asks for a little memory before it begins and can do without any after that. */
Test(index_memory, a_remove_goes_through_without_memory)
{
    float *vectors = data_random_vectors(N, DIM, 1);
    tk_index *index = data_index(DIM);
    for (size_t n = 0; n < N; n++) cr_assert_eq(add_next(index, vectors), TK_OK);
    for (tk_id id = N - 1; id >= N / 2; id--) {
        fail_after(index, 0);
        cr_assert_eq(tk_index_remove(index, id, NULL), TK_ENOMEM);
        cr_assert(tk_index_contains(index, id));
        fail_after(index, 1);
        cr_assert_eq(tk_index_remove(index, id, NULL), TK_OK);
        fail_after(index, -1);
    }
    expect_content(index, N / 2, vectors);
    for (size_t n = N / 2; n < N; n++) cr_assert_eq(add_next(index, vectors), TK_OK);
    expect_content(index, N, vectors);
    cr_expect_geq(data_recall(index, N, DIM, vectors), 0.99);
    free(vectors);
    tk_index_free(index);
}

/* Ids that share a node: taking one out needs a new list of them, and waits until there is memory
 * for one. */
Test(index_memory, a_copy_is_removed_without_memory)
{
    enum { COPIES = 50 };
    float *vectors = data_alloc(COPIES, DIM);
    for (size_t i = 0; i < COPIES * DIM; i++) vectors[i] = (float)(i % DIM + 1);
    tk_index *index = data_index(DIM);
    for (size_t n = 0; n < COPIES; n++) cr_assert_eq(add_next(index, vectors), TK_OK);
    for (tk_id id = COPIES - 1; id >= 10; id--) {
        fail_after(index, 1);
        tk_status status = tk_index_remove(index, id, NULL);
        fail_after(index, -1);
        if (status == TK_ENOMEM) { /* what an earlier one left to do took the memory */
            expect_content(index, id + 1, vectors);
            cr_assert_eq(tk_index_remove(index, id, NULL), TK_OK);
        }
        expect_content(index, id, vectors);
    }
    for (tk_id id = 10; id-- > 0;) cr_assert_eq(tk_index_remove(index, id, NULL), TK_OK);
    cr_expect_eq(tk_index_count(index), 0);
    tk_hit hits[1];
    cr_expect_eq(data_search(index, vectors, 1, true, hits), 0);
    free(vectors);
    tk_index_free(index);
}

Test(index_memory, a_batch_that_fails_keeps_what_it_has_added)
{
    float *vectors = data_random_vectors(N, DIM, 1);
    tk_id ids[N];
    for (size_t i = 0; i < N; i++) ids[i] = i;
    for (int64_t successes = 0; successes < 330; successes += 11) {
        tk_index *index = data_index(DIM);
        fail_after(index, successes);
        tk_status status = tk_index_add_batch(index, N, ids, vectors, 2, NULL);
        fail_after(index, -1);
        cr_assert_eq(status, TK_ENOMEM);
        size_t there = tk_index_count(index);
        tk_hit hits[N];
        cr_assert_eq(data_search(index, vectors, N, true, hits), there);
        for (size_t i = 0; i < N; i++)
            if (!tk_index_contains(index, i))
                cr_assert_eq(tk_index_add(index, i, vectors + i * DIM, NULL), TK_OK);
        expect_content(index, N, vectors);
        tk_index_free(index);
    }
    free(vectors);
}
