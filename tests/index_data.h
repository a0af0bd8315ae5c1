/*
 * index_data.h: vectors to test the index with, and what a search over them should find.
 */
#ifndef TESTS_INDEX_DATA_H
#define TESTS_INDEX_DATA_H

#include <tekup/index.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers make a search about ten times slower, so tests use smaller sets under them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static inline uint64_t data_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* In [-1, 1). */
static inline float data_uniform(uint64_t *state)
{
    return (float)((double)(data_random(state) >> 11) / 4503599627370496.0 - 1);
}

/* About normally distributed. */
static inline float data_normal(uint64_t *state)
{
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += data_uniform(state);
    return sum / 1.41421356f;
}

static inline float *data_alloc(size_t n, size_t dim)
{
    float *vectors = malloc(n * dim * sizeof(*vectors));
    cr_assert_not_null(vectors);
    return vectors;
}

/* n vectors around `clusters` centres; spread is the size of the noise against a centre of 1. */
static inline float *data_clustered(size_t n, size_t dim, size_t clusters, float spread,
                                    uint64_t seed)
{
    float *centres = data_alloc(clusters, dim), *vectors = data_alloc(n, dim);
    for (size_t i = 0; i < clusters * dim; i++) centres[i] = data_normal(&seed);
    for (size_t i = 0; i < n; i++) {
        const float *centre = centres + data_random(&seed) % clusters * dim;
        for (size_t d = 0; d < dim; d++)
            vectors[i * dim + d] = centre[d] + spread * data_normal(&seed);
    }
    free(centres);
    return vectors;
}

static inline float *data_random_vectors(size_t n, size_t dim, uint64_t seed)
{
    return data_clustered(n, dim, 1, 1e6f, seed);
}

static inline double data_cosine(const float *a, const float *b, size_t dim)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t d = 0; d < dim; d++) {
        ab += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return ab / sqrt(aa * bb);
}

static inline tk_index *data_index(uint32_t dim)
{
    tk_index_options options;
    tk_index *index;
    tk_error error;
    tk_index_options_init(&options);
    options.dim = dim;
    cr_assert_eq(tk_index_create(&options, &index, &error), TK_OK, "%s", error.message);
    return index;
}

/* Adds n vectors under the ids from `first` on, by two threads. */
static inline void data_add(tk_index *index, size_t n, size_t dim, const float *vectors,
                            tk_id first)
{
    tk_error error;
    (void)dim;
    tk_id *ids = malloc(n * sizeof(*ids));
    for (size_t i = 0; i < n; i++) ids[i] = first + i;
    cr_assert_eq(tk_index_add_batch(index, n, ids, vectors, 2, &error), TK_OK, "%s", error.message);
    free(ids);
}

static inline size_t data_search(const tk_index *index, const float *query, size_t k, bool exact,
                                 tk_hit *hits)
{
    tk_search search;
    tk_error error;
    size_t found;
    tk_search_init(&search);
    search.k = k;
    search.exact = exact;
    cr_assert_eq(tk_index_search(index, query, &search, hits, &found, &error), TK_OK, "%s",
                 error.message);
    return found;
}

/* The share of the true 10 nearest that a search at default settings finds. The truth is what exact
 * search says; test_index_exact holds that against a plain loop. */
static inline double data_recall_within(const tk_index *index, size_t n, size_t dim,
                                        const float *queries, float slack)
{
    enum { K = 10 };
    size_t right = 0, possible = 0;
    tk_search search;
    tk_search_init(&search);
    search.k = K;
    search.exact = true;
    tk_hit *truth = malloc(n * K * sizeof(*truth));
    size_t *counts = malloc(n * sizeof(*counts));
    cr_assert_eq(tk_index_search_batch(index, n, queries, &search, 2, truth, counts, NULL), TK_OK);
    for (size_t q = 0; q < n; q++) {
        tk_hit hits[K];
        size_t found = data_search(index, queries + q * dim, K, false, hits);
        possible += counts[q];
        for (size_t i = 0; i < found && counts[q] > 0; i++)
            right += hits[i].similarity >= truth[q * K + counts[q] - 1].similarity - slack;
    }
    free(truth);
    free(counts);
    return possible ? (double)right / (double)possible : 0;
}

static inline double data_recall(const tk_index *index, size_t n, size_t dim, const float *queries)
{
    return data_recall_within(index, n, dim, queries, 0);
}

/* At most n vectors of a file of DATA_DIR; NULL where it is not there. */
static inline float *data_file(const char *name, size_t most, size_t *n)
{
    enum { DIM = 1536 };
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", TEST_DATA_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    signed char row[DIM];
    float *vectors = data_alloc(most, DIM);
    for (*n = 0; *n < most && fread(row, 1, DIM, file) == DIM; ++*n)
        for (size_t d = 0; d < DIM; d++) vectors[*n * DIM + d] = row[d];
    fclose(file);
    return vectors;
}

#endif
