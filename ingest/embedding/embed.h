/*
 * embed.h: turns texts into embeddings.
 *
 * Providers: `hash` (built in, no network: signed feature hashing of words and character n-grams,
 * Weinberger et al., arXiv 0902.2206; it finds shared words, not shared meaning). `openai` follows.
 */
#ifndef INGEST_EMBED_H
#define INGEST_EMBED_H

#include "storage/base/error.h"
#include "storage/vault.h"

#include <stddef.h>

struct embedder;

struct embed_text {
    const char *text; /* valid UTF-8, not NUL-terminated */
    size_t length;
};

/* provider "hash". Errors: ERR_INVALID (field "embedding.provider"). */
struct embedder *embedder_create(const char *provider, struct error *err);
void embedder_free(struct embedder *embedder);

/* The model's name as it is recorded with every embedding, e.g. "hash-1536-v1". */
const char *embedder_model(const struct embedder *embedder);

/* Writes count x EMBEDDING_DIM floats, each vector of length 1. May be called from any thread. A
 * text without a single word or character to hash still gets a vector (of its bytes): never a zero
 * vector. */
int embed_texts(struct embedder *embedder, const struct embed_text *texts, size_t count, float *out,
                struct error *err);

#endif
