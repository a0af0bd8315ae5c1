/*
 * mirror.h: the vault in memory: the vector index and the catalog, kept as PostgreSQL has them.
 *
 * mirror_load() reads everything; meanwhile, and afterwards, the listener applies each write of
 * this daemon when it has committed, before the writer is answered. Both may tell of the same row,
 * in any order. A load that is repeated finds what is missing and what is gone, and searches go on.
 */
#ifndef TEKUPD_MIRROR_H
#define TEKUPD_MIRROR_H

#include "ingest/pipeline.h"
#include "storage/base/error.h"
#include "storage/pool.h"
#include "tools/tekupd/catalog.h"

#include <stdbool.h>
#include <stddef.h>
#include <tekup/index.h>

struct mirror;

/* options as for tk_index_create, with dim EMBEDDING_DIM. model is the embedding model whose
 * vectors are mirrored, a string that outlives the mirror. */
struct mirror *mirror_create(const tk_index_options *options, const char *model, struct error *err);

/* No load and no search may be under way. NULL is allowed. */
void mirror_free(struct mirror *mirror);

/* Reads the vault. One at a time. Vectors that the index does not take are left out, with a line in
 * the log. Errors: those of vault_read_all; what was read stays, and the next
 * load goes on from there. */
int mirror_load(struct mirror *mirror, struct pool *pool, struct error *err);

/* Makes a load that is under way end early, and every later one. */
void mirror_stop(struct mirror *mirror);

/* Whether everything was read once. */
bool mirror_is_ready(const struct mirror *mirror);

/* To be told of the daemon's own writes. */
struct vault_listener mirror_listener(struct mirror *mirror);

/* The documents of a repository were deleted, with the embeddings that the result names. */
void mirror_repository_deleted(struct mirror *mirror, const char *source, const char *repository,
                               const struct write_result *result);

/* Since the listener was last told of a write; infinite before the first. */
double mirror_seconds_since_write(const struct mirror *mirror);

struct mirror_query {
    const float *vector; /* EMBEDDING_DIM */
    size_t limit;        /* documents wanted, 1 to 1,000 */
    size_t ef;           /* 0: the index's own */
    float threshold;     /* -infinity: none */
    struct catalog_filter *filter;
};

/* The most similar documents, each by its best embedding, best first. *hits is released with
 * catalog_hits_free and free. Errors: ERR_INVALID (field "embedding"). */
int mirror_search(struct mirror *mirror, const struct mirror_query *query,
                  struct catalog_hit **hits, size_t *found, struct error *err);

const struct catalog *mirror_catalog(const struct mirror *mirror);

struct mirror_stats {
    tk_index_stats index;
    struct catalog_counts catalog;
    bool ready;
    double load_seconds; /* of the last complete load; 0 before it */
    size_t skipped;      /* vectors of the last load that the index did not take */
};
void mirror_get_stats(const struct mirror *mirror, struct mirror_stats *stats);

#endif
