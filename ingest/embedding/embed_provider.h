/* embed_provider.h: what embed.c needs of each way to make embeddings. */
#ifndef INGEST_EMBED_PROVIDER_H
#define INGEST_EMBED_PROVIDER_H

#include "ingest/embedding/embed.h"

struct embed_provider {
    const char *name; /* as embedding.provider spells it */
    int (*embed)(void *state, const struct embed_call *call, struct error *err);
    void (*close)(void *state); /* NULL where there is no state */
};

#define EMBED_HASH_MODEL "hash-1536-v1"
extern const struct embed_provider embed_hash;

/* One whose calls fail, for the reason that is its state (a string, which it frees). */
extern const struct embed_provider embed_absent;

#endif
