/* peer_tekup.c: tekupdb's own engine, through its public header only. */
#include "bench/failure.h"
#include "bench/peer.h"

#include <stdbool.h>
#include <stdlib.h>

struct own {
    tk_index *index;
    size_t count; /* ids are below this */
    size_t ef;
    enum filter kind;
    const uint8_t *keep;
    uint8_t bits;
    tk_idset *within;
};

static int result_of(tk_status status)
{
    return status == TK_OK ? 0 : -1;
}

static void own_release(void *index)
{
    struct own *own = index;
    if (!own) return;
    tk_index_free(own->index);
    tk_idset_free(own->within);
    free(own);
}

static struct own *own_create(size_t count, tk_error *err)
{
    struct own *own = calloc(1, sizeof(*own));
    if (!own) fail(err, "memory ran out");
    if (own) own->count = count;
    return own;
}

static int own_build(const struct peer_setup *setup, void **index, tk_error *err)
{
    int result = -1;
    tk_index_options options;
    tk_id *ids = malloc((setup->count ? setup->count : 1) * sizeof(*ids));
    struct own *own = own_create(setup->count, err);
    if (!ids || !own) goto out;
    for (size_t i = 0; i < setup->count; i++) ids[i] = i;
    tk_index_options_init(&options);
    options.dim = (uint32_t)setup->dim;
    options.max_neighbours = GRAPH_M;
    options.ef_construction = GRAPH_EF_CONSTRUCTION;
    if (tk_index_create(&options, &own->index, err) != TK_OK) goto out;
    result = result_of(
        tk_index_add_batch(own->index, setup->count, ids, setup->vectors, setup->threads, err));
out:
    free(ids);
    if (result == 0)
        *index = own;
    else
        own_release(own);
    return result;
}

static size_t own_bytes(const void *index)
{
    tk_index_stats stats;
    tk_index_get_stats(((const struct own *)index)->index, &stats);
    return stats.bytes;
}

static const char *own_kernel(const void *index)
{
    tk_index_stats stats;
    tk_index_get_stats(((const struct own *)index)->index, &stats);
    return stats.kernel;
}

static int own_prepare(void *index, size_t ef, tk_error *err)
{
    (void)err;
    ((struct own *)index)->ef = ef;
    return 0;
}

static uint64_t kept(const tk_id *ids, size_t count, void *arg)
{
    const struct own *own = arg;
    uint64_t accepted = 0;
    for (size_t i = 0; i < count; i++) {
        const bool keep = ids[i] < own->count && (own->keep[ids[i]] & own->bits);
        accepted |= (uint64_t)keep << i;
    }
    return accepted;
}

static int own_search(const void *index, unsigned thread, const float *query, size_t k,
                      tk_hit *hits, size_t *found, tk_error *err)
{
    (void)thread;
    struct own *own = (struct own *)index;
    tk_search search;
    tk_search_init(&search);
    search.k = k;
    search.ef = own->ef;
    if (own->kind == FILTER_WITHIN) search.within = own->within;
    if (own->kind == FILTER_PREDICATE) {
        search.predicate = kept;
        search.predicate_arg = own;
    }
    return result_of(tk_index_search(own->index, query, &search, hits, found, err));
}

static int own_filter(void *index, enum filter kind, const uint8_t *keep, uint8_t bits,
                      tk_error *err)
{
    struct own *own = index;
    tk_idset_free(own->within);
    own->within = NULL;
    own->kind = kind;
    own->keep = keep;
    own->bits = bits;
    if (kind != FILTER_WITHIN) return 0;
    own->within = tk_idset_create();
    tk_status status = own->within ? TK_OK : TK_ENOMEM;
    for (size_t id = 0; status == TK_OK && id < own->count; id++)
        if (keep[id] & bits) status = tk_idset_add(own->within, id);
    return status == TK_OK ? 0 : fail(err, "the id set: %s", tk_status_text(status));
}

static int own_add(void *index, uint64_t id, const float *vector, tk_error *err)
{
    return result_of(tk_index_add(((struct own *)index)->index, id, vector, err));
}

static int own_remove(void *index, uint64_t id, tk_error *err)
{
    return result_of(tk_index_remove(((struct own *)index)->index, id, err));
}

static int own_save(const void *index, const char *path, tk_error *err)
{
    return result_of(tk_index_save(((const struct own *)index)->index, path, NULL, 0, err));
}

static int own_load(const char *path, const struct peer_setup *setup, void **index, tk_error *err)
{
    struct own *own = own_create(setup->count, err);
    if (!own) return -1;
    if (tk_index_load(path, &own->index, err) != TK_OK) {
        own_release(own);
        return -1;
    }
    *index = own;
    return 0;
}

const struct peer peer_tekup = {
    .name = "tekup",
    .version = TEKUP_VERSION,
    .setting = "ef",
    .most_ef = 65536,
    .build = own_build,
    .release = own_release,
    .bytes = own_bytes,
    .prepare = own_prepare,
    .search = own_search,
    .filter = own_filter,
    .add = own_add,
    .remove = own_remove,
    .save = own_save,
    .load = own_load,
    .kernel = own_kernel,
};
