/*
 * vault_search.h: the search that PostgreSQL answers itself, by pgvector.
 *
 * Embeddings are compared by cosine distance (<=>) with every embedding that the filters let pass,
 * or by an HNSW or IVFFlat index (vector_cosine_ops) where an administrator has made one on
 * vault."VaultEmbedding"."embedding"; tekupdb makes none, since it is not in the schema. What an
 * index leaves out, so that fewer documents come than are asked for, is found by comparing after
 * all. Same rules as vault.h.
 */
#ifndef STORAGE_VAULT_SEARCH_H
#define STORAGE_VAULT_SEARCH_H

#include "storage/vault/vault.h"

struct vault_search {
    const float *vector; /* EMBEDDING_DIM floats, finite, not zero */
    const char *model;   /* whose embeddings; those that say nothing of theirs count as its own */
    size_t limit;        /* documents wanted, 1 to 2,000 */
    bool chunks;         /* not documents, but every embedding */
    size_t ef;           /* effort of an HNSW index; 0: what fits the limit */
    float threshold;     /* least similarity; -infinity: none */
    const char *source, *repository, *path_prefix; /* NULL: any */
    const char *metadata; /* JSON that the documents' metadata contains (@>); NULL: any */
};

/* A document by its best embedding. */
struct vault_hit {
    int64_t embedding;
    float similarity;
    char document[DOCUMENT_ID_SIZE];
    char *source, *repository, *path;
};

/* The most similar documents, best first (equal ones by the embedding's id). Errors: ERR_CONFLICT
 * (field "model") where the vault serves another model; ERR_INVALID
 * (field "metadata"; field "search.backend" where the embeddings are not pgvector's). *hits is
 * released by vault_hits_free. */
int vault_search(struct pool *pool, const struct vault_search *search, struct vault_hit **hits,
                 size_t *found, struct error *err);
void vault_hits_free(struct vault_hit *hits, size_t count);

/* Whether an index of pgvector's is there that searches may use. */
int vault_search_index(struct pool *pool, bool *there, struct error *err);

#endif
