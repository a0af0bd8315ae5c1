/* vault_draft.h: documents for the tests to write. */
#ifndef TESTS_VAULT_DRAFT_H
#define TESTS_VAULT_DRAFT_H

#include "tests/cluster_fixture.h"

#include "storage/vault/vault.h"

#include <math.h>

enum { CHUNKS = 8 };

struct draft {
    struct document_write write;
    struct chunk_write chunks[CHUNKS];
    float vectors[CHUNKS][EMBEDDING_DIM];
};

/* Numbers of every kind that a float32 can be, different for each seed. */
static void fill_vector(float *vector, unsigned seed)
{
    for (int i = 0; i < EMBEDDING_DIM; i++)
        vector[i] = (float)sin(seed * 1.7 + i) * powf(10, (float)(i % 60 - 30));
    vector[0] = (float)seed + 1;
    vector[1] = -0.0F;
    vector[2] = 1e-45F; /* the smallest there is */
    vector[3] = 3.4e38F;
}

/* A document whose content is cut into `chunks` chunks of nearly equal length. */
SCRATCH_UNUSED static struct draft *draft(const char *path, const char *content, size_t chunks,
                                          unsigned seed)
{
    struct draft *draft = calloc(1, sizeof(*draft));
    cr_assert(draft != NULL && chunks <= CHUNKS);
    const size_t length = strlen(content);
    draft->write = (struct document_write){.source = "local",
                                           .repository = "/docs",
                                           .path = path,
                                           .content = content,
                                           .content_length = length,
                                           .sha = "sha",
                                           .model = "m1",
                                           .chunks = draft->chunks,
                                           .chunk_count = chunks};
    for (size_t i = 0; i < chunks; i++) {
        struct chunk_write *chunk = &draft->chunks[i];
        chunk->start = i * length / chunks;
        chunk->end = (i + 1) * length / chunks;
        digest_sha256(content + chunk->start, chunk->end - chunk->start, chunk->hash);
        fill_vector(draft->vectors[i], seed + (unsigned)i);
        chunk->embedding = draft->vectors[i];
    }
    return draft;
}

SCRATCH_UNUSED static struct write_result put(struct pool *pool, struct draft *draft)
{
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_put_document(pool, &draft->write, &result, &err), 0, "%s", err.message);
    return result;
}

/* Writes and forgets; the id goes to out where it is wanted. */
SCRATCH_UNUSED static void put_simple(struct pool *pool, const char *path, const char *content,
                                      size_t chunks, unsigned seed, char out[DOCUMENT_ID_SIZE])
{
    struct draft *one = draft(path, content, chunks, seed);
    struct write_result result = put(pool, one);
    if (out != NULL) memcpy(out, result.document_id, DOCUMENT_ID_SIZE);
    write_result_free(&result);
    free(one);
}

SCRATCH_UNUSED static struct vault_counts count(struct pool *pool)
{
    struct error err = {0};
    struct vault_counts counts;
    cr_assert_eq(vault_count(pool, &counts, &err), 0, "%s", err.message);
    return counts;
}

#endif
