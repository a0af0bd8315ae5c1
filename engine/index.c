/*
 * index.c: making an index, writing to it one vector at a time, and its figures.
 */
#include "engine/handle.h"
#include "engine/vector.h"

#include <cblas.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Replaced lists and the like that may wait to be freed before writers wait for readers. */
#define GARBAGE_MOST 128

void tk_index_options_init(tk_index_options *options)
{
    if (!options) return;
    *options = (tk_index_options){.dim = 1536,
                                  .max_neighbours = 16,
                                  .ef_construction = 200,
                                  .ef_search = 96,
                                  .seed = UINT64_C(0x74656b7570646200)};
}

static tk_status check_range(const char *name, uint32_t value, uint32_t least, uint32_t most,
                             tk_error *error)
{
    if (value >= least && value <= most) return TK_OK;
    return tk_fail(error, TK_EINVAL, "%s must be from %u to %u, not %u", name, least, most, value);
}

tk_status tk_options_check(const tk_index_options *options, tk_error *error)
{
    tk_status status = check_range("dim", options->dim, 1, 65536, error);
    if (status == TK_OK)
        status = check_range("max_neighbours", options->max_neighbours, 4, 128, error);
    if (status == TK_OK)
        status = check_range("ef_construction", options->ef_construction, 8, 4096, error);
    if (status == TK_OK) status = check_range("ef_search", options->ef_search, 1, 65536, error);
    return status;
}

/* Writers in a row must not keep a save waiting for ever. */
static void init_gate(pthread_rwlock_t *gate)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(gate, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

tk_status tk_index_create(const tk_index_options *options, tk_index **index, tk_error *error)
{
    if (!options) return tk_fail(error, TK_EINVAL, "options is NULL");
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    *index = NULL;
    tk_status status = tk_options_check(options, error);
    if (status != TK_OK) return status;
    tk_index *made = aligned_alloc(_Alignof(tk_index), sizeof(*made));
    if (!made) return tk_fail_memory(error);
    memset(made, 0, sizeof(*made));
    made->options = *options;
    tk_memory_init(&made->memory);
    if (tk_store_init(&made->store, &made->memory, options->dim, options->max_neighbours * 2,
                      tk_kernels_best()) != TK_OK) {
        free(made);
        return tk_fail_memory(error);
    }
    tk_epoch_init(&made->epoch, &made->memory, sizeof(struct session), &made->store);
    tk_idmap_init(&made->map, &made->memory);
    tk_graph_init(&made->graph, &made->store, options);
    init_gate(&made->gate);
    pthread_mutex_init(&made->errand_lock, NULL);
    /* Parallelism is over queries and vectors. A BLAS that starts threads for each small product
     * would take the processors from them, and searches would wait for each other in its queue. */
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
    *index = made;
    return TK_OK;
}

static void free_errand(struct tk_index *index, struct errand *errand)
{
    tk_memory_free(&index->memory, errand, sizeof(*errand));
}

void tk_index_free(tk_index *index)
{
    if (!index) return;
    tk_epoch_destroy(&index->epoch, tk_session_finish);
    while (index->errands) {
        struct errand *next = (struct errand *)index->errands->garbage.next;
        free_errand(index, index->errands);
        index->errands = next;
    }
    tk_graph_destroy(&index->graph);
    tk_store_destroy(&index->store);
    tk_idmap_destroy(&index->map);
    pthread_rwlock_destroy(&index->gate);
    pthread_mutex_destroy(&index->errand_lock);
    tk_memory_free(&index->memory, index->note, index->note_size);
    free(index);
}

/* ---- Beginning and ending -------------------------------------------------------------------- */

/* Reading changes nothing but the seats and the counters, which are no part of what an index
 * means. */
static struct tk_index *seats_of(const struct tk_index *index)
{
    return (struct tk_index *)index;
}

tk_status tk_read_begin(const struct tk_index *index, struct session **session, tk_error *error)
{
    *session = tk_session_begin(&seats_of(index)->epoch, &index->store.coder);
    return *session ? TK_OK : tk_fail_memory(error);
}

void tk_read_end(const struct tk_index *index, struct session *session)
{
    tk_session_end(&seats_of(index)->epoch, session);
}

tk_status tk_take_vector(const struct tk_index *index, struct session *session, const float *vector,
                         const char *what, tk_error *error)
{
    const struct coder *coder = &index->store.coder;
    tk_status status =
        tk_vector_normalise(coder->kernels, vector, coder->dim, what, session->vector, error);
    if (status != TK_OK) return status;
    tk_code_rotate(coder, session->vector, session->query.rotated);
    tk_query_prepare(coder, &session->query);
    return TK_OK;
}

static void put_errand(struct tk_index *index, struct errand *errand)
{
    pthread_mutex_lock(&index->errand_lock);
    errand->garbage.next = (struct garbage *)index->errands;
    index->errands = errand;
    pthread_mutex_unlock(&index->errand_lock);
}

static void errand_is_due(struct garbage *garbage, void *owner)
{
    (void)owner;
    struct errand *errand = (struct errand *)garbage;
    put_errand(errand->index, errand);
}

/* Made before a write begins to change anything, so that finishing it needs no memory. */
static struct errand *new_errand(struct tk_index *index, tk_id id)
{
    struct errand *errand = tk_memory_alloc(&index->memory, sizeof(*errand));
    if (!errand) return NULL;
    *errand = (struct errand){.garbage.release = errand_is_due, .index = index, .id = id};
    return errand;
}

/* Takes the id out of the slot now, or leaves it for the next writer where memory ran out. */
static void do_errand(struct tk_index *index, struct session *session, struct errand *errand)
{
    if (tk_graph_remove(&index->graph, session, errand->slot, errand->id) == TK_OK)
        free_errand(index, errand);
    else
        put_errand(index, errand);
}

static void do_errands(struct tk_index *index, struct session *session)
{
    pthread_mutex_lock(&index->errand_lock);
    struct errand *errand = index->errands;
    index->errands = NULL;
    pthread_mutex_unlock(&index->errand_lock);
    while (errand) {
        struct errand *next = (struct errand *)errand->garbage.next;
        do_errand(index, session, errand);
        errand = next;
    }
}

tk_status tk_write_begin(struct tk_index *index, struct session **session, tk_error *error)
{
    pthread_rwlock_rdlock(&index->gate);
    tk_status status = tk_read_begin(index, session, error);
    if (status != TK_OK)
        pthread_rwlock_unlock(&index->gate);
    else
        do_errands(index, *session);
    return status;
}

void tk_write_end(struct tk_index *index, struct session *session)
{
    tk_read_end(index, session);
    pthread_rwlock_unlock(&index->gate);
    tk_epoch_relieve(&index->epoch, GARBAGE_MOST);
}

tk_status tk_settle(struct tk_index *index, tk_error *error)
{
    struct session *session;
    tk_epoch_quiesce(&index->epoch);
    tk_status status = tk_read_begin(index, &session, error);
    if (status != TK_OK) return status;
    do_errands(index, session);
    tk_read_end(index, session);
    pthread_mutex_lock(&index->errand_lock);
    bool left = index->errands;
    pthread_mutex_unlock(&index->errand_lock);
    return left ? tk_fail_memory(error) : TK_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static tk_status check_write(const tk_index *index, const float *vector, tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (!vector) return tk_fail(error, TK_EINVAL, "vector is NULL");
    return TK_OK;
}

static tk_status fail_insert(tk_status status, tk_error *error)
{
    if (status == TK_EFULL)
        return tk_fail(error, status, "the index holds %" PRIu32 " vectors already",
                       STORE_SLOTS_MAX);
    return tk_fail_memory(error);
}

tk_status tk_add_reserved(struct tk_index *index, struct session *session, tk_id id,
                          tk_error *error)
{
    uint32_t slot;
    tk_status status = tk_graph_insert(&index->graph, session, id, &slot);
    if (status != TK_OK) {
        tk_idmap_cancel(&index->map, id);
        return fail_insert(status, error);
    }
    tk_idmap_publish(&index->map, id, slot);
    atomic_fetch_add_explicit(&index->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&index->adds, 1, memory_order_relaxed);
    return TK_OK;
}

tk_status tk_index_add(tk_index *index, tk_id id, const float *vector, tk_error *error)
{
    struct session *session;
    tk_status status = check_write(index, vector, error);
    if (status == TK_OK) status = tk_write_begin(index, &session, error);
    if (status != TK_OK) return status;
    status = tk_take_vector(index, session, vector, "vector", error);
    if (status != TK_OK) goto out;
    status = tk_idmap_reserve(&index->map, &session->seat, id);
    if (status == TK_EEXISTS)
        tk_fail(error, status, "id %" PRIu64 " is in the index already", id);
    else if (status != TK_OK)
        tk_fail_memory(error);
    else
        status = tk_add_reserved(index, session, id, error);
out:
    tk_write_end(index, session);
    return status;
}

static tk_status fail_absent(tk_error *error, tk_id id)
{
    return tk_fail(error, TK_ENOTFOUND, "id %" PRIu64 " is not in the index", id);
}

/* Switches the id over to the node of its new vector, or takes that back if the id has been removed
 * meanwhile. Takes over the errand. */
static tk_status switch_over(struct tk_index *index, struct session *session, tk_id id,
                             uint32_t slot, struct errand *errand, tk_error *error)
{
    uint32_t old = tk_idmap_move(&index->map, id, slot);
    if (old == NO_SLOT) {
        errand->slot = slot;
        do_errand(index, session, errand);
        return fail_absent(error, id);
    }
    errand->slot = old;
    if (old == slot) /* twice among its members, where one is enough for any search */
        do_errand(index, session, errand);
    else
        tk_epoch_retire(&session->seat, &errand->garbage);
    atomic_fetch_add_explicit(&index->replaces, 1, memory_order_relaxed);
    return TK_OK;
}

/* Whether the vector of an id is the session's already. Not when memory for comparing ran out. */
static bool has_already(struct tk_index *index, const struct session *session, uint32_t slot)
{
    const struct coder *coder = &index->store.coder;
    const struct row row = tk_store_row(&index->store, slot);
    if (tk_fine_similarity(coder, &session->query, row) < SAME_SIMILARITY) return false;
    int8_t *codes = tk_memory_lines(&index->memory, index->store.row_size);
    if (!codes) return false;
    const struct row given = tk_code_encode(coder, session->query.rotated, codes);
    const bool same = tk_code_same(coder, given, row);
    tk_memory_free(&index->memory, codes, index->store.row_size);
    return same;
}

tk_status tk_index_replace(tk_index *index, tk_id id, const float *vector, tk_error *error)
{
    struct session *session;
    uint32_t slot;
    tk_status status = check_write(index, vector, error);
    if (status == TK_OK) status = tk_write_begin(index, &session, error);
    if (status != TK_OK) return status;
    status = tk_take_vector(index, session, vector, "vector", error);
    if (status != TK_OK) goto out;
    const uint32_t present = tk_idmap_find(&index->map, id);
    if (present == NO_SLOT) {
        status = fail_absent(error, id);
        goto out;
    }
    if (has_already(index, session, present)) {
        atomic_fetch_add_explicit(&index->replaces, 1, memory_order_relaxed);
        goto out;
    }
    struct errand *errand = new_errand(index, id);
    if (!errand) {
        status = tk_fail_memory(error);
        goto out;
    }
    status = tk_graph_insert(&index->graph, session, id, &slot);
    if (status == TK_OK) {
        status = switch_over(index, session, id, slot, errand, error);
    } else {
        free_errand(index, errand);
        fail_insert(status, error);
    }
out:
    tk_write_end(index, session);
    return status;
}

tk_status tk_index_remove(tk_index *index, tk_id id, tk_error *error)
{
    struct session *session;
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    tk_status status = tk_write_begin(index, &session, error);
    if (status != TK_OK) return status;
    struct errand *errand = new_errand(index, id);
    if (!errand) {
        status = tk_fail_memory(error);
        goto out;
    }
    errand->slot = tk_idmap_remove(&index->map, id);
    if (errand->slot == NO_SLOT) {
        free_errand(index, errand);
        status = fail_absent(error, id);
        goto out;
    }
    atomic_fetch_sub_explicit(&index->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&index->removes, 1, memory_order_relaxed);
    do_errand(index, session, errand);
out:
    tk_write_end(index, session);
    return status;
}

/* ---- Reading one vector, and figures --------------------------------------------------------- */

size_t tk_index_count(const tk_index *index)
{
    return index ? atomic_load_explicit(&index->count, memory_order_relaxed) : 0;
}

/* The slot of an id, seated. */
static uint32_t find_slot(const tk_index *index, tk_id id, struct session **session,
                          tk_status *status, tk_error *error)
{
    *status = tk_read_begin(index, session, error);
    return *status == TK_OK ? tk_idmap_find(&index->map, id) : NO_SLOT;
}

bool tk_index_contains(const tk_index *index, tk_id id)
{
    struct session *session;
    tk_status status;
    if (!index) return false;
    uint32_t slot = find_slot(index, id, &session, &status, NULL);
    if (status == TK_OK) tk_read_end(index, session);
    return slot != NO_SLOT;
}

tk_status tk_index_get(const tk_index *index, tk_id id, float *out, tk_error *error)
{
    struct session *session;
    tk_status status;
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (!out) return tk_fail(error, TK_EINVAL, "out is NULL");
    uint32_t slot = find_slot(index, id, &session, &status, error);
    if (status != TK_OK) return status;
    if (slot == NO_SLOT) {
        status = fail_absent(error, id);
    } else {
        float *rotated = session->query.rotated;
        tk_code_decode(&index->store.coder, tk_store_row(&index->store, slot), rotated);
        tk_code_unrotate(&index->store.coder, rotated);
        status = tk_vector_normalise(index->store.coder.kernels, rotated, index->options.dim,
                                     "vector", out, error);
    }
    tk_read_end(index, session);
    return status;
}

const void *tk_index_note(const tk_index *index, size_t *size)
{
    if (size) *size = index ? index->note_size : 0;
    return index ? index->note : NULL;
}

/* The mean length of the ground layer's lists; 0 where there are none. */
static double mean_neighbours(const tk_index *index)
{
    struct session *session;
    uint64_t nodes = 0, links = 0;
    if (tk_read_begin(index, &session, NULL) != TK_OK) return 0;
    tk_epoch_stay(&session->seat);
    uint32_t used = atomic_load_explicit(&index->store.used, memory_order_acquire);
    for (uint32_t slot = 0; slot < used; slot++) {
        if (!tk_store_is_live(&index->store, slot)) continue;
        const struct neighbours *list = tk_graph_list(&index->graph, slot);
        nodes++;
        links += list ? list->count : 0;
    }
    tk_read_end(index, session);
    return nodes ? (double)links / (double)nodes : 0;
}

void tk_index_get_stats(const tk_index *index, tk_index_stats *stats)
{
    if (!stats) return;
    *stats = (tk_index_stats){0};
    if (!index) return;
    stats->count = tk_index_count(index);
    stats->capacity = tk_store_capacity(&index->store);
    stats->bytes = atomic_load(&index->memory.bytes) + sizeof(*index);
    stats->dim = index->options.dim;
    stats->max_neighbours = index->options.max_neighbours;
    stats->ef_construction = index->options.ef_construction;
    stats->ef_search = index->options.ef_search;
    stats->layers = atomic_load(&index->graph.nodes) > 0 ? 1 : 0;
    stats->mean_neighbours = mean_neighbours(index);
    stats->adds = atomic_load(&index->adds);
    stats->replaces = atomic_load(&index->replaces);
    stats->removes = atomic_load(&index->removes);
    stats->searches = atomic_load(&index->searches);
    stats->kernel = index->store.coder.kernels->name;
}
