/*
 * catalog.h: which embedding belongs to which document, and where each document is; in memory, so
 * that searches filter and name their hits without asking PostgreSQL.
 *
 * It knows ids and places, no texts: about 200 bytes a document and 50 an embedding. All functions
 * may be called from any thread; readers wait for writers only as long as one change takes.
 */
#ifndef TEKUPD_CATALOG_H
#define TEKUPD_CATALOG_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tekup/index.h>

struct catalog;
struct shared_set;

struct catalog *catalog_create(void); /* NULL when memory ran out */
void catalog_free(struct catalog *catalog);

/* ---- Writing ---- */

/* Adds a document, or moves the one with this id to another place. Errors: ERR_INVALID for an id
 * that is longer than any that tekupdb or Prisma gives. */
int catalog_put_document(struct catalog *catalog, const char *id, const char *source,
                         const char *repository, const char *path, struct error *err);

enum catalog_had { CATALOG_NEW, CATALOG_SAME, CATALOG_OTHER };

/* Adds an embedding to a document, with a hash of its vector; *had says whether it was there with
 * the same hash or another one. Errors: ERR_NOT_FOUND where there is no such document. */
int catalog_put_embedding(struct catalog *catalog, int64_t embedding, const char *document_id,
                          uint64_t hash, enum catalog_had *had, struct error *err);

void catalog_remove_embedding(struct catalog *catalog, int64_t embedding);

/* Removes a document with the embeddings that it still has, whose ids go to *embeddings (the
 * caller's to free). When memory runs out nothing is removed. */
int catalog_remove_document(struct catalog *catalog, const char *id, int64_t **embeddings,
                            size_t *count, struct error *err);

/* ---- Reading ---- */

/* Whether there is such an embedding. */
bool catalog_knows(const struct catalog *catalog, int64_t embedding);

/* The same, with its hash and its document. */
bool catalog_look_up(const struct catalog *catalog, int64_t embedding, uint64_t *hash,
                     char document[DOCUMENT_ID_SIZE]);

/* Appends source, repository and path of a document, each with a NUL. Returns whether there is one.
 */
bool catalog_place(const struct catalog *catalog, const char *id, struct buffer *place);

/* The embeddings of a document, none where there is no such; the caller frees *embeddings. */
int catalog_embeddings_of(const struct catalog *catalog, const char *id, int64_t **embeddings,
                          size_t *count, struct error *err);

/* Ids of documents, at most `most`, 0 at the end. *from starts as 0. Documents that stay from the
 * first call to the last are all given, as long as none is added meanwhile. */
size_t catalog_walk(const struct catalog *catalog, size_t *from, char (*ids)[DOCUMENT_ID_SIZE],
                    size_t most);

/* ---- All embeddings (catalog_survey.c) ---- */

struct repository;

/* What a repository is called; it and its names live as long as the catalog. */
const char *catalog_source(const struct repository *repository);
const char *catalog_repository(const struct repository *repository);

struct catalog_spot {
    int64_t embedding;
    const struct repository *repository;
};
struct catalog_survey {
    struct catalog_spot *spots; /* in the order of the embeddings' ids */
    size_t count;
};

/* About one in so many of the embeddings, the same ones for the same seed; 1: each. Those that stay
 * meanwhile are in it, and none twice. Writers get their turns in between. */
int catalog_survey(const struct catalog *catalog, size_t one_in, uint64_t seed,
                   struct catalog_survey *survey, struct error *err);
void catalog_survey_free(struct catalog_survey *survey);

/* A number that tells the document of an embedding from all others as long as neither moves; 0
 * where there is no such embedding. May be called by a tk_predicate. */
uint64_t catalog_serial(const struct catalog *catalog, int64_t embedding);

struct catalog_counts {
    size_t documents, embeddings, bytes;
};
void catalog_count(const struct catalog *catalog, struct catalog_counts *counts);

/* Whether there are no more embeddings than documents. */
bool catalog_is_one_to_one(const struct catalog *catalog);

/* ---- In a file (catalog_file.c) ---- */

/* What tells a file from a damaged one; kept elsewhere. */
struct catalog_file {
    uint64_t size, checksum, documents;
};

/* Writes the file and syncs it; nothing is left of one that fails (ERR_IO). Others may write
 * meanwhile: what they change may be in it or not. */
int catalog_save(const struct catalog *catalog, const char *path, struct catalog_file *file,
                 struct error *err);

/* NULL where the file cannot be read (ERR_IO), is damaged or foreign (ERR_INVALID), or memory ran
 * out. */
struct catalog *catalog_load(const char *path, const struct catalog_file *file, struct error *err);

/* ---- Filters and hits ---- */

/* What a search is narrowed to. Made by catalog_narrow, released by catalog_filter_free. */
struct catalog_filter {
    const struct catalog *catalog;
    const char *source, *repository, *path_prefix; /* NULL: any; the caller's strings */
    bool nothing;                                  /* no embedding passes */
    const tk_idset *within; /* the embeddings that passed when it was made, or NULL: ask */
    bool ask;
    struct shared_set *kept; /* what `within` is: the set of a repository, */
    tk_idset *made;          /* or one of its own */
};

/* Filters by source and repository are sets of ids that are there already. Those by path that are
 * narrow become one, wide ones are asked embedding by embedding. documents (ids, may be NULL)
 * narrows to those as well. */
int catalog_narrow(const struct catalog *catalog, const char *source, const char *repository,
                   const char *path_prefix, char *const *documents, size_t document_count,
                   struct catalog_filter *filter, struct error *err);
void catalog_filter_free(struct catalog_filter *filter);

/* Puts the filter into the search. Not for one that lets nothing pass. */
void catalog_apply(struct catalog_filter *filter, tk_search *search);

struct catalog_hit {
    int64_t embedding;
    float similarity; /* NaN: unknown */
    float score;      /* what the order goes by */
    char document[DOCUMENT_ID_SIZE];
    const char *source, *repository; /* live as long as the catalog */
    const char *path;                /* as long as what the hit is among */
};

struct catalog_hits {
    struct catalog_hit *hits; /* may be NULL where there are none */
    size_t count;
    char *paths; /* of those that the catalog named, in one piece */
};
void catalog_hits_free(struct catalog_hits *hits); /* leaves it empty */

/* The best hit of each document, or with `all` every hit, in the order of the hits, at most
 * `limit`. Hits that the catalog does not know (removed meanwhile) are left out, and those whose
 * document does not pass the filter (may be NULL) by its place (moved meanwhile). *best is released
 * by catalog_hits_free. */
int catalog_best(const struct catalog *catalog, const struct catalog_filter *filter,
                 const tk_hit *hits, size_t count, size_t limit, bool all,
                 struct catalog_hits *best, struct error *err);

#endif
