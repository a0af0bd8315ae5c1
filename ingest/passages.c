/* passages.c: cuts a document, finds what repeats, and embeds the rest in batches. */
#include "ingest/passages.h"

#include "ingest/chunk.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED_BATCH = 64 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* The hash stands for the bytes and the embedding together, so that no lookup by a text's own hash
 * finds an embedding that our model did not make. */
static int hash_given(const struct document_input *input, uint8_t out[SHA256_SIZE],
                      struct error *err)
{
    const size_t embedding_size = EMBEDDING_DIM * sizeof(float);
    char *bytes = malloc(input->content_length + embedding_size);
    if (bytes == NULL) return out_of_memory(err);
    memcpy(bytes, input->embedding, embedding_size);
    memcpy(bytes + embedding_size, input->content, input->content_length);
    digest_sha256(bytes, embedding_size + input->content_length, out);
    free(bytes);
    return 0;
}

int passages_given(struct passages *passages, const struct document_input *input, struct error *err)
{
    passages->content = input->content;
    passages->chunks = calloc(1, sizeof(*passages->chunks));
    if (passages->chunks == NULL) return out_of_memory(err);
    passages->count = 1;
    passages->chunks[0].end = input->content_length;
    passages->chunks[0].embedding = input->embedding;
    return hash_given(input, passages->chunks[0].hash, err);
}

/* ---- Cutting ---- */

struct hashed {
    uint8_t hash[SHA256_SIZE];
    size_t chunk;
};

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *first = a;
    const struct hashed *second = b;
    const int order = memcmp(first->hash, second->hash, SHA256_SIZE);
    return order != 0 ? order : (first->chunk > second->chunk) - (first->chunk < second->chunk);
}

/* Gives each chunk the number of its text. */
static int group_by_hash(struct passages *passages, struct error *err)
{
    struct hashed *hashed = malloc(passages->count * sizeof(*hashed));
    if (hashed == NULL) return out_of_memory(err);
    for (size_t i = 0; i < passages->count; i++) {
        memcpy(hashed[i].hash, passages->chunks[i].hash, SHA256_SIZE);
        hashed[i].chunk = i;
    }
    qsort(hashed, passages->count, sizeof(*hashed), compare_hashed);
    for (size_t i = 0; i < passages->count; i++) {
        if (i == 0 || memcmp(hashed[i].hash, hashed[i - 1].hash, SHA256_SIZE) != 0) {
            const struct chunk_write *chunk = &passages->chunks[hashed[i].chunk];
            const size_t text = passages->text_count++;
            memcpy(passages->hashes + text * SHA256_SIZE, hashed[i].hash, SHA256_SIZE);
            passages->texts[text] =
                (struct embed_text){passages->content + chunk->start, chunk->end - chunk->start};
        }
        passages->text_of[hashed[i].chunk] = passages->text_count - 1;
    }
    free(hashed);
    return 0;
}

int passages_cut(struct passages *passages, const struct document_input *input, struct error *err)
{
    struct chunk *ranges;
    size_t count;
    passages->content = input->content;
    if (chunk_text(input->content, input->content_length, &ranges, &count) != 0)
        return out_of_memory(err);

    passages->chunks = calloc(count + 1, sizeof(*passages->chunks));
    passages->text_of = calloc(count + 1, sizeof(*passages->text_of));
    passages->texts = calloc(count + 1, sizeof(*passages->texts));
    passages->hashes = calloc(count + 1, SHA256_SIZE);
    if (passages->chunks == NULL || passages->text_of == NULL || passages->texts == NULL ||
        passages->hashes == NULL) {
        free(ranges);
        return out_of_memory(err);
    }
    passages->count = count;
    for (size_t i = 0; i < count; i++) {
        passages->chunks[i].start = ranges[i].start;
        passages->chunks[i].end = ranges[i].end;
        digest_sha256(input->content + ranges[i].start, ranges[i].end - ranges[i].start,
                      passages->chunks[i].hash);
    }
    free(ranges);
    return group_by_hash(passages, err);
}

/* ---- Embedding ---- */

/* Embeds the texts that were not found, a batch at a time. */
static int embed_missing(struct passages *passages, struct embedder *embedder, const bool *found,
                         const struct document_input *input, struct error *err)
{
    struct embed_text texts[EMBED_BATCH];
    size_t places[EMBED_BATCH];
    bool refused[EMBED_BATCH];
    size_t filled = 0;
    float *batch = malloc((size_t)EMBED_BATCH * EMBEDDING_DIM * sizeof(*batch));
    int status = batch != NULL ? 0 : out_of_memory(err);

    for (size_t i = 0; status == 0 && i < passages->text_count; i++) {
        if (!found[i]) {
            texts[filled] = passages->texts[i];
            places[filled++] = i;
        }
        if (filled == 0 || (filled < EMBED_BATCH && i + 1 < passages->text_count)) continue;
        const struct embed_call call = {.texts = texts,
                                        .count = filled,
                                        .out = batch,
                                        .refused = refused,
                                        .stop = input->stop,
                                        .waiting = input->waiting,
                                        .arg = input->arg};
        status = embed_perform(embedder, &call, err);
        for (size_t j = 0; status == 0 && j < filled; j++) {
            memcpy(passages->embeddings + places[j] * EMBEDDING_DIM, batch + j * EMBEDDING_DIM,
                   EMBEDDING_DIM * sizeof(*batch));
            passages->refused[places[j]] = refused[j];
            passages->embedded += !refused[j];
        }
        filled = 0;
    }
    free(batch);
    return status;
}

/* Gives the chunks their embeddings, and lets those go that have none. */
static void keep_embedded(struct passages *passages)
{
    size_t kept = 0;
    for (size_t i = 0; i < passages->count; i++) {
        const size_t text = passages->text_of[i];
        if (passages->refused[text]) continue;
        passages->chunks[kept] = passages->chunks[i];
        passages->chunks[kept++].embedding = passages->embeddings + text * EMBEDDING_DIM;
    }
    passages->rejected = passages->count - kept;
    passages->count = kept;
}

int passages_embed(struct passages *passages, struct pipeline *pipeline,
                   const struct document_input *input, struct error *err)
{
    bool *found = calloc(passages->text_count + 1, sizeof(*found));
    passages->refused = calloc(passages->text_count + 1, sizeof(*passages->refused));
    passages->embeddings =
        malloc((passages->text_count + 1) * EMBEDDING_DIM * sizeof(*passages->embeddings));
    int status = -1;
    if (found == NULL || passages->refused == NULL || passages->embeddings == NULL) {
        out_of_memory(err);
        goto out;
    }
    if (vault_reuse_embeddings(pipeline->pool, embedder_model(pipeline->embedder), passages->hashes,
                               passages->text_count, passages->embeddings, found, err) != 0)
        goto out;
    if (embed_missing(passages, pipeline->embedder, found, input, err) != 0) goto out;
    keep_embedded(passages);
    status = 0;
out:
    free(found);
    return status;
}

void passages_free(struct passages *passages)
{
    free(passages->chunks);
    free(passages->text_of);
    free(passages->texts);
    free(passages->hashes);
    free(passages->embeddings);
    free(passages->refused);
    *passages = (struct passages){0};
}
