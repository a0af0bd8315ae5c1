/*
 * vault.h: the documents of the vault, their chunks and embeddings, in PostgreSQL.
 *
 * Every function leases a connection of its own from the pool, runs in one transaction and may be
 * called from any thread. Common errors: ERR_UNAVAILABLE (the database is away; nothing was
 * changed). Strings handed out are UTF-8 and NUL-terminated.
 */
#ifndef STORAGE_VAULT_H
#define STORAGE_VAULT_H

#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMBEDDING_DIM = 1536, DOCUMENT_ID_SIZE = 40, TIMESTAMP_SIZE = 32 };

/* ---- Documents ---- */

struct document {
    char id[DOCUMENT_ID_SIZE]; /* a cuid; rows of other writers may have a UUID */
    char *source;
    char *repository;
    char *path;
    char *content; /* NULL where it was not asked for */
    size_t content_length;
    char *sha;                       /* NULL where the row has none */
    char *metadata;                  /* JSON text, NULL where the row has none */
    char created_at[TIMESTAMP_SIZE]; /* ISO 8601, UTC, milliseconds: 2026-11-24T14:20:31.123Z */
    char updated_at[TIMESTAMP_SIZE];
};
void document_free(struct document *document); /* what it points to, not itself */

/* ---- Writing ---- */

struct chunk_write {
    size_t start, end;         /* byte range of the document's content, end exclusive */
    uint8_t hash[SHA256_SIZE]; /* of the chunk's bytes */
    const float *embedding;    /* EMBEDDING_DIM floats, finite, not zero */
    int64_t embedding_id;      /* out: the id of its row in "VaultEmbedding" */
};

struct document_write {
    const char *source, *repository, *path;
    const char *content; /* valid UTF-8 without NUL */
    size_t content_length;
    const char *sha;      /* may be NULL */
    const char *metadata; /* JSON text, may be NULL */
    const char *model; /* the embedding model of the chunks, which has to be the one that serves */
    struct chunk_write *chunks;
    size_t chunk_count;
    const struct chunk_write *rejected; /* that the model does not take: range and hash of each */
    size_t rejected_count;
};

struct write_result {
    char document_id[DOCUMENT_ID_SIZE];
    bool created;     /* false: the document was there and has been replaced */
    int64_t *removed; /* embedding ids that are gone; released by write_result_free */
    size_t removed_count;
};
void write_result_free(struct write_result *result);

/* Writes a document, its chunks and embeddings in one transaction: inserts it, or replaces the one
 * with the same source, repository and path (its id and createdAt stay). Errors: ERR_CONFLICT
 * (field "model") where the vault serves another model by now (model.h). */
int vault_put_document(struct pool *pool, struct document_write *write, struct write_result *result,
                       struct error *err);

/* Deletes by id. Errors: ERR_NOT_FOUND. */
int vault_delete_document(struct pool *pool, const char *id, struct write_result *result,
                          struct error *err);

/* Deletes every document of a repository. */
int vault_delete_repository(struct pool *pool, const char *source, const char *repository,
                            size_t *documents, struct write_result *result, struct error *err);

/* ---- Reading ---- */

/* By id, or by its place. Errors: ERR_NOT_FOUND. */
int vault_get_document(struct pool *pool, const char *id, struct document *document,
                       struct error *err);
int vault_find_document(struct pool *pool, const char *source, const char *repository,
                        const char *path, struct document *document, struct error *err);

/* Documents in order of source, repository and path (compared as bytes), without their content.
 * Filters may be NULL. `after` is the id of the last document of the page before, or NULL. The
 * caller frees each document and the array. */
int vault_list_documents(struct pool *pool, const char *source, const char *repository,
                         const char *path_prefix, const char *after, size_t limit,
                         struct document **documents, size_t *count, struct error *err);

enum { FETCH_CONTENT = 1, FETCH_CHUNK = 2 };

/* One row for each embedding id of a search result, in the order given. `found` is false where the
 * row is gone since. */
struct passage {
    bool found;
    struct document document; /* content only with FETCH_CONTENT */
    int64_t embedding_id;
    bool has_range;    /* false for embeddings written by others, which have no chunk row */
    size_t start, end; /* the chunk's byte range */
    int ordinal;       /* its place among the document's chunks, from 0 */
    char *text;        /* the chunk's text, with FETCH_CHUNK; the whole content without range */
};
int vault_fetch_passages(struct pool *pool, const int64_t *embedding_ids, size_t count, int what,
                         struct passage *passages, struct error *err);
void passage_free(struct passage *passage);

/* A chunk and what stands before and behind it in its document. */
struct surroundings {
    struct document document; /* without content */
    int ordinal;
    size_t start, end; /* of the chunk, in bytes of the content */
    char *before, *text, *after;
    bool at_start, at_end; /* there is nothing more of the document there */
};

/* At most so many bytes before and behind, in whole characters. A document without chunks, which
 * another writer made, is one: ordinal 0. Errors: ERR_NOT_FOUND (field "chunk" where there is the
 * document, but no such chunk). */
int vault_fetch_around(struct pool *pool, const char *id, int ordinal, size_t before, size_t after,
                       struct surroundings *around, struct error *err);
void surroundings_free(struct surroundings *around);

/* Ids of the documents whose metadata contains the given JSON (PostgreSQL's @>). The caller frees
 * each id and the array. Errors: ERR_INVALID (field "metadata"). */
int vault_match_metadata(struct pool *pool, const char *metadata, char ***ids, size_t *count,
                         struct error *err);

/* A page of the embeddings of `model` (those that say nothing of their model count as its own) in
 * the order of their ids, beginning behind `after`. vectors has room for `limit` x EMBEDDING_DIM.
 * Those that are zero or not finite are passed over, so that a page may have fewer than `limit`
 * though there are more. */
struct embedding_page {
    size_t count;
    int32_t last; /* id of the last row looked at; `after` where there was none */
    bool more;    /* there are rows behind it */
};
int vault_page_embeddings(struct pool *pool, const char *model, int32_t after, size_t limit,
                          float *vectors, struct embedding_page *page, struct error *err);

/* The vectors of these embeddings, of whichever model; found[i] is false where one is gone or not
 * usable. vectors has room for count x EMBEDDING_DIM. */
int vault_fetch_vectors(struct pool *pool, const int64_t *embedding_ids, size_t count,
                        float *vectors, bool *found, struct error *err);

/* ---- For a sync ---- */

/* Calls `each` for every document of a repository with the sha it was written with, the `url` of
 * its metadata (NULL: none) and whether all of its chunks are embedded by `model` (those that say
 * nothing of their model count as its own; a document without any is not, unless the model takes
 * none of it). The strings live for the call, during which a connection is leased. Stops early,
 * with -1 and ERR_CANCELLED, when each returns nonzero. */
typedef int (*vault_version_fn)(void *arg, const char *id, const char *path, const char *sha,
                                const char *url, bool current);
int vault_list_versions(struct pool *pool, const char *source, const char *repository,
                        const char *model, vault_version_fn each, void *arg, struct error *err);

/* Looks up embeddings that were paid for already: for each hash (SHA256_SIZE bytes each) that has
 * one by this model, copies it to embeddings + i * EMBEDDING_DIM and sets found[i]. */
int vault_reuse_embeddings(struct pool *pool, const char *model, const uint8_t *hashes,
                           size_t count, float *embeddings, bool *found, struct error *err);

/* Sets rejected[i] for each hash of a text that the model was found not to take. */
int vault_find_rejected(struct pool *pool, const char *model, const uint8_t *hashes, size_t count,
                        bool *rejected, struct error *err);

/* ---- For the mirror ---- */

/* These two read on a connection of the caller's. Embeddings are those of `model`; those that say
 * nothing of their model count as its own, and those that are zero or not finite are passed over
 * with a warning in the log. Strings and vectors live for the call. A nonzero return of either
 * function stops the reading with -1 and ERR_CANCELLED. Where the vault serves another model, as of
 * the moment that is read, nothing is read: ERR_CONFLICT (field "model"). */
struct vault_reader {
    int (*document)(void *arg, const char *id, const char *source, const char *repository,
                    const char *path);
    int (*embedding)(void *arg, int64_t id, const char *document_id, const float *vector);
    void *arg;
};

/* The whole vault as it stood at one moment, documents first, then embeddings. *position (the
 * caller's to free) is that moment in the feed (feed.h). */
int vault_read_all(PGconn *conn, const char *model, const struct vault_reader *reader,
                   char **position, struct error *err);

/* What there is now of the documents and embeddings of these ids, no more than VAULT_SOME of each;
 * with `whole` of all the embeddings of the documents. An embedding's document comes before it,
 * asked for or not, and a document may come more than once. In the caller's transaction, if there
 * is one. */
enum { VAULT_SOME = 4096 };
int vault_read_some(PGconn *conn, const char *model, const char *const *documents,
                    size_t document_count, bool whole, const int64_t *embeddings,
                    size_t embedding_count, const struct vault_reader *reader, struct error *err);

/* Sweeps away chunks whose embedding other writers have removed. */
int vault_sweep_chunks(struct pool *pool, struct error *err);

struct vault_counts {
    int64_t documents, embeddings, chunks;
};
int vault_count(struct pool *pool, struct vault_counts *counts, struct error *err);

#endif
