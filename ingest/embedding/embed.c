/* embed.c: chooses the provider of embeddings by its name. */
#include "ingest/embedding/embed.h"

#include "ingest/embedding/embed_provider.h"

#include <stdlib.h>
#include <string.h>

struct embedder {
    const struct embed_provider *provider;
};

static const struct embed_provider *const providers[] = {&embed_hash};

struct embedder *embedder_create(const char *provider, struct error *err)
{
    for (size_t i = 0; i < sizeof(providers) / sizeof(*providers); i++) {
        if (strcmp(providers[i]->name, provider) != 0) continue;
        struct embedder *embedder = malloc(sizeof(*embedder));
        if (embedder == NULL) {
            error_set(err, ERR_INTERNAL, NULL, "out of memory");
            return NULL;
        }
        embedder->provider = providers[i];
        return embedder;
    }
    error_set(err, ERR_INVALID, "embedding.provider",
              "embedding.provider \"%s\" is not known: it must be \"hash\"", provider);
    return NULL;
}

void embedder_free(struct embedder *embedder)
{
    free(embedder);
}

const char *embedder_model(const struct embedder *embedder)
{
    return embedder->provider->model;
}

int embed_texts(struct embedder *embedder, const struct embed_text *texts, size_t count, float *out,
                struct error *err)
{
    return embedder->provider->embed(texts, count, out, err);
}
