/* embed_provider.h: what embed.c needs of each way to make embeddings. */
#ifndef INGEST_EMBED_PROVIDER_H
#define INGEST_EMBED_PROVIDER_H

#include "ingest/embedding/embed.h"

struct embed_provider {
    const char *name;  /* as embedding.provider spells it */
    const char *model; /* as it is recorded with each embedding */
    int (*embed)(const struct embed_text *texts, size_t count, float *out, struct error *err);
};

extern const struct embed_provider embed_hash;

#endif
