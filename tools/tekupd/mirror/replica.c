/* replica.c: holding, taking rows out, and searching; replica_intake.c takes rows in. */
#include "tools/tekupd/mirror/replica_internal.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "tools/tekupd/metrics/speed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HITS = 65536 };

/* ---- Making and releasing -------------------------------------------------------------------- */

struct replica *replica_of(tk_index *index, struct catalog *catalog, const char *model,
                           struct error *err)
{
    struct replica *replica = calloc(1, sizeof(*replica));
    char *name = strdup(model);
    if (replica == NULL || catalog == NULL || name == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        tk_index_free(index);
        catalog_free(catalog);
        free(replica);
        free(name);
        return NULL;
    }
    replica->index = index;
    replica->catalog = catalog;
    replica->model = name;
    atomic_init(&replica->references, 1);
    pthread_mutex_init(&replica->writing, NULL);
    return replica;
}

struct replica *replica_create(const tk_index_options *options, const char *model,
                               struct error *err)
{
    tk_error problem = {{0}};
    tk_index *index;
    if (tk_index_create(options, &index, &problem) != TK_OK) {
        error_set(err, ERR_INVALID, NULL, "the index: %s", problem.message);
        return NULL;
    }
    return replica_of(index, catalog_create(), model, err);
}

struct replica *replica_keep(struct replica *replica)
{
    atomic_fetch_add(&replica->references, 1);
    return replica;
}

void replica_release(struct replica *replica)
{
    if (replica == NULL || atomic_fetch_sub(&replica->references, 1) > 1) return;
    tk_index_free(replica->index);
    catalog_free(replica->catalog);
    pthread_mutex_destroy(&replica->writing);
    free(replica->model);
    free(replica);
}

const tk_index *replica_index(const struct replica *replica)
{
    return replica->index;
}

const struct catalog *replica_catalog(const struct replica *replica)
{
    return replica->catalog;
}

const char *replica_model(const struct replica *replica)
{
    return replica->model;
}

void replica_hold(struct replica *replica)
{
    pthread_mutex_lock(&replica->writing);
}

void replica_go_on(struct replica *replica)
{
    pthread_mutex_unlock(&replica->writing);
}

/* ---- Taking out ------------------------------------------------------------------------------ */

static void remove_one(void *arg, size_t i)
{
    const struct removal *removal = arg;
    tk_error problem = {{0}};
    const tk_status status =
        tk_index_remove(removal->replica->index, (tk_id)removal->embeddings[i], &problem);
    /* Its hits are dropped all the same, since the catalog does not know it. */
    if (status != TK_OK && status != TK_ENOTFOUND)
        log_error("replica.remove", "embedding=%" PRId64 " error=%s", removal->embeddings[i],
                  log_quote(problem.message));
}

/* With `writing` held, and when the catalog does not have them any more. */
static void remove_from_index(struct replica *replica, const int64_t *embeddings, size_t count)
{
    struct removal removal = {replica, embeddings};
    replica_share_out(remove_one, &removal, count);
}

void replica_remove_embeddings(struct replica *replica, const int64_t *embeddings, size_t count)
{
    if (count == 0) return;
    replica_hold(replica);
    for (size_t i = 0; i < count; i++) catalog_remove_embedding(replica->catalog, embeddings[i]);
    remove_from_index(replica, embeddings, count);
    replica_go_on(replica);
}

int replica_remove_document(struct replica *replica, const char *id, struct error *err)
{
    int64_t *embeddings;
    size_t count;
    replica_hold(replica);
    const int rc = catalog_remove_document(replica->catalog, id, &embeddings, &count, err);
    if (rc == 0) {
        remove_from_index(replica, embeddings, count);
        free(embeddings);
    }
    replica_go_on(replica);
    return rc;
}

/* ---- Searching ------------------------------------------------------------------------------- */

static int search_error(tk_status status, const tk_error *problem, struct error *err)
{
    const bool of_vector = status == TK_ENONFINITE || status == TK_EZERO;
    return error_set(err, of_vector ? ERR_INVALID : ERR_INTERNAL, of_vector ? "embedding" : NULL,
                     "%s", problem->message);
}

/* Each hit beyond those that are wanted costs an exact comparison, and those beyond ef a longer
 * walk, so that a vault whose documents have one embedding each is asked for no more than the
 * limit. */
static size_t hits_to_ask_for(const struct replica *replica, const struct replica_query *query)
{
    enum { PER_DOCUMENT = 4, LEAST = 40 };
    if (query->chunks || catalog_is_one_to_one(replica->catalog)) return query->limit;
    const size_t many = query->limit * PER_DOCUMENT > LEAST ? query->limit * PER_DOCUMENT : LEAST;
    const size_t least = query->ef > query->limit ? query->ef : query->limit;
    return query->ef > 0 && least < many ? least : many;
}

/*
 * The index finds embeddings, the answer is documents. So more hits are asked for than documents
 * are wanted, and again many more when the best ones turn out to be of too few documents.
 */
static int search(struct replica *replica, const struct replica_query *query,
                  struct catalog_hits *hits, struct error *err)
{
    enum { FURTHER = 4 };
    tk_search search;
    tk_hit *raw = NULL;
    int rc = -1;
    *hits = (struct catalog_hits){0};
    if (query->filter->nothing) return 0;
    tk_search_init(&search);
    search.ef = query->ef;
    search.threshold = query->threshold;
    catalog_apply(query->filter, &search);
    search.k = hits_to_ask_for(replica, query);
    for (;;) {
        size_t count;
        tk_error problem = {{0}};
        tk_hit *grown = realloc(raw, search.k * sizeof(*raw));
        if (grown == NULL) {
            error_set(err, ERR_INTERNAL, NULL, "memory ran out");
            break;
        }
        raw = grown;
        const tk_status status =
            tk_index_search(replica->index, query->vector, &search, raw, &count, &problem);
        if (status != TK_OK) {
            search_error(status, &problem, err);
            break;
        }
        catalog_hits_free(hits);
        rc = catalog_best(replica->catalog, query->filter, raw, count, query->limit, query->chunks,
                          hits, err);
        if (rc != 0 || hits->count == query->limit || count < search.k || search.k == MOST_HITS)
            break;
        search.k = search.k * FURTHER < MOST_HITS ? search.k * FURTHER : MOST_HITS;
        rc = -1;
    }
    free(raw);
    if (rc != 0) catalog_hits_free(hits);
    return rc;
}

int replica_search(struct replica *replica, const struct replica_query *query,
                   struct catalog_hits *hits, struct error *err)
{
    const double began = clock_now();
    const int rc = search(replica, query, hits, err);
    if (query->speed != NULL && rc == 0) {
        const double ended = clock_now();
        speed_note(query->speed, ended, ended - began);
    }
    return rc;
}

void replica_note_own(struct replica *replica, size_t searches)
{
    atomic_fetch_add_explicit(&replica->own_searches, searches, memory_order_relaxed);
}

void replica_get_stats(const struct replica *replica, struct replica_stats *stats)
{
    /* Own ones first: they are noted when the index has counted them. */
    const uint64_t own = atomic_load(&replica->own_searches);
    tk_index_get_stats(replica->index, &stats->index);
    stats->index.searches -= own;
    catalog_count(replica->catalog, &stats->catalog);
}
