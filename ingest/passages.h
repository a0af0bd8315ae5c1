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

    bool *refused;   /* for each text */
    size_t embedded; /* texts that the provider has embedded */
    size_t rejected; /* chunks whose text it refused; they are no longer among the chunks */
};

/* All of these begin with {0}, need passages_free() also after a failure, and keep the content. */

/* One chunk, the whole content, with the embedding that the caller brought. */
int passages_given(struct passages *passages, const struct document_input *input,
                   struct error *err);

/* Cuts the content into chunks, without embeddings. */
int passages_cut(struct passages *passages, const struct document_input *input, struct error *err);

/* Gets an embedding for each chunk: the vault's where it has one for the same bytes, else the
 * provider's. A chunk whose text the provider refuses goes. */
int passages_embed(struct passages *passages, struct pipeline *pipeline,
                   const struct document_input *input, struct error *err);

void passages_free(struct passages *passages);

#endif
