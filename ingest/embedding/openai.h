/*
 * openai.h: embeddings from a server that has OpenAI's call, POST BASE/embeddings: OpenAI, Azure,
 * Ollama, llama.cpp, vLLM and others.
 *
 * Texts of all callers are put together into batches, by count and by bytes (a text never has more
 * tokens than bytes), and a few batches are on their way at once. What the server says of its
 * limits (x-ratelimit-*, Retry-After) is kept to. A text that the server refuses is found by
 * halving its batch. Numbers are asked for in base64 (little-endian float32), and taken in decimals
 * from servers that do not know that.
 */
#ifndef INGEST_OPENAI_H
#define INGEST_OPENAI_H

#include "ingest/embedding/embed_provider.h"

struct http_client;
struct openai;

#define OPENAI_BASE_URL "https://api.openai.com/v1"

struct openai_options {
    struct http_client *http; /* outlives the provider */
    const char *base_url;     /* NULL or "": OPENAI_BASE_URL */
    const char *model;
    const char *api_version; /* of Azure, whose key goes in the header api-key; NULL or "": none */
    const char *key_env;     /* names the environment variable; NULL or "": OPENAI_API_KEY, */
    const char *key_file;    /* unless there is a file */
    bool ask_dimensions;     /* ask for EMBEDDING_DIM numbers; models without that refuse it */
    int batch_texts, batch_bytes; /* the most in one request */
    int parallel;                 /* requests for documents at once */
};

/* Whether a model takes the parameter `dimensions`: OpenAI's third generation does. */
bool openai_takes_dimensions(const char *model);

/* Reads the key; a server that is not OpenAI's or Azure's may need none. Errors: ERR_INVALID. */
struct openai *openai_create(const struct openai_options *options, struct error *err);

extern const struct embed_provider embed_openai;

#endif
