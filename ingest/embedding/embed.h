/*
 * embed.h: turns texts into embeddings.
 *
 * Providers: `hash` (built in, no network: signed feature hashing of words and character n-grams,
 * Weinberger et al., arXiv 0902.2206; it finds shared words, not shared meaning), and `openai`, any
 * server that has OpenAI's embeddings call (openai.h).
 */
#ifndef INGEST_EMBED_H
#define INGEST_EMBED_H

#include "storage/base/error.h"
#include "storage/base/histogram.h"
#include "storage/vault/vault.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct embedder;
struct openai_options;

struct embed_text {
    const char *text; /* valid UTF-8, not NUL-terminated */
    size_t length;
};

/* provider "hash". Errors: ERR_INVALID (field "embedding.provider"). */
struct embedder *embedder_create(const char *provider, struct error *err);
/* Errors: ERR_INVALID with the field. */
struct embedder *embedder_create_openai(const struct openai_options *options, struct error *err);
/* For a model that cannot be asked: every call fails with ERR_UNAVAILABLE and the reason. */
struct embedder *embedder_create_absent(const char *model, const char *reason, struct error *err);
void embedder_free(struct embedder *embedder); /* NULL is allowed */

/* As the setting embedding.provider spells it; "none" for one that cannot be asked. */
const char *embedder_provider(const struct embedder *embedder);

/* The model's name as it is recorded with every embedding, e.g. "hash-1536-v1". */
const char *embedder_model(const struct embedder *embedder);

/* How many texts it takes at once at best: 1 where it makes no difference. */
size_t embedder_batch(const struct embedder *embedder);
/* And of how many bytes together; SIZE_MAX where that makes no difference. */
size_t embedder_batch_bytes(const struct embedder *embedder);

/* Whether it asks a server, which may take its time. */
bool embedder_asks(const struct embedder *embedder);

struct embed_call {
    const struct embed_text *texts;
    size_t count;
    float *out; /* count x EMBEDDING_DIM, each vector of length 1 */
    /* count flags, which become true for texts that the provider refuses and that have no vector;
     * NULL: a refused text fails the call (ERR_INVALID). */
    bool *refused;
    bool is_query; /* somebody waits for a search: it goes before documents, or fails soon */
    const atomic_bool *stop; /* ends the call with ERR_CANCELLED; or NULL */
    void (*waiting)(void *arg, const char *why, time_t until); /* as in http_client.h; or NULL */
    void *arg;
};

/* May be called from any thread. Errors: ERR_UNAVAILABLE (the provider is away, busy beyond what
 * can be waited for, or refuses us altogether), ERR_INVALID, ERR_CANCELLED. A text without a single
 * word or character to hash still gets a vector (of its bytes): never a zero vector. */
int embed_perform(struct embedder *embedder, const struct embed_call *call, struct error *err);

/* What became of the calls so far; from any thread. */
struct embed_figures {
    struct histogram seconds; /* of the calls, those included that failed */
    _Atomic uint64_t texts, failures;
};
const struct embed_figures *embedder_figures(const struct embedder *embedder, bool of_queries);

/* The same for texts alone. */
int embed_texts(struct embedder *embedder, const struct embed_text *texts, size_t count, float *out,
                struct error *err);

#endif
