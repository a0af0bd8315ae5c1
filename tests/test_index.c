/* What every function of tekup/index.h does with good and with bad arguments. */
#include "tests/index_data.h"

enum { DIM = 20 };

#define EXPECT(status, call)                                                                       \
    do {                                                                                           \
        tk_error error = {""};                                                                     \
        cr_expect_eq(call, status, "%s", error.message);                                           \
        cr_expect((status) == TK_OK || error.message[0], "a failure says what is wrong");          \
    } while (0)

/* A unit vector along one axis, times a length. */
static const float *axis(size_t d, float length)
{
    static float vector[DIM];
    memset(vector, 0, sizeof(vector));
    vector[d] = length;
    return vector;
}

Test(index, options_out_of_range_are_refused)
{
    tk_index_options good, bad;
    tk_index *index = NULL;
    tk_index_options_init(&good);
    cr_expect_eq(good.dim, 1536);
    cr_expect_eq(good.max_neighbours, 16);
    cr_expect_eq(good.ef_construction, 200);
    cr_expect_eq(good.ef_search, 96);
    static const struct {
        size_t field;
        uint32_t least, most;
    } ranges[] = {{offsetof(tk_index_options, dim), 1, 65536},
                  {offsetof(tk_index_options, max_neighbours), 4, 128},
                  {offsetof(tk_index_options, ef_construction), 8, 4096},
                  {offsetof(tk_index_options, ef_search), 1, 65536}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        uint32_t wrong[] = {ranges[i].least - 1, ranges[i].most + 1, UINT32_MAX};
        for (size_t j = 0; j < 3; j++) {
            bad = good;
            memcpy((char *)&bad + ranges[i].field, &wrong[j], sizeof(wrong[j]));
            EXPECT(TK_EINVAL, tk_index_create(&bad, &index, &error));
            cr_expect_null(index);
        }
        uint32_t right[] = {ranges[i].least, ranges[i].most};
        for (size_t j = 0; j < 2; j++) {
            bad = good;
            memcpy((char *)&bad + ranges[i].field, &right[j], sizeof(right[j]));
            EXPECT(TK_OK, tk_index_create(&bad, &index, &error));
            tk_index_free(index);
            index = NULL;
        }
    }
    EXPECT(TK_EINVAL, tk_index_create(NULL, &index, &error));
    EXPECT(TK_EINVAL, tk_index_create(&good, NULL, &error));
    cr_expect_eq(tk_index_create(NULL, &index, NULL), TK_EINVAL, "the error may be NULL");
    tk_index_options_init(NULL);
    tk_index_free(NULL);
}

Test(index, an_empty_index_answers_everything_with_nothing)
{
    tk_index *index = data_index(DIM);
    tk_index_stats stats;
    tk_hit hits[10], *range;
    float out[DIM];
    size_t found = 99;
    tk_search search;
    tk_search_init(&search);
    EXPECT(TK_OK, tk_index_search(index, axis(0, 1), &search, hits, &found, &error));
    cr_expect_eq(found, 0);
    search.exact = true;
    EXPECT(TK_OK, tk_index_search(index, axis(0, 1), &search, hits, &found, &error));
    cr_expect_eq(found, 0);
    search.threshold = -1;
    EXPECT(TK_OK, tk_index_search_range(index, axis(0, 1), &search, &range, &found, &error));
    cr_expect_eq(found, 0);
    cr_expect_not_null(range);
    free(range);
    cr_expect_eq(tk_index_count(index), 0);
    cr_expect_not(tk_index_contains(index, 0));
    EXPECT(TK_ENOTFOUND, tk_index_get(index, 0, out, &error));
    EXPECT(TK_ENOTFOUND, tk_index_remove(index, 0, &error));
    EXPECT(TK_ENOTFOUND, tk_index_replace(index, 0, axis(0, 1), &error));
    tk_index_get_stats(index, &stats);
    cr_expect_eq(stats.count, 0);
    cr_expect_eq(stats.layers, 0);
    cr_expect_eq(stats.mean_neighbours, 0);
    tk_index_free(index);
}

Test(index, one_vector_is_found_from_every_side)
{
    tk_index *index = data_index(DIM);
    tk_hit hits[3];
    float out[DIM];
    EXPECT(TK_OK, tk_index_add(index, UINT64_MAX, axis(3, 5), &error));
    cr_expect_eq(data_search(index, axis(3, 0.25f), 3, false, hits), 1);
    cr_expect_eq(hits[0].id, UINT64_MAX);
    cr_expect_float_eq(hits[0].similarity, 1, 1e-4);
    cr_expect_eq(data_search(index, axis(3, -1), 3, false, hits), 1);
    cr_expect_float_eq(hits[0].similarity, -1, 1e-4);
    cr_expect_eq(data_search(index, axis(4, 1), 3, false, hits), 1);
    cr_expect_float_eq(hits[0].similarity, 0, 1e-4);
    EXPECT(TK_OK, tk_index_get(index, UINT64_MAX, out, &error));
    for (size_t d = 0; d < DIM; d++) cr_expect_float_eq(out[d], d == 3, 1e-4);
    tk_index_free(index);
}

Test(index, an_id_is_added_once_replaced_and_removed)
{
    tk_index *index = data_index(DIM);
    tk_hit hits[3];
    EXPECT(TK_OK, tk_index_add(index, 0, axis(0, 1), &error));
    EXPECT(TK_OK, tk_index_add(index, 1, axis(1, 1), &error));
    EXPECT(TK_EEXISTS, tk_index_add(index, 0, axis(2, 1), &error));
    cr_expect_eq(tk_index_count(index), 2);
    data_search(index, axis(0, 1), 1, false, hits);
    cr_expect_eq(hits[0].id, 0, "what was there is as it was");

    EXPECT(TK_OK, tk_index_replace(index, 0, axis(5, 1), &error));
    cr_expect_eq(tk_index_count(index), 2);
    cr_expect_eq(data_search(index, axis(5, 1), 3, false, hits), 2);
    cr_expect_eq(hits[0].id, 0);
    cr_expect_float_eq(hits[0].similarity, 1, 1e-4);
    cr_expect_eq(hits[1].id, 1);

    EXPECT(TK_OK, tk_index_remove(index, 0, &error));
    EXPECT(TK_ENOTFOUND, tk_index_remove(index, 0, &error));
    EXPECT(TK_ENOTFOUND, tk_index_replace(index, 0, axis(0, 1), &error));
    cr_expect_not(tk_index_contains(index, 0));
    cr_expect(tk_index_contains(index, 1));
    cr_expect_eq(data_search(index, axis(5, 1), 3, false, hits), 1);
    EXPECT(TK_OK, tk_index_add(index, 0, axis(7, 1), &error));
    cr_expect_eq(data_search(index, axis(7, 1), 3, false, hits), 2);
    cr_expect_eq(hits[0].id, 0);

    tk_index_stats stats;
    tk_index_get_stats(index, &stats);
    cr_expect_eq(stats.adds, 3);
    cr_expect_eq(stats.replaces, 1);
    cr_expect_eq(stats.removes, 1);
    cr_expect_eq(stats.searches, 4);
    cr_expect_geq(stats.capacity, 2);
    cr_expect_gt(stats.bytes, 2 * DIM * sizeof(float));
    tk_index_free(index);
}

Test(index, an_id_can_be_replaced_by_what_it_is_and_by_what_another_is)
{
    tk_index *index = data_index(DIM);
    tk_hit hits[5];
    EXPECT(TK_OK, tk_index_add(index, 1, axis(0, 1), &error));
    EXPECT(TK_OK, tk_index_add(index, 2, axis(1, 1), &error));
    for (int round = 0; round < 5; round++) {
        EXPECT(TK_OK, tk_index_replace(index, 1, axis(0, 2), &error));
        EXPECT(TK_OK, tk_index_replace(index, 1, axis(1, 3), &error));
        cr_expect_eq(data_search(index, axis(1, 1), 5, false, hits), 2);
        cr_expect_eq(hits[0].id, 1, "ties go by id");
        cr_expect_eq(hits[1].id, 2);
        cr_expect_eq(hits[0].similarity, hits[1].similarity);
        EXPECT(TK_OK, tk_index_replace(index, 1, axis(0, 1), &error));
        cr_expect_eq(data_search(index, axis(1, 1), 5, false, hits), 2);
        cr_expect_eq(hits[0].id, 2);
    }
    EXPECT(TK_OK, tk_index_remove(index, 2, &error));
    EXPECT(TK_OK, tk_index_remove(index, 1, &error));
    cr_expect_eq(data_search(index, axis(1, 1), 5, false, hits), 0);
    tk_index_free(index);
}

Test(index, vectors_without_a_direction_are_refused_everywhere)
{
    tk_index *index = data_index(DIM);
    tk_hit hits[10], *range;
    size_t found;
    tk_search search;
    tk_search_init(&search);
    search.threshold = 0;
    EXPECT(TK_OK, tk_index_add(index, 7, axis(0, 1), &error));
    static const struct {
        float value;
        tk_status status;
    } bad[] = {{NAN, TK_ENONFINITE},
               {INFINITY, TK_ENONFINITE},
               {-INFINITY, TK_ENONFINITE},
               {0, TK_EZERO},
               {-0.0f, TK_EZERO}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        tk_status status = bad[i].status;
        for (size_t d = 0; d < DIM; d += DIM - 1) {
            float vector[DIM], two[2 * DIM];
            memcpy(vector, axis(d, bad[i].value), sizeof(vector));
            memcpy(two, axis(1, 1), sizeof(vector));
            memcpy(two + DIM, vector, sizeof(vector));
            tk_id ids[] = {10, 11};
            tk_hit many[20];
            size_t counts[2];
            EXPECT(status, tk_index_add(index, 1, vector, &error));
            EXPECT(status, tk_index_replace(index, 7, vector, &error));
            EXPECT(status, tk_index_search(index, vector, &search, hits, &found, &error));
            EXPECT(status, tk_index_search_range(index, vector, &search, &range, &found, &error));
            cr_expect_null(range);
            EXPECT(status, tk_index_add_batch(index, 2, ids, two, 1, &error));
            EXPECT(status, tk_index_search_batch(index, 2, two, &search, 1, many, counts, &error));
        }
    }
    cr_expect_eq(tk_index_count(index), 1);
    cr_expect_not(tk_index_contains(index, 1));
    cr_expect_not(tk_index_contains(index, 10), "a batch is all or nothing");
    EXPECT(TK_OK, tk_index_add(index, 1, axis(2, 1), &error));
    EXPECT(TK_OK, tk_index_add(index, 10, axis(3, 1), &error));
    tk_index_free(index);
}

Test(index, vectors_of_any_length_are_normalised_right)
{
    static const float lengths[] = {1e-45f, 1e-42f, 1.2e-38f, 1e-20f, 1, 1e20f, 1e30f, 3e38f};
    tk_index *index = data_index(DIM);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        float vector[DIM], out[DIM];
        tk_hit hits[1];
        for (size_t d = 0; d < DIM; d++) vector[d] = d % 2 ? lengths[i] : -lengths[i];
        EXPECT(TK_OK, tk_index_add(index, i, vector, &error));
        EXPECT(TK_OK, tk_index_get(index, i, out, &error));
        for (size_t d = 0; d < DIM; d++)
            cr_expect_float_eq(out[d], (d % 2 ? 1 : -1) / sqrtf(DIM), 1e-4, "%g", lengths[i]);
        cr_expect_eq(data_search(index, vector, 1, false, hits), 1);
        cr_expect_float_eq(hits[0].similarity, 1, 1e-6);
    }
    tk_index_free(index);
}

Test(index, null_arguments_are_refused)
{
    tk_index *index = data_index(DIM), *loaded;
    const float *vector = axis(0, 1);
    float out[DIM];
    tk_id id = 1;
    tk_hit hits[10], *range;
    size_t found;
    tk_search search;
    tk_search_init(&search);
    search.threshold = 0;
    EXPECT(TK_EINVAL, tk_index_add(NULL, 1, vector, &error));
    EXPECT(TK_EINVAL, tk_index_add(index, 1, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_replace(NULL, 1, vector, &error));
    EXPECT(TK_EINVAL, tk_index_replace(index, 1, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_remove(NULL, 1, &error));
    EXPECT(TK_EINVAL, tk_index_get(NULL, 1, out, &error));
    EXPECT(TK_EINVAL, tk_index_get(index, 1, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_add_batch(NULL, 1, &id, vector, 1, &error));
    EXPECT(TK_EINVAL, tk_index_add_batch(index, 1, NULL, vector, 1, &error));
    EXPECT(TK_EINVAL, tk_index_add_batch(index, 1, &id, NULL, 1, &error));
    EXPECT(TK_OK, tk_index_add_batch(index, 0, NULL, NULL, 1, &error));
    EXPECT(TK_EINVAL, tk_index_search(NULL, vector, &search, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search(index, NULL, &search, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search(index, vector, NULL, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search(index, vector, &search, NULL, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search(index, vector, &search, hits, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_search_batch(NULL, 1, vector, &search, 1, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_batch(index, 1, NULL, &search, 1, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_batch(index, 1, vector, NULL, 1, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_batch(index, 1, vector, &search, 1, NULL, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_batch(index, 1, vector, &search, 1, hits, NULL, &error));
    EXPECT(TK_OK, tk_index_search_batch(index, 0, NULL, &search, 1, NULL, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(NULL, vector, &search, &range, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(index, NULL, &search, &range, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(index, vector, NULL, &range, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(index, vector, &search, NULL, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(index, vector, &search, &range, NULL, &error));
    EXPECT(TK_EINVAL, tk_index_save(NULL, "x", NULL, 0, &error));
    EXPECT(TK_EINVAL, tk_index_save(index, NULL, NULL, 0, &error));
    EXPECT(TK_EINVAL, tk_index_save(index, "", NULL, 0, &error));
    EXPECT(TK_EINVAL, tk_index_save(index, "x", NULL, 1, &error));
    EXPECT(TK_EINVAL, tk_index_save(index, "x", &id, 65537, &error));
    EXPECT(TK_EINVAL, tk_index_load(NULL, &loaded, &error));
    EXPECT(TK_EINVAL, tk_index_load("", &loaded, &error));
    EXPECT(TK_EINVAL, tk_index_load("x", NULL, &error));
    cr_expect_eq(tk_index_count(NULL), 0);
    cr_expect_not(tk_index_contains(NULL, 1));
    cr_expect_null(tk_index_note(NULL, &found));
    cr_expect_eq(found, 0);
    cr_expect_null(tk_index_note(index, NULL));
    tk_index_get_stats(NULL, NULL);
    tk_index_stats stats;
    tk_index_get_stats(NULL, &stats);
    cr_expect_eq(stats.count, 0);
    tk_search_init(NULL);
    tk_index_free(index);
}

Test(index, a_search_out_of_range_is_refused)
{
    tk_index *index = data_index(DIM);
    tk_hit hits[10], *range;
    size_t found;
    tk_search good, bad;
    tk_search_init(&good);
    cr_expect_eq(good.k, 10);
    cr_expect_eq(good.threshold, -INFINITY);
    cr_expect_null(good.within);
    EXPECT(TK_OK, tk_index_add(index, 1, axis(0, 1), &error));
    bad = good;
    bad.k = 0;
    EXPECT(TK_EINVAL, tk_index_search(index, axis(0, 1), &bad, hits, &found, &error));
    bad.k = 65537;
    EXPECT(TK_EINVAL, tk_index_search(index, axis(0, 1), &bad, hits, &found, &error));
    bad.k = SIZE_MAX;
    EXPECT(TK_EINVAL, tk_index_search_batch(index, 1, axis(0, 1), &bad, 1, hits, &found, &error));
    bad = good;
    bad.ef = 65537;
    EXPECT(TK_EINVAL, tk_index_search(index, axis(0, 1), &bad, hits, &found, &error));
    bad = good;
    bad.threshold = NAN;
    EXPECT(TK_EINVAL, tk_index_search(index, axis(0, 1), &bad, hits, &found, &error));
    EXPECT(TK_EINVAL, tk_index_search_range(index, axis(0, 1), &bad, &range, &found, &error));
    bad.threshold = -INFINITY;
    EXPECT(TK_EINVAL, tk_index_search_range(index, axis(0, 1), &bad, &range, &found, &error));
    bad.threshold = 0;
    bad.k = 0;
    EXPECT(TK_OK, tk_index_search_range(index, axis(0, 1), &bad, &range, &found, &error));
    cr_expect_eq(found, 1, "a range search does not look at k");
    free(range);
    tk_index_free(index);
}

Test(index, a_batch_with_a_wrong_id_changes_nothing_and_names_it)
{
    enum { N = 300 };
    tk_index *index = data_index(DIM);
    float *vectors = data_random_vectors(N, DIM, 4);
    tk_id ids[N];
    tk_error why;
    for (size_t i = 0; i < N; i++) ids[i] = i * 1000;
    ids[250] = ids[13];
    cr_expect_eq(tk_index_add_batch(index, N, ids, vectors, 2, &why), TK_EEXISTS);
    cr_expect_str_eq(why.message, "ids[13] and ids[250] are both 13000");
    cr_expect_eq(tk_index_count(index), 0);
    cr_expect_not(tk_index_contains(index, 0));

    ids[250] = 250000;
    EXPECT(TK_OK, tk_index_add(index, 250000, vectors, &error));
    cr_expect_eq(tk_index_add_batch(index, N, ids, vectors, 2, &why), TK_EEXISTS);
    cr_expect_str_eq(why.message, "ids[250]: id 250000 is in the index already");
    cr_expect_eq(tk_index_count(index), 1);

    ids[250] = 1;
    vectors[100 * DIM + 3] = NAN;
    cr_expect_eq(tk_index_add_batch(index, N, ids, vectors, 2, &why), TK_ENONFINITE);
    cr_expect_str_eq(why.message, "vectors[100]: component 3 is NaN");
    cr_expect_eq(tk_index_count(index), 1);

    vectors[100 * DIM + 3] = 0;
    EXPECT(TK_OK, tk_index_add_batch(index, N, ids, vectors, 0, &error));
    cr_expect_eq(tk_index_count(index), N + 1);
    for (size_t i = 0; i < N; i++) cr_expect(tk_index_contains(index, ids[i]));
    free(vectors);
    tk_index_free(index);
}

Test(index, the_same_adds_give_the_same_graph)
{
    enum { N = 3000, K = 20, QUERIES = 30 };
    float *vectors = data_random_vectors(N, DIM, 8),
          *queries = data_random_vectors(QUERIES, DIM, 9);
    tk_index *one = data_index(DIM), *two = data_index(DIM);
    for (size_t i = 0; i < N; i++) {
        EXPECT(TK_OK, tk_index_add(one, i, vectors + i * DIM, &error));
        EXPECT(TK_OK, tk_index_add(two, i, vectors + i * DIM, &error));
    }
    tk_index_stats first, second;
    tk_index_get_stats(one, &first);
    tk_index_get_stats(two, &second);
    cr_expect_eq(first.mean_neighbours, second.mean_neighbours);
    cr_expect_eq(first.layers, second.layers);
    cr_expect_eq(first.layers, 1);
    for (size_t q = 0; q < QUERIES; q++) {
        tk_hit left[K], right[K];
        cr_expect_eq(data_search(one, queries + q * DIM, K, false, left), K);
        cr_expect_eq(data_search(two, queries + q * DIM, K, false, right), K);
        for (size_t i = 0; i < K; i++) {
            cr_expect_eq(left[i].id, right[i].id);
            cr_expect_eq(left[i].similarity, right[i].similarity);
        }
    }
    free(vectors);
    free(queries);
    tk_index_free(one);
    tk_index_free(two);
}

Test(index, statuses_have_names)
{
    for (int status = TK_OK; status <= TK_EVERSION; status++) {
        cr_expect_str_neq(tk_status_text((tk_status)status), "unknown status");
        for (int other = TK_OK; other < status; other++)
            cr_expect_str_neq(tk_status_text((tk_status)status), tk_status_text((tk_status)other));
    }
    cr_expect_str_eq(tk_status_text((tk_status)-1), "unknown status");
}
