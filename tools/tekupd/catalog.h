/*
 * catalog.h: which embedding belongs to which document, and where each document is; in memory, so
 * that searches filter and name their hits without asking PostgreSQL.
 *
 * It knows ids and places, no texts: about 200 bytes a document and 40 an embedding. All functions
 * may be called from any thread; readers wait for writers only as long as one change takes.
 */
#ifndef TEKUPD_CATALOG_H
#define TEKUPD_CATALOG_H

#include "storage/base/error.h"
#include "storage/vault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tekup/index.h>

struct catalog;

struct catalog *catalog_create(void); /* NULL when memory ran out */
void catalog_free(struct catalog *catalog);

/* ---- Writing. Every entry carries the epoch it was last seen in, for catalog_remove_stale(). ----
 */

/* Adds a document, or moves the one with this id to another place. */
int catalog_put_document(struct catalog *catalog, const char *id, const char *source,
                         const char *repository, const char *path, uint32_t epoch,
                         struct error *err);

/* Adds an embedding to a document, or marks the one that is there as seen; *known (may be NULL)
 * says which. Errors: ERR_NOT_FOUND where there is no such document. */
int catalog_put_embedding(struct catalog *catalog, int64_t embedding, const char *document_id,
                          uint32_t epoch, bool *known, struct error *err);

void catalog_remove_embedding(struct catalog *catalog, int64_t embedding);

/* A document with the embeddings that it still has, or everything that was not seen since before
 * `epoch`. The ids of the embeddings go to *embeddings, which the caller frees. When memory runs
 * out nothing is removed. */
int catalog_remove_document(struct catalog *catalog, const char *id, int64_t **embeddings,
                            size_t *count, struct error *err);
int catalog_remove_stale(struct catalog *catalog, uint32_t epoch, int64_t **embeddings,
                         size_t *count, struct error *err);

/* Removes the document if it has no embedding. */
void catalog_remove_if_empty(struct catalog *catalog, const char *id);

/* Removes the documents of a repository that have no embedding left. */
void catalog_remove_empty(struct catalog *catalog, const char *source, const char *repository);

/* ---- Reading ---- */

/* Whether there is such an embedding. */
bool catalog_knows(const struct catalog *catalog, int64_t embedding);

struct catalog_counts {
    size_t documents, embeddings, bytes;
};
void catalog_count(const struct catalog *catalog, struct catalog_counts *counts);

/* What a search is narrowed to. Made by catalog_narrow, released by catalog_filter_free. */
struct catalog_filter {
    const struct catalog *catalog;
    const char *source, *repository, *path_prefix; /* NULL: any; the caller's strings */
    bool nothing;                                  /* no embedding passes */
    tk_idset *within; /* the embeddings that pass, or NULL: ask catalog_passes */
    bool ask;
};

/* Narrow filters become a set of ids; wide ones are asked embedding by embedding. documents (ids,
 * may be NULL) narrows to those as well. */
int catalog_narrow(const struct catalog *catalog, const char *source, const char *repository,
                   const char *path_prefix, char *const *documents, size_t document_count,
                   struct catalog_filter *filter, struct error *err);
void catalog_filter_free(struct catalog_filter *filter);

/* Puts the filter into the search. Not for one that lets nothing pass. */
void catalog_apply(struct catalog_filter *filter, tk_search *search);

struct catalog_hit {
    int64_t embedding;
    float similarity;
    char document[DOCUMENT_ID_SIZE];
    const char *source, *repository; /* live as long as the catalog */
    char *path;                      /* the caller's */
};

/* The best hit of each document, in the order of the hits, at most `limit`. Hits that the catalog
 * does not know (removed meanwhile) are left out. */
int catalog_best(const struct catalog *catalog, const tk_hit *hits, size_t count, size_t limit,
                 struct catalog_hit *best, size_t *found, struct error *err);
void catalog_hits_free(struct catalog_hit *hits, size_t count);

#endif
