/* What searches find: exact search against a plain loop, filters, thresholds, ranges, batches. */
#include "tests/index_data.h"

enum { DIM = 24 };

#define N (SANITIZED ? 3000 : 4000)

static int by_rank(const void *left, const void *right)
{
    const tk_hit *a = left, *b = right;
    if (a->similarity != b->similarity) return a->similarity > b->similarity ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* All vectors sorted by similarity, by a loop that has nothing to do with the index. */
static tk_hit *rank_all(const float *vectors, const float *query)
{
    tk_hit *all = malloc(N * sizeof(*all));
    for (size_t i = 0; i < N; i++)
        all[i] = (tk_hit){i, (float)data_cosine(vectors + i * DIM, query, DIM)};
    qsort(all, N, sizeof(*all), by_rank);
    return all;
}

/* Whether hits are the first of `truth`, up to what rounding may do to the order. */
static void expect_best(const tk_hit *hits, size_t found, const float *vectors, const float *query,
                        const tk_hit *truth)
{
    for (size_t i = 0; i < found; i++) {
        double cosine = data_cosine(vectors + hits[i].id * DIM, query, DIM);
        cr_assert_float_eq(hits[i].similarity, cosine, 1e-4);
        cr_assert_float_eq(hits[i].similarity, truth[i].similarity, 1e-4, "position %zu", i);
        if (i > 0) cr_assert(by_rank(&hits[i - 1], &hits[i]) < 0, "sorted, each id once");
    }
}

Test(index_search, exact_search_agrees_with_a_plain_loop)
{
    float *vectors = data_clustered(N, DIM, 40, 0.5f, 1),
          *queries = data_clustered(20, DIM, 5, 1, 2);
    tk_index *index = data_index(DIM);
    tk_hit hits[300];
    data_add(index, N, DIM, vectors, 0);
    for (size_t q = 0; q < 20; q++) {
        tk_hit *truth = rank_all(vectors, queries + q * DIM);
        cr_assert_eq(data_search(index, queries + q * DIM, 300, true, hits), 300);
        expect_best(hits, 300, vectors, queries + q * DIM, truth);
        free(truth);
    }
    free(vectors);
    free(queries);
    tk_index_free(index);
}

Test(index_search, all_vectors_come_back_when_k_is_the_count_or_more)
{
    float *vectors = data_clustered(N, DIM, 40, 0.5f, 1);
    tk_index *index = data_index(DIM);
    data_add(index, N, DIM, vectors, 0);
    tk_hit *hits = malloc((N + 100) * sizeof(*hits));
    for (size_t k = N; k <= N + 100; k += 100)
        for (int exact = 0; exact < 2; exact++) {
            tk_hit *truth = rank_all(vectors, vectors);
            cr_assert_eq(data_search(index, vectors, k, exact, hits), N);
            expect_best(hits, N, vectors, vectors, truth);
            free(truth);
        }
    free(hits);
    free(vectors);
    tk_index_free(index);
}

static uint64_t divides(const tk_id *ids, size_t count, void *arg)
{
    const tk_id divisor = *(tk_id *)arg;
    uint64_t multiples =
        count < 64 ? UINT64_MAX << count : 0; /* what is beyond counts for nothing */
    cr_assert(count >= 1 && count <= TK_PREDICATE_MAX);
    for (size_t i = 0; i < count; i++) multiples |= (uint64_t)(ids[i] % divisor == 0) << i;
    return multiples;
}

/* Searches with every kind of filter that lets one in `rarity` ids through. */
static void check_filter(const tk_index *index, const float *vectors, tk_id rarity, bool by_set,
                         bool by_predicate, bool exact)
{
    enum { K = 10, QUERIES = 30 };
    size_t right = 0, possible = 0;
    tk_search search;
    tk_search_init(&search);
    search.exact = exact;
    tk_idset *set = tk_idset_create();
    for (tk_id id = 0; id < N; id += rarity) cr_assert_eq(tk_idset_add(set, id), TK_OK);
    if (by_set) search.within = set;
    if (by_predicate) {
        search.predicate = divides;
        search.predicate_arg = &rarity;
    }
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = vectors + (q * 977 % N) * DIM;
        tk_hit hits[K], *truth = rank_all(vectors, query);
        size_t found, kept = 0, there = (N + rarity - 1) / rarity;
        for (size_t i = 0; i < N; i++)
            if (truth[i].id % rarity == 0) truth[kept++] = truth[i];
        cr_assert_eq(tk_index_search(index, query, &search, hits, &found, NULL), TK_OK);
        cr_assert_eq(found, there < K ? there : K, "rarity %zu: %zu found", (size_t)rarity, found);
        for (size_t i = 0; i < found; i++) {
            cr_assert_eq(hits[i].id % rarity, 0, "the filter holds");
            for (size_t j = 0; j < found; j++) right += hits[i].id == truth[j].id;
        }
        possible += found;
        free(truth);
    }
    double recall = (double)right / (double)possible;
    cr_expect(recall >= (exact ? 1 : 0.95), "rarity %zu set %d predicate %d exact %d: %.3f",
              (size_t)rarity, by_set, by_predicate, exact, recall);
    tk_idset_free(set);
}

Test(index_search, filters_keep_recall_however_narrow)
{
    static const tk_id rarities[] = {1, 2, 10, 100, 1000, 2999};
    float *vectors = data_clustered(N, DIM, 40, 0.7f, 1);
    tk_index *index = data_index(DIM);
    data_add(index, N, DIM, vectors, 0);
    for (size_t i = 0; i < sizeof(rarities) / sizeof(*rarities); i++) {
        check_filter(index, vectors, rarities[i], true, false, false);
        check_filter(index, vectors, rarities[i], false, true, false);
        check_filter(index, vectors, rarities[i], true, true, false);
        check_filter(index, vectors, rarities[i], true, true, true);
    }
    free(vectors);
    tk_index_free(index);
}

Test(index_search, an_id_set_may_name_ids_that_are_not_there)
{
    float *vectors = data_clustered(N, DIM, 40, 0.7f, 1);
    tk_index *index = data_index(DIM);
    tk_hit hits[10];
    size_t found;
    tk_search search;
    tk_search_init(&search);
    data_add(index, N, DIM, vectors, 0);
    tk_idset *set = tk_idset_create();
    search.within = set;
    cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
    cr_expect_eq(found, 0, "an empty set lets nothing through");
    for (tk_id id = 0; id < 3 * (tk_id)N; id++) tk_idset_add(set, id + N);
    cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
    cr_expect_eq(found, 0);
    tk_idset_add(set, 17);
    tk_idset_add(set, UINT64_MAX);
    cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
    cr_expect_eq(found, 1);
    cr_expect_eq(hits[0].id, 17);
    tk_idset_free(set);
    free(vectors);
    tk_index_free(index);
}

Test(index_search, a_threshold_cuts_the_answer)
{
    float *vectors = data_clustered(N, DIM, 40, 0.7f, 1);
    tk_index *index = data_index(DIM);
    data_add(index, N, DIM, vectors, 0);
    for (int exact = 0; exact < 2; exact++) {
        tk_hit all[50], hits[50];
        size_t found;
        tk_search search;
        tk_search_init(&search);
        search.k = 50;
        search.exact = exact;
        cr_assert_eq(data_search(index, vectors, 50, exact, all), 50);
        search.threshold = all[20].similarity;
        cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
        cr_expect_eq(found, 21, "the threshold itself is in");
        search.threshold = 1.1f;
        cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
        cr_expect_eq(found, 0);
        search.threshold = -INFINITY;
        cr_assert_eq(tk_index_search(index, vectors, &search, hits, &found, NULL), TK_OK);
        cr_expect_eq(found, 50);
    }
    free(vectors);
    tk_index_free(index);
}

Test(index_search, a_range_search_finds_what_is_in_range)
{
    static const float thresholds[] = {0.95f, 0.8f, 0.5f, 0, -1};
    float *vectors = data_clustered(N, DIM, 40, 0.7f, 1);
    tk_index *index = data_index(DIM);
    data_add(index, N, DIM, vectors, 0);
    for (size_t t = 0; t < sizeof(thresholds) / sizeof(*thresholds); t++)
        for (int exact = 0; exact < 2; exact++) {
            size_t possible = 0, right = 0;
            for (size_t q = 0; q < 20; q++) {
                const float *query = vectors + q * 101 * DIM;
                tk_hit *hits, *truth = rank_all(vectors, query);
                size_t found, there = 0;
                tk_search search;
                tk_search_init(&search);
                search.threshold = thresholds[t];
                search.exact = exact;
                while (there < N && truth[there].similarity >= thresholds[t]) there++;
                cr_assert_eq(tk_index_search_range(index, query, &search, &hits, &found, NULL),
                             TK_OK);
                for (size_t i = 0; i < found; i++) {
                    cr_assert_geq(hits[i].similarity, thresholds[t]);
                    if (i > 0) cr_assert(by_rank(&hits[i - 1], &hits[i]) < 0);
                }
                possible += there;
                right += found;
                free(hits);
                free(truth);
            }
            double recall = (double)right / (double)possible;
            cr_expect(fabs(recall - 1) <= (exact ? 0.0005 : 0.02), "threshold %g exact %d: %.4f",
                      thresholds[t], exact, recall);
        }
    free(vectors);
    tk_index_free(index);
}

Test(index_search, a_batch_answers_as_its_queries_one_by_one)
{
    enum { QUERIES = 150, K = 12 };
    float *vectors = data_clustered(N, DIM, 40, 0.7f, 1);
    float *queries = data_clustered(QUERIES, DIM, 40, 0.7f, 3);
    tk_index *index = data_index(DIM);
    data_add(index, N, DIM, vectors, 0);
    tk_hit *hits = malloc(QUERIES * K * sizeof(*hits));
    for (int exact = 0; exact < 2; exact++)
        for (unsigned threads = 0; threads < 4; threads++) {
            size_t found[QUERIES];
            tk_search search;
            tk_search_init(&search);
            search.k = K;
            search.exact = exact;
            cr_assert_eq(
                tk_index_search_batch(index, QUERIES, queries, &search, threads, hits, found, NULL),
                TK_OK);
            for (size_t q = 0; q < QUERIES; q++) {
                tk_hit alone[K];
                cr_assert_eq(found[q], K);
                data_search(index, queries + q * DIM, K, exact, alone);
                for (size_t i = 0; i < K; i++) {
                    cr_assert_eq(hits[q * K + i].id, alone[i].id);
                    cr_assert_eq(hits[q * K + i].similarity, alone[i].similarity);
                }
            }
        }
    free(hits);
    free(vectors);
    free(queries);
    tk_index_free(index);
}

static uint64_t count_and_accept(const tk_id *ids, size_t count, void *asked)
{
    (void)ids;
    *(size_t *)asked += count;
    return UINT64_MAX;
}

/* How many ids a search asks about: nearly all where a walk was not enough. */
static size_t asked_about(const tk_index *index, const float *query)
{
    size_t asked = 0, found;
    tk_hit hits[10];
    tk_search search;
    tk_search_init(&search);
    search.ef = 10;
    search.predicate = count_and_accept;
    search.predicate_arg = &asked;
    cr_assert_eq(tk_index_search(index, query, &search, hits, &found, NULL), TK_OK);
    cr_expect_eq(found, 10);
    return asked;
}

/* An id that was twice in a node let every search that found it come up short, and look at
 * everything, until the next change. */
Test(index_search, a_vector_that_is_put_again_costs_searches_nothing)
{
    enum { COUNT = 5000, DIMENSIONS = 32 };
    tk_index *index = data_index(DIMENSIONS);
    float *vectors = data_random_vectors(COUNT, DIMENSIONS, 77);
    tk_index_stats before, after;
    data_add(index, COUNT, DIMENSIONS, vectors, 0);
    const float *last = vectors + 19 * DIMENSIONS;
    const size_t usual = asked_about(index, last);
    cr_assert_lt(usual, COUNT / 2);
    tk_index_get_stats(index, &before);
    for (tk_id id = 0; id < 20; id++)
        cr_assert_eq(tk_index_replace(index, id, vectors + id * DIMENSIONS, NULL), TK_OK);
    cr_expect_eq(asked_about(index, last), usual);
    tk_index_get_stats(index, &after);
    cr_expect_eq(after.replaces, before.replaces + 20);
    free(vectors);
    tk_index_free(index);
}

struct asked {
    size_t ids;
    tk_id each;
};

static uint64_t count_and_divide(const tk_id *ids, size_t count, void *arg)
{
    struct asked *asked = arg;
    uint64_t accepted = 0;
    asked->ids += count;
    for (size_t i = 0; i < count; i++) accepted |= (uint64_t)(ids[i] % asked->each == 0) << i;
    return accepted;
}

/* Giving up is for nothing where the walk is nearly over, and looking at everything takes longer.
 */
Test(index_search, a_walk_under_a_predicate_is_not_given_up_early)
{
    enum { COUNT = SANITIZED ? 6000 : 20000, DIMENSIONS = 32, QUERIES = 100 };
    tk_index *index = data_index(DIMENSIONS);
    float *vectors = data_random_vectors(COUNT + QUERIES, DIMENSIONS, 78);
    size_t given_up = 0, found;
    tk_hit hits[10];
    data_add(index, COUNT, DIMENSIONS, vectors, 0);
    for (size_t q = 0; q < QUERIES; q++) {
        struct asked asked = {0, SANITIZED ? 4 : 10};
        tk_search search;
        tk_search_init(&search);
        search.ef = 10;
        search.predicate = count_and_divide;
        search.predicate_arg = &asked;
        cr_assert_eq(
            tk_index_search(index, vectors + (COUNT + q) * DIMENSIONS, &search, hits, &found, NULL),
            TK_OK);
        cr_expect_eq(found, 10);
        given_up += asked.ids >= COUNT;
    }
    cr_expect_leq(given_up, QUERIES / 10, "%zu of %d gave up", given_up, QUERIES);
    free(vectors);
    tk_index_free(index);
}
