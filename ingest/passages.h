/* passages.h: the chunks of one document and their embeddings, on the way to the vault. */
#ifndef INGEST_PASSAGES_H
#define INGEST_PASSAGES_H

#include "ingest/pipeline.h"

#include <stdbool.h>
#include <stddef.h>

struct passages {
    const char *content;
    struct chunk_write *chunks; /* their embeddings point into `embeddings`, or are the caller's */
    size_t count;
    size_t *text_of; /* for each chunk, which text it is */

    /* The texts without their repetitions. */
    struct embed_text *texts;
    uint8_t *hashes; /* SHA256_SIZE bytes each */
    float *embeddings;
    size_t text_count;

    bool *found;                 /* for each text, whether the vault has an embedding of it */
    size_t missing;              /* texts that were not found, once passages_find has looked */
    size_t missing_bytes;        /* of those */
    bool *refused;               /* for each text */
    size_t embedded;             /* texts that the provider has embedded */
    struct chunk_write *rejects; /* chunks whose text it refuses; no longer among the chunks */
    size_t rejected;
};

/* All of these begin with {0}, need passages_free() also after a failure, and keep the content. */

/* One chunk, the whole content, with the embedding that the caller brought. */
int passages_given(struct passages *passages, const struct document_input *input,
                   struct error *err);

/* Cuts the content into chunks, without embeddings. */
int passages_cut(struct passages *passages, const struct document_input *input, struct error *err);

/* Takes the embeddings by the embedder's model that the vault has for the same bytes, of several
 * documents in one query. */
int passages_find(struct passages *const *list, size_t count, struct pool *pool,
                  const struct embedder *embedder, struct error *err);

/* Gets the embeddings that passages_find has not found, of several documents in one call, and each
 * text once. A chunk whose text the provider refuses is put aside. `how` says who waits: stop,
 * waiting and arg of it. Where it fails nothing has changed. */
int passages_embed(struct passages *const *list, size_t count, struct pool *pool,
                   struct embedder *embedder, const struct embed_call *how, struct error *err);

void passages_free(struct passages *passages);

#endif
