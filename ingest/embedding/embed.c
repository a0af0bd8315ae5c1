/* embed.c: the provider that the daemon was told to use. */
#include "ingest/embedding/embed.h"

#include "ingest/clock.h"
#include "ingest/embedding/embed_provider.h"
#include "ingest/embedding/openai.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct embedder {
    const struct embed_provider *provider;
    void *state;
    char *model;
    size_t batch, batch_bytes;
    struct embed_figures documents, queries;
};

/* Takes over the state, also when it fails. */
static struct embedder *make(const struct embed_provider *provider, void *state, const char *model,
                             struct error *err)
{
    struct embedder *embedder = calloc(1, sizeof(*embedder));
    if (embedder != NULL && (embedder->model = strdup(model)) != NULL) {
        embedder->provider = provider;
        embedder->state = state;
        embedder->batch = 1;
        embedder->batch_bytes = SIZE_MAX;
        histogram_init(&embedder->documents.seconds, &histogram_calls);
        histogram_init(&embedder->queries.seconds, &histogram_calls);
        return embedder;
    }
    free(embedder);
    if (provider->close != NULL) provider->close(state);
    error_set(err, ERR_INTERNAL, NULL, "out of memory");
    return NULL;
}

struct embedder *embedder_create(const char *provider, struct error *err)
{
    if (strcmp(provider, embed_hash.name) == 0)
        return make(&embed_hash, NULL, EMBED_HASH_MODEL, err);
    error_set(err, ERR_INVALID, "embedding.provider",
              "embedding.provider \"%s\" is not known: it must be \"hash\" or \"openai\"",
              provider);
    return NULL;
}

struct embedder *embedder_create_openai(const struct openai_options *options, struct error *err)
{
    struct openai *state = openai_create(options, err);
    struct embedder *embedder =
        state != NULL ? make(&embed_openai, state, options->model, err) : NULL;
    if (embedder != NULL) {
        embedder->batch = (size_t)options->batch_texts;
        embedder->batch_bytes = (size_t)options->batch_bytes;
    }
    return embedder;
}

struct embedder *embedder_create_absent(const char *model, const char *reason, struct error *err)
{
    char *state = strdup(reason);
    if (state != NULL) return make(&embed_absent, state, model, err);
    error_set(err, ERR_INTERNAL, NULL, "out of memory");
    return NULL;
}

const char *embedder_provider(const struct embedder *embedder)
{
    return embedder->provider->name;
}

void embedder_free(struct embedder *embedder)
{
    if (embedder == NULL) return;
    if (embedder->provider->close != NULL) embedder->provider->close(embedder->state);
    free(embedder->model);
    free(embedder);
}

const char *embedder_model(const struct embedder *embedder)
{
    return embedder->model;
}

size_t embedder_batch(const struct embedder *embedder)
{
    return embedder->batch;
}

size_t embedder_batch_bytes(const struct embedder *embedder)
{
    return embedder->batch_bytes;
}

bool embedder_asks(const struct embedder *embedder)
{
    return embedder->provider != &embed_hash;
}

int embed_perform(struct embedder *embedder, const struct embed_call *call, struct error *err)
{
    if (call->refused != NULL) memset(call->refused, 0, call->count * sizeof(*call->refused));
    struct embed_figures *figures = call->is_query ? &embedder->queries : &embedder->documents;
    const double began = clock_now();
    const int rc = embedder->provider->embed(embedder->state, call, err);
    histogram_observe(&figures->seconds, clock_now() - began);
    if (rc == 0)
        atomic_fetch_add_explicit(&figures->texts, call->count, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&figures->failures, 1, memory_order_relaxed);
    return rc;
}

const struct embed_figures *embedder_figures(const struct embedder *embedder, bool of_queries)
{
    return of_queries ? &embedder->queries : &embedder->documents;
}

int embed_texts(struct embedder *embedder, const struct embed_text *texts, size_t count, float *out,
                struct error *err)
{
    const struct embed_call call = {.texts = texts, .count = count, .out = out};
    return embed_perform(embedder, &call, err);
}
