#include "tools/tekupd/models.h"

#include "ingest/embedding/openai.h"
#include "storage/base/log.h"
#include "storage/model.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_BYTES = 250000 /* below the 300,000 tokens that OpenAI takes in a request */
};

/* `lock` protects what is below it. */
struct models {
    const struct config *config;
    struct http_client *http;
    struct pipeline *pipeline;
    struct embedder *wanted; /* the first of those known */
    pthread_mutex_t lock;
    struct embedder *known[MODELS_MOST];
    size_t count;
    struct embedder *serving;
};

/* ---- Making one ------------------------------------------------------------------------------ */

static struct embedder *make_openai(const struct models *models, const char *model,
                                    struct error *err)
{
    const struct config *config = models->config;
    const bool automatic = strcmp(config->embedding_dimensions, "auto") == 0;
    const struct openai_options options = {
        .http = models->http,
        .base_url = config->embedding_base_url,
        .model = model,
        .api_version = config->embedding_api_version,
        .key_env = config->embedding_key_env,
        .key_file = config->embedding_key_file,
        .ask_dimensions = automatic ? openai_takes_dimensions(model)
                                    : strcmp(config->embedding_dimensions, "on") == 0,
        .batch_texts = config->embedding_batch,
        .batch_bytes = BATCH_BYTES,
        .parallel = config->embedding_parallel,
    };
    return embedder_create_openai(&options, err);
}

static struct embedder *make_wanted(const struct models *models, struct error *err)
{
    const struct config *config = models->config;
    if (strcmp(config->embedding_provider, "openai") == 0)
        return make_openai(models, config->embedding_model, err);
    return embedder_create(config->embedding_provider, err);
}

/* A model that is not the configured one: `hash`, or else one of the server that is configured,
 * whether or not it is used. */
static struct embedder *make_other(const struct models *models, const char *model,
                                   struct error *err)
{
    char reason[sizeof(err->message) + 300];
    struct error why = {0};
    struct embedder *hash = embedder_create("hash", &why);
    if (hash != NULL && strcmp(embedder_model(hash), model) == 0) return hash;
    embedder_free(hash);
    struct embedder *other = make_openai(models, model, &why);
    if (other != NULL) return other;
    snprintf(reason, sizeof(reason),
             "the vault's embeddings are still of the model %s, which cannot be asked (%s); they "
             "are being replaced by those of %s",
             model, why.message, embedder_model(models->wanted));
    log_warn("model.absent", "model=%s reason=%s", log_quote(model), log_quote(why.message));
    return embedder_create_absent(model, reason, err);
}

/* ---- Knowing --------------------------------------------------------------------------------- */

/* With the lock held. */
static struct embedder *find(struct models *models, const char *model, struct error *err)
{
    for (size_t i = 0; i < models->count; i++)
        if (strcmp(embedder_model(models->known[i]), model) == 0) return models->known[i];
    if (models->count == MODELS_MOST) {
        error_set(err, ERR_INTERNAL, NULL, "more than %d embedding models within one run",
                  MODELS_MOST);
        return NULL;
    }
    struct embedder *made = make_other(models, model, err);
    if (made != NULL) models->known[models->count++] = made;
    return made;
}

struct embedder *models_embedder(struct models *models, const char *model, struct error *err)
{
    pthread_mutex_lock(&models->lock);
    struct embedder *embedder = find(models, model, err);
    pthread_mutex_unlock(&models->lock);
    return embedder;
}

size_t models_known(struct models *models, struct embedder *known[MODELS_MOST])
{
    pthread_mutex_lock(&models->lock);
    const size_t count = models->count;
    memcpy(known, models->known, count * sizeof(struct embedder *));
    pthread_mutex_unlock(&models->lock);
    return count;
}

const char *models_wanted(struct models *models)
{
    return embedder_model(models->wanted);
}

const char *models_serving(struct models *models)
{
    pthread_mutex_lock(&models->lock);
    const char *model = embedder_model(models->serving);
    pthread_mutex_unlock(&models->lock);
    return model;
}

int models_take(struct models *models, const char *model, struct error *err)
{
    pthread_mutex_lock(&models->lock);
    struct embedder *before = models->serving;
    struct embedder *embedder = find(models, model, err);
    if (embedder != NULL) {
        models->serving = embedder;
        models->pipeline->embedder = embedder;
    }
    pthread_mutex_unlock(&models->lock);
    if (embedder != NULL && embedder != before)
        log_info("model.serving", "model=%s", log_quote(model));
    return embedder != NULL ? 0 : -1;
}

int models_renew(struct models *models, struct error *err)
{
    struct model_state state;
    if (model_read(models->pipeline->pool, &state, err) != 0) return -1;
    return models_take(models, state.serving, err);
}

static void renew(void *arg)
{
    struct error err = {0};
    if (models_renew(arg, &err) != 0)
        log_warn("model.renew_failed", "error=%s", log_quote(err.message));
}

/* ---- Making all of it ------------------------------------------------------------------------ */

struct models *models_create(const struct config *config, struct http_client *http,
                             struct pipeline *pipeline, struct error *err)
{
    struct models *models = calloc(1, sizeof(*models));
    if (models == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    models->config = config;
    models->http = http;
    models->pipeline = pipeline;
    models->wanted = make_wanted(models, err);
    if (models->wanted == NULL) {
        free(models);
        return NULL;
    }
    pthread_mutex_init(&models->lock, NULL);
    models->known[models->count++] = models->serving = models->wanted;
    pipeline->embedder = models->wanted;
    pipeline->renew = renew;
    pipeline->renew_arg = models;
    return models;
}

void models_free(struct models *models)
{
    if (models == NULL) return;
    for (size_t i = 0; i < models->count; i++) embedder_free(models->known[i]);
    pthread_mutex_destroy(&models->lock);
    free(models);
}
