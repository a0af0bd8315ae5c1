/*
 * exact.c: see exact.h.
 *
 * One query is compared with rows as they are, coarse codes first. Several are compared together:
 * rows are decoded into a block that stays in the second-level cache, which OpenBLAS multiplies
 * with all queries at once. Either only decides which rows are looked at: the similarities that are
 * reported, and compared with each other, all come from all bits of the codes as in a walk, so that
 * equal vectors are exactly equally similar.
 *
 * Only rows that were live before they are read are read. A row that is live stays as it is for as
 * long as the reader is seated.
 */
#include "engine/exact.h"

#include "engine/idset.h"

#include <cblas.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)512 << 10)
/* The most by which BLAS and the kernels can differ: both add up to 65,536 products in at least 16
 * separate sums, and the kernels' query is rounded to 16 bits. */
#define BLAS_SLACK 5e-5f
/* What coarse codes leave out is uniform within half a unit either way, with a deviation of scale /
 * sqrt(12) when it is summed against a query of length 1; this is fourteen of those. */
#define COARSE_SLACK 4

bool tk_rank_node(const struct tk_index *index, const struct query *query,
                  const struct filter *filter, struct ranking *ranking, uint32_t slot,
                  float similarity)
{
    const struct node_ids members = tk_store_ids(&index->store, slot);
    for (uint32_t i = 0; i < members.count; i++) {
        const tk_id id = members.ids[i];
        if (!tk_filter_accepts(filter, id)) continue;
        const uint32_t present = tk_idmap_find(&index->map, id);
        if (present == NO_SLOT) continue;
        float of_id = similarity;
        if (present != slot) {
            of_id = tk_fine_similarity(&index->store.coder, query,
                                       tk_store_row(&index->store, present));
            ranking->moved++;
        }
        if (!tk_ranking_push(ranking, id, of_id)) return false;
    }
    return true;
}

/* Rows that are asked for before the first is read. */
#define CHUNK 32
/* Nodes, evenly spread, that tell how much a filter accepts. */
#define SAMPLES 128

/* A comparison of one query with rows that come one by one. */
struct comparison {
    const struct tk_index *index;
    const struct query *query;
    const struct filter *filter;
    struct ranking *ranking;
    bool by_id; /* each row is there for one id; otherwise for all that the filter accepts */
    uint32_t count;
    uint32_t slots[CHUNK];
    tk_id ids[CHUNK];
    bool ok; /* memory did not run out */
};

static void compare_chunk(struct comparison *comparison)
{
    const struct store *store = &comparison->index->store;
    const struct coder *coder = &store->coder;
    const struct query *query = comparison->query;
    struct ranking *ranking = comparison->ranking;
    for (uint32_t i = 0; i < comparison->count && comparison->ok; i++) {
        const uint32_t slot = comparison->slots[i];
        const struct row row = tk_store_row(store, slot);
        const uint32_t next = comparison->slots[i + 1 < comparison->count ? i + 1 : i];
        const float coarse =
            tk_coarse_similarity_ahead(coder, query, row, tk_store_codes(store, next));
        if (coarse < tk_ranking_floor(ranking) - COARSE_SLACK * row.scale) continue;
        const float similarity = tk_fine_similarity(coder, query, row);
        comparison->ok = comparison->by_id
                             ? tk_ranking_push(ranking, comparison->ids[i], similarity)
                             : tk_rank_node(comparison->index, query, comparison->filter, ranking,
                                            slot, similarity);
    }
    comparison->count = 0;
}

static void compare(struct comparison *comparison, uint32_t slot, tk_id id)
{
    const int8_t *codes = tk_store_codes(&comparison->index->store, slot);
    for (size_t line = 0; line < 4; line++) __builtin_prefetch(codes + 64 * line);
    comparison->slots[comparison->count] = slot;
    comparison->ids[comparison->count++] = id;
    if (comparison->count == CHUNK) compare_chunk(comparison);
}

/* Which of 64 rows that stand for one id each the filter accepts; `rows` are those to be asked
 * about. */
static uint64_t accepted_of(const struct filter *filter, const tk_id ids[64], uint64_t rows)
{
    tk_id gathered[64];
    size_t count = 0, i = 0;
    uint64_t accepted = 0;
    if (rows == 0 || tk_filter_is_open(filter)) return rows;
    if (rows == UINT64_MAX) return tk_filter_ids(filter, ids, 64);
    for (uint64_t left = rows; left != 0; left &= left - 1)
        gathered[count++] = ids[__builtin_ctzll(left)];
    const uint64_t found = tk_filter_ids(filter, gathered, count);
    for (uint64_t left = rows; left != 0; left &= left - 1, i++)
        accepted |= (found >> i & 1) << __builtin_ctzll(left);
    return accepted;
}

/* Compares with those rows of a segment whose bits are set in a word of 64 and which stand for one
 * id each: this may be the whole of what a search takes, a nanosecond for each vector of the
 * index. */
static void compare_alone(struct comparison *comparison, const tk_id *ids, uint32_t first,
                          uint64_t rows)
{
    uint64_t left = accepted_of(comparison->filter, ids, rows);
    for (; left != 0 && comparison->ok; left &= left - 1)
        compare(comparison, first + (uint32_t)__builtin_ctzll(left), 0);
}

/* The same with rows that stand for several. */
static void compare_shared(struct comparison *comparison, uint32_t first, uint64_t rows)
{
    const struct store *store = &comparison->index->store;
    for (; rows != 0 && comparison->ok; rows &= rows - 1) {
        const uint32_t slot = first + (uint32_t)__builtin_ctzll(rows);
        if (tk_filter_slots(comparison->filter, store, &slot, 1)) compare(comparison, slot, 0);
    }
}

/* Compares with the live rows of a segment from slot `first` on. */
static void compare_segment(struct comparison *comparison, uint32_t first, uint32_t slots)
{
    const struct segment *segment = tk_store_segment(&comparison->index->store, first);
    for (uint32_t at = 0; at < slots && comparison->ok; at += 64) {
        const uint64_t live = atomic_load_explicit(&segment->live[at / 64], memory_order_acquire);
        const uint64_t shared =
            atomic_load_explicit(&segment->shared[at / 64], memory_order_acquire);
        compare_alone(comparison, segment->ids + at, first + at, live & ~shared);
        compare_shared(comparison, first + at, live & shared);
    }
}

tk_status tk_exact_scan(const struct tk_index *index, struct session *session,
                        const struct filter *filter, struct ranking *ranking)
{
    const struct store *store = &index->store;
    struct comparison comparison = {
        .index = index, .query = &session->query, .filter = filter, .ranking = ranking, .ok = true};
    const uint32_t used = atomic_load_explicit(&store->used, memory_order_acquire);
    const uint32_t most = UINT32_C(1) << store->segment_bits;
    for (uint32_t first = 0; first < used && comparison.ok; first += most)
        compare_segment(&comparison, first, used - first < most ? used - first : most);
    compare_chunk(&comparison);
    return comparison.ok ? TK_OK : TK_ENOMEM;
}

double tk_exact_rarity(const struct tk_index *index, const struct filter *filter)
{
    const struct store *store = &index->store;
    const uint32_t used = atomic_load_explicit(&store->used, memory_order_acquire);
    uint32_t slots[TK_PREDICATE_MAX], asked = 0, accepted = 0, count = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        /* Multiples of the golden ratio keep step with nothing that ids may have a rhythm of. */
        const uint32_t slot = (uint32_t)((uint64_t)(i * UINT32_C(2654435761)) * used >> 32);
        if (slot < used && tk_store_is_live(store, slot)) slots[count++] = slot;
        if (count < TK_PREDICATE_MAX && i + 1 < SAMPLES) continue;
        asked += count;
        accepted += (uint32_t)__builtin_popcountll(tk_filter_slots(filter, store, slots, count));
        count = 0;
    }
    return (double)(asked + 1) / (double)(accepted + 1);
}

/* ---- Many queries ---------------------------------------------------------------------------- */

struct scan {
    const struct tk_index *index;
    size_t n;
    const struct query *queries;
    const struct filter *filter;
    struct ranking *rankings;
    uint32_t block;  /* rows at once */
    uint32_t *slots; /* of the rows of the block */
    float *rows;     /* decoded */
    float *right;    /* the queries' floats, one after another */
    float *scores;   /* scores[row * n + query] */
};

/* Decodes the live rows from `begin` on until the block is full; returns where it stopped. */
static uint32_t fill_block(const struct scan *scan, uint32_t begin, uint32_t used, uint32_t *rows)
{
    const struct store *store = &scan->index->store;
    uint32_t slot = begin;
    for (*rows = 0; slot < used && *rows < scan->block; slot++) {
        if (!tk_store_is_live(store, slot)) continue;
        scan->slots[*rows] = slot;
        tk_code_decode(&store->coder, tk_store_row(store, slot),
                       scan->rows + (size_t)(*rows)++ * store->coder.n);
    }
    return slot;
}

static bool rank_block(const struct scan *scan, uint32_t rows)
{
    const struct store *store = &scan->index->store;
    const int n = (int)store->coder.n, queries = (int)scan->n;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, queries, n, 1, scan->rows, n,
                scan->right, n, 0, scan->scores, queries);
    for (uint32_t row = 0; row < rows; row++)
        for (size_t i = 0; i < scan->n; i++) {
            struct ranking *ranking = &scan->rankings[i];
            if (scan->scores[row * scan->n + i] < tk_ranking_floor(ranking) - BLAS_SLACK) continue;
            const uint32_t slot = scan->slots[row];
            const float similarity =
                tk_fine_similarity(&store->coder, &scan->queries[i], tk_store_row(store, slot));
            if (!tk_rank_node(scan->index, &scan->queries[i], scan->filter, ranking, slot,
                              similarity))
                return false;
        }
    return true;
}

tk_status tk_exact_scan_many(const struct tk_index *index, struct session *session, size_t n,
                             const struct query *queries, const struct filter *filter,
                             struct ranking *rankings)
{
    const uint32_t components = index->store.coder.n;
    const uint32_t used = atomic_load_explicit(&index->store.used, memory_order_acquire);
    uint32_t block = (uint32_t)(BLOCK_BYTES / (components * sizeof(float)));
    if (block < 8) block = 8;
    uint32_t slots[BLOCK_BYTES / (CODE_LEAST * sizeof(float))];
    if (!tk_scores_reserve(session, (size_t)(block + n) * components + block * n)) return TK_ENOMEM;
    struct scan scan = {.index = index,
                        .n = n,
                        .queries = queries,
                        .filter = filter,
                        .rankings = rankings,
                        .block = block,
                        .slots = slots};
    scan.rows = session->scores;
    scan.right = scan.rows + (size_t)block * components;
    scan.scores = scan.right + n * components;
    for (size_t i = 0; i < n; i++)
        memcpy(scan.right + i * components, queries[i].rotated, components * sizeof(float));
    for (uint32_t begin = 0, rows; begin < used;) {
        begin = fill_block(&scan, begin, used, &rows);
        if (rows > 0 && !rank_block(&scan, rows)) return TK_ENOMEM;
    }
    return TK_OK;
}

/* ---- A set of ids ---------------------------------------------------------------------------- */

static bool compare_id(tk_id id, void *arg)
{
    struct comparison *comparison = arg;
    const struct filter *filter = comparison->filter;
    const uint32_t slot = tk_idmap_find(&comparison->index->map, id);
    if (slot != NO_SLOT &&
        (!filter->predicate || filter->predicate(&id, 1, filter->predicate_arg) & 1))
        compare(comparison, slot, id);
    return comparison->ok;
}

tk_status tk_exact_set(const struct tk_index *index, const struct session *session,
                       const struct filter *filter, struct ranking *ranking)
{
    struct comparison comparison = {.index = index,
                                    .query = &session->query,
                                    .filter = filter,
                                    .ranking = ranking,
                                    .by_id = true,
                                    .ok = true};
    tk_idset_each(filter->within, compare_id, &comparison);
    compare_chunk(&comparison);
    return comparison.ok ? TK_OK : TK_ENOMEM;
}
