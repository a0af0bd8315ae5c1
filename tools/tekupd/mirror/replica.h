/*
 * replica.h: the vault in memory: the vector index and the catalog.
 *
 * Any number of threads search while one thread writes. Who searches holds a reference, so that a
 * replica that another one has taken the place of lives until its last search has been answered.
 *
 * WRITING goes through an intake, which is fed with rows as vault.h reads them: it tells from the
 * catalog what is new and what is changed, and hands the vectors to the index a block at a time, on
 * all processors. Putting a row that is there already changes nothing. A hit that the catalog does
 * not know is dropped by the search, so that rows come into the catalog first and leave it first.
 */
#ifndef TEKUPD_REPLICA_H
#define TEKUPD_REPLICA_H

#include "storage/base/error.h"
#include "storage/vault/vault.h"
#include "tools/tekupd/mirror/catalog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tekup/index.h>

struct replica;
struct speed;

/* An empty one. options as for tk_index_create, with dim EMBEDDING_DIM. model is the embedding
 * model whose vectors it holds. The caller holds the reference. */
struct replica *replica_create(const tk_index_options *options, const char *model,
                               struct error *err);

/* One made of these, which it takes over also when it fails. */
struct replica *replica_of(tk_index *index, struct catalog *catalog, const char *model,
                           struct error *err);

struct replica *replica_keep(struct replica *replica); /* another reference to the same */
void replica_release(struct replica *replica);         /* NULL is allowed */

const tk_index *replica_index(const struct replica *replica);
const struct catalog *replica_catalog(const struct replica *replica);
const char *replica_model(const struct replica *replica);

/* ---- Writing: one thread at a time ---- */

/* A hash of a vector's bits, by which the catalog tells whether it has changed. */
uint64_t replica_hash(const float *vector);

struct intake;

/* distrust: nothing that is there already counts as up to date. stop (may be NULL) ends a reading
 * early once it is set. */
struct intake *intake_create(struct replica *replica, bool distrust, const atomic_bool *stop,
                             struct error *err);
void intake_free(struct intake *intake);

/* To read by; rows that cannot be taken (an id that is too long, a vector that the index refuses)
 * are left out with a line in the log. */
struct vault_reader intake_reader(struct intake *intake);

/* Hands over what is still held. Returns -1 when memory ran out, now or before: the rows of a block
 * that was not taken are in neither part. */
int intake_flush(struct intake *intake, struct error *err);

struct intake_counts {
    size_t documents, embeddings; /* rows that came by */
    size_t skipped;               /* of the embeddings */
};
void intake_count(const struct intake *intake, struct intake_counts *counts);

/* The embeddings that came by since the last call, ascending; valid until the next row comes. */
const int64_t *intake_seen(struct intake *intake, size_t *count);

/* Takes rows out that are there no more. */
void replica_remove_embeddings(struct replica *replica, const int64_t *embeddings, size_t count);
int replica_remove_document(struct replica *replica, const char *id, struct error *err);

/* ---- Reading ---- */

/* Keeps the writer from changing anything between the two. */
void replica_hold(struct replica *replica);
void replica_go_on(struct replica *replica);

enum { REPLICA_LIMIT = 2000 };

struct replica_query {
    const float *vector; /* EMBEDDING_DIM */
    size_t limit;        /* documents wanted, 1 to REPLICA_LIMIT */
    bool chunks;         /* not documents, but every chunk */
    size_t ef;           /* 0: the index's own */
    float threshold;     /* -infinity: none */
    struct catalog_filter *filter;
    struct speed *speed; /* to note how long it took; may be NULL */
};

/* The most similar documents, each by its best embedding, or chunks, best first. *hits is released
 * with catalog_hits_free, before the replica. Errors: ERR_INVALID (field "embedding"). */
int replica_search(struct replica *replica, const struct replica_query *query,
                   struct catalog_hits *hits, struct error *err);

/* So many searches of the index were none of anybody's: measuring, looking for near-duplicates.
 * They are not counted among those of the stats. */
void replica_note_own(struct replica *replica, size_t searches);

struct replica_stats {
    tk_index_stats index;
    struct catalog_counts catalog;
};
void replica_get_stats(const struct replica *replica, struct replica_stats *stats);

#endif
