/*
 * batch.c: adding and searching many at once, on several threads.
 *
 * Both hand out the items in portions through an atomic counter. The first failure stops the
 * handing out and is what the call returns; `lock` protects it.
 */
#include "engine/parallel.h"
#include "engine/search.h"
#include "engine/vector.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct batch {
    size_t n;
    size_t portion;
    _Atomic size_t next;
    pthread_mutex_t lock;
    tk_status status;
    tk_error error;
};

static void batch_init(struct batch *batch, size_t n, size_t portion)
{
    batch->n = n;
    batch->portion = portion;
    atomic_init(&batch->next, 0);
    pthread_mutex_init(&batch->lock, NULL);
    batch->status = TK_OK;
    batch->error.message[0] = '\0';
}

/* The next items to work on. */
static bool batch_take(struct batch *batch, size_t *begin, size_t *end)
{
    *begin = atomic_fetch_add_explicit(&batch->next, batch->portion, memory_order_relaxed);
    if (*begin >= batch->n) return false;
    *end = batch->n - *begin < batch->portion ? batch->n : *begin + batch->portion;
    return true;
}

static void batch_stop(struct batch *batch, tk_status status, const tk_error *error)
{
    pthread_mutex_lock(&batch->lock);
    if (batch->status == TK_OK) {
        batch->status = status;
        batch->error = *error;
    }
    pthread_mutex_unlock(&batch->lock);
    atomic_store_explicit(&batch->next, batch->n, memory_order_relaxed);
}

static tk_status batch_end(struct batch *batch, tk_error *error)
{
    pthread_mutex_destroy(&batch->lock);
    if (batch->status != TK_OK && error) *error = batch->error;
    return batch->status;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

struct add_batch {
    struct batch batch;
    struct tk_index *index;
    const tk_id *ids;
    const float *vectors;
    unsigned char *done; /* for each id, whether it needs no cancelling any more */
};

static void add_some(void *arg)
{
    struct add_batch *add = arg;
    struct tk_index *index = add->index;
    size_t i, end;
    while (batch_take(&add->batch, &i, &end)) {
        struct session *session;
        tk_error error = {""};
        tk_status status = tk_write_begin(index, &session, &error);
        if (status == TK_OK) {
            status = tk_take_vector(index, session, add->vectors + i * index->options.dim, "vector",
                                    &error);
            if (status == TK_OK) {
                status = tk_add_reserved(index, session, add->ids[i], &error);
                add->done[i] = 1;
            }
            tk_write_end(index, session);
        }
        if (status != TK_OK) batch_stop(&add->batch, status, &error);
    }
}

static int by_id(const void *left, const void *right)
{
    const tk_id *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static size_t position_of(const tk_id *ids, tk_id id, size_t from)
{
    while (ids[from] != id) from++;
    return from;
}

/* Whether an id occurs twice in the batch. */
static tk_status check_ids(size_t n, const tk_id *ids, tk_error *error)
{
    tk_status status = TK_OK;
    tk_id *sorted = malloc(n * sizeof(*sorted));
    if (!sorted) return tk_fail_memory(error);
    memcpy(sorted, ids, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_id);
    for (size_t i = 1; i < n && status == TK_OK; i++) {
        if (sorted[i] != sorted[i - 1]) continue;
        size_t first = position_of(ids, sorted[i], 0);
        size_t second = position_of(ids, sorted[i], first + 1);
        status = tk_fail(error, TK_EEXISTS, "ids[%zu] and ids[%zu] are both %" PRIu64, first,
                         second, sorted[i]);
    }
    free(sorted);
    return status;
}

static tk_status check_vectors(const tk_index *index, size_t n, const float *vectors,
                               tk_error *error)
{
    const struct kernels *kernels = index->store.coder.kernels;
    const uint32_t dim = index->options.dim;
    for (size_t i = 0; i < n; i++) {
        char what[40];
        snprintf(what, sizeof(what), "vectors[%zu]", i);
        tk_status status = tk_vector_check(kernels, vectors + i * dim, dim, what, error);
        if (status != TK_OK) return status;
    }
    return TK_OK;
}

static void cancel_ids(tk_index *index, size_t n, const tk_id *ids, const unsigned char *done)
{
    for (size_t i = 0; i < n; i++)
        if (!done || !done[i]) tk_idmap_cancel(&index->map, ids[i]);
}

/* Reserves all ids or none. */
static tk_status reserve_ids(tk_index *index, size_t n, const tk_id *ids, tk_error *error)
{
    struct session *session;
    size_t i = 0;
    tk_status status = tk_write_begin(index, &session, error);
    if (status != TK_OK) return status;
    while (i < n && status == TK_OK) {
        status = tk_idmap_reserve(&index->map, &session->seat, ids[i]);
        if (status == TK_OK) i++;
    }
    if (status != TK_OK) cancel_ids(index, i, ids, NULL);
    tk_write_end(index, session);
    if (status == TK_EEXISTS)
        return tk_fail(error, status, "ids[%zu]: id %" PRIu64 " is in the index already", i,
                       ids[i]);
    return status == TK_OK ? TK_OK : tk_fail_memory(error);
}

tk_status tk_index_add_batch(tk_index *index, size_t n, const tk_id *ids, const float *vectors,
                             unsigned threads, tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (n == 0) return TK_OK;
    if (!ids) return tk_fail(error, TK_EINVAL, "ids is NULL");
    if (!vectors) return tk_fail(error, TK_EINVAL, "vectors is NULL");
    if (n > STORE_SLOTS_MAX)
        return tk_fail(error, TK_EFULL, "an index holds at most %" PRIu32 " vectors, not %zu",
                       STORE_SLOTS_MAX, n);
    tk_status status = check_vectors(index, n, vectors, error);
    if (status == TK_OK) status = check_ids(n, ids, error);
    if (status != TK_OK) return status;
    struct add_batch add = {.index = index, .ids = ids, .vectors = vectors, .done = calloc(n, 1)};
    if (!add.done) return tk_fail_memory(error);
    status = reserve_ids(index, n, ids, error);
    if (status == TK_OK) {
        batch_init(&add.batch, n, 1);
        tk_parallel(threads, n, add_some, &add);
        cancel_ids(index, n, ids, add.done);
        status = batch_end(&add.batch, error);
    }
    free(add.done);
    return status;
}

/* ---- Searching ------------------------------------------------------------------------------- */

/* Queries that are compared with a block of vectors at once. */
#define SCAN_QUERIES 32

struct search_batch {
    struct batch batch;
    const struct tk_index *index;
    const float *queries;
    const tk_search *search;
    tk_hit *hits;
    size_t *found;
};

static tk_status search_each(const struct search_batch *batch, struct session *session,
                             size_t begin, size_t end)
{
    const struct tk_index *index = batch->index;
    for (size_t i = begin; i < end; i++) {
        tk_status status =
            tk_take_vector(index, session, batch->queries + i * index->options.dim, "query", NULL);
        if (status == TK_OK)
            status = tk_search_one(index, session, batch->search,
                                   batch->hits + i * batch->search->k, &batch->found[i]);
        if (status != TK_OK) return status;
    }
    return TK_OK;
}

/* Compares a portion of the queries with all vectors together. */
static tk_status scan_together(const struct search_batch *batch, struct session *session,
                               size_t begin, size_t end)
{
    const struct tk_index *index = batch->index;
    const struct coder *coder = &index->store.coder;
    const tk_search *search = batch->search;
    struct memory *memory = session->memory;
    const size_t n = end - begin, limit = tk_ranking_limit(search->k);
    const size_t query_size = (tk_query_size(coder) + 63) / 64 * 64;
    const size_t query_bytes = n * query_size, hit_bytes = n * limit * sizeof(tk_hit);
    struct filter filter = {search->within, search->predicate, search->predicate_arg};
    struct ranking rankings[SCAN_QUERIES];
    struct query queries[SCAN_QUERIES];
    char *room = tk_memory_lines(memory, query_bytes);
    tk_hit *hits = tk_memory_alloc(memory, hit_bytes);
    tk_status status = room && hits ? TK_OK : TK_ENOMEM;
    for (size_t i = 0; i < n && status == TK_OK; i++) {
        rankings[i] = (struct ranking){.items = hits + i * limit,
                                       .room = limit,
                                       .limit = limit,
                                       .threshold = search->threshold};
        tk_query_place(coder, &queries[i], room + i * query_size);
        status = tk_vector_normalise(coder->kernels, batch->queries + (begin + i) * coder->dim,
                                     coder->dim, "query", session->vector, NULL);
        if (status != TK_OK) break;
        tk_code_rotate(coder, session->vector, queries[i].rotated);
        tk_query_prepare(coder, &queries[i]);
    }
    if (status == TK_OK) status = tk_exact_scan_many(index, session, n, queries, &filter, rankings);
    for (size_t i = 0; i < n && status == TK_OK; i++) {
        tk_ranking_finish(&rankings[i], search->k);
        batch->found[begin + i] = rankings[i].count;
        if (rankings[i].count > 0)
            memcpy(batch->hits + (begin + i) * search->k, rankings[i].items,
                   rankings[i].count * sizeof(tk_hit));
    }
    tk_memory_free(memory, room, query_bytes);
    tk_memory_free(memory, hits, hit_bytes);
    return status;
}

static void search_some(void *arg)
{
    struct search_batch *batch = arg;
    const struct tk_index *index = batch->index;
    size_t begin, end;
    while (batch_take(&batch->batch, &begin, &end)) {
        struct session *session;
        tk_error error = {""};
        tk_status status = tk_read_begin(index, &session, &error);
        if (status == TK_OK) {
            tk_epoch_stay(&session->seat);
            if (!batch->search->within && tk_search_scans(index, batch->search))
                status = scan_together(batch, session, begin, end);
            else
                status = search_each(batch, session, begin, end);
            tk_read_end(index, session);
        }
        if (status != TK_OK) {
            tk_fail_memory(&error);
            batch_stop(&batch->batch, status, &error);
        }
    }
}

tk_status tk_index_search_batch(const tk_index *index, size_t n, const float *queries,
                                const tk_search *search, unsigned threads, tk_hit *hits,
                                size_t *found, tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (!search) return tk_fail(error, TK_EINVAL, "search is NULL");
    if (n > 0 && !queries) return tk_fail(error, TK_EINVAL, "queries is NULL");
    if (n > 0 && !hits) return tk_fail(error, TK_EINVAL, "hits is NULL");
    if (n > 0 && !found) return tk_fail(error, TK_EINVAL, "found is NULL");
    const struct kernels *kernels = index->store.coder.kernels;
    const uint32_t dim = index->options.dim;
    tk_status status = tk_search_check(search, error);
    for (size_t i = 0; i < n; i++) found[i] = 0;
    for (size_t i = 0; i < n && status == TK_OK; i++) {
        char what[40];
        snprintf(what, sizeof(what), "queries[%zu]", i);
        status = tk_vector_check(kernels, queries + i * dim, dim, what, error);
    }
    if (status != TK_OK) return status;
    struct search_batch batch = {
        .index = index, .queries = queries, .search = search, .hits = hits, .found = found};
    batch_init(&batch.batch, n, SCAN_QUERIES);
    tk_parallel(threads, (n + SCAN_QUERIES - 1) / SCAN_QUERIES, search_some, &batch);
    status = batch_end(&batch.batch, error);
    if (status == TK_OK)
        atomic_fetch_add_explicit(&((tk_index *)index)->searches, n, memory_order_relaxed);
    return status;
}
