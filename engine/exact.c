/*
 * exact.c: see exact.h.
 *
 * A scan goes through the segments and lets OpenBLAS multiply the rows of one with all queries at
 * once. What BLAS computes only decides which rows are looked at: the similarities that are
 * reported, and compared with each other, all come from the same kernel as in a walk, so that equal
 * vectors are exactly equally similar.
 *
 * Only rows that were live before the product are given to BLAS. A row that is live stays as it is
 * for as long as the reader is seated.
 */
#include "engine/exact.h"

#include "engine/idset.h"

#include <cblas.h>

/* Runs of rows shorter than this are not worth a call of BLAS. */
#define SHORT_RUN 4
/* The most by which BLAS and a kernel can differ on unit vectors: both add up to 65,536 products in
 * at least 16 separate sums. */
#define BLAS_SLACK 2e-5f

bool tk_rank_id(const struct tk_index *index, const float *query, const struct filter *filter,
                struct ranking *ranking, tk_id id, uint32_t slot, float similarity)
{
    if (!tk_filter_accepts(filter, id)) return true;
    uint32_t present = tk_idmap_find(&index->map, id);
    if (present == NO_SLOT) return true;
    if (present != slot) similarity = tk_graph_similarity(&index->graph, query, present);
    return tk_ranking_push(ranking, id, similarity);
}

/* Puts the members of a node whose similarity is known to be near enough into the ranking. */
static bool rank_node(const struct tk_index *index, const float *query, const struct filter *filter,
                      struct ranking *ranking, uint32_t slot)
{
    const struct node *node = tk_store_node(&index->store, slot);
    const struct members *members = atomic_load_explicit(&node->members, memory_order_acquire);
    float similarity = tk_graph_similarity(&index->graph, query, slot);
    for (uint32_t i = 0; i < members->count; i++)
        if (!tk_rank_id(index, query, filter, ranking, members->ids[i], slot, similarity))
            return false;
    return true;
}

/* What rows are compared with. */
struct scan {
    const struct tk_index *index;
    struct session *session;
    size_t n;
    const float *queries;
    const struct filter *filter;
    struct ranking *rankings;
};

/* scores[row * n + query] for rows from `slot` on. */
static void multiply(const struct scan *scan, uint32_t slot, size_t rows)
{
    const struct store *store = &scan->index->store;
    const float *vectors = tk_store_vector(store, slot);
    float *scores = scan->session->scores;
    int dim = (int)store->dim, stride = (int)store->stride, n = (int)scan->n;
    if (rows < SHORT_RUN) {
        for (size_t row = 0; row < rows; row++)
            for (size_t query = 0; query < scan->n; query++)
                scores[row * scan->n + query] =
                    tk_graph_similarity(&scan->index->graph, scan->queries + query * store->stride,
                                        slot + (uint32_t)row);
    } else if (n == 1) {
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)rows, dim, 1, vectors, stride, scan->queries,
                    1, 0, scores, 1);
    } else {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, n, dim, 1, vectors, stride,
                    scan->queries, stride, 0, scores, n);
    }
}

static bool scan_rows(const struct scan *scan, uint32_t slot, size_t rows)
{
    multiply(scan, slot, rows);
    size_t stride = scan->index->store.stride;
    for (size_t row = 0; row < rows; row++) {
        const float *scores = scan->session->scores + row * scan->n;
        for (size_t query = 0; query < scan->n; query++) {
            struct ranking *ranking = &scan->rankings[query];
            if (scores[query] < tk_ranking_floor(ranking) - BLAS_SLACK) continue;
            if (!rank_node(scan->index, scan->queries + query * stride, scan->filter, ranking,
                           slot + (uint32_t)row))
                return false;
        }
    }
    return true;
}

/* Scans the live rows among the slots from `begin` to `end`, which are in one segment. */
static bool scan_segment(const struct scan *scan, uint32_t begin, uint32_t end)
{
    const struct store *store = &scan->index->store;
    for (uint32_t slot = begin; slot < end;) {
        uint32_t run = slot;
        while (run < end && tk_node_state(tk_store_node(store, run)) == SLOT_LIVE) run++;
        if (run > slot && !scan_rows(scan, slot, run - slot)) return false;
        slot = run + 1;
    }
    return true;
}

tk_status tk_exact_scan(const struct tk_index *index, struct session *session, size_t n,
                        const float *queries, const struct filter *filter, struct ranking *rankings)
{
    const struct store *store = &index->store;
    uint32_t used = atomic_load_explicit(&store->used, memory_order_acquire);
    uint32_t segment = UINT32_C(1) << store->segment_bits;
    if (!tk_scores_reserve(session, segment * n)) return TK_ENOMEM;
    struct scan scan = {.index = index,
                        .session = session,
                        .n = n,
                        .queries = queries,
                        .filter = filter,
                        .rankings = rankings};
    for (uint32_t begin = 0; begin < used; begin += segment) {
        uint32_t end = used - begin < segment ? used : begin + segment;
        if (!scan_segment(&scan, begin, end)) return TK_ENOMEM;
    }
    return TK_OK;
}

struct set_scan {
    const struct tk_index *index;
    const float *query;
    const struct filter *filter;
    struct ranking *ranking;
    bool ok;
};

static bool scan_id(tk_id id, void *arg)
{
    struct set_scan *scan = arg;
    const struct filter *filter = scan->filter;
    uint32_t slot = tk_idmap_find(&scan->index->map, id);
    if (slot == NO_SLOT || (filter->predicate && !filter->predicate(id, filter->predicate_arg)))
        return true;
    float similarity = tk_graph_similarity(&scan->index->graph, scan->query, slot);
    scan->ok = tk_ranking_push(scan->ranking, id, similarity);
    return scan->ok;
}

tk_status tk_exact_set(const struct tk_index *index, const float *query,
                       const struct filter *filter, struct ranking *ranking)
{
    struct set_scan scan = {
        .index = index, .query = query, .filter = filter, .ranking = ranking, .ok = true};
    tk_idset_each(filter->within, scan_id, &scan);
    return scan.ok ? TK_OK : TK_ENOMEM;
}
