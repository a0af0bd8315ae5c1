/*
 * models.h: the embedding models that this daemon knows how to ask, and which of them the vault
 * serves as far as the daemon knows (storage/model.h has the fact).
 *
 * An index is asked with embeddings of its own model, whatever serves by now: who searches a
 * replica takes models_embedder(replica_model). Embedders and the names of their models live as
 * long as this. All functions may be called from any thread.
 */
#ifndef TEKUPD_MODELS_H
#define TEKUPD_MODELS_H

#include "ingest/pipeline.h"
#include "tools/tekupd/config.h"

struct models;

/* Makes the configured one, which counts as the one that serves until models_take. The pipeline
 * gets the embedder of what serves, here and whenever that changes. All of them outlive it. Errors:
 * ERR_INVALID with the setting. */
struct models *models_create(const struct config *config, struct http_client *http,
                             struct pipeline *pipeline, struct error *err);
void models_free(struct models *models); /* NULL is allowed */

/* The configured one's name. */
const char *models_wanted(struct models *models);

/* The one that serves. */
const char *models_serving(struct models *models);

/* The database says that this one serves. Errors: ERR_INTERNAL (memory). */
int models_take(struct models *models, const char *model, struct error *err);

/* Asks the database, which has to have been there before (model_establish). */
int models_renew(struct models *models, struct error *err);

/* Those that were met so far; returns how many. */
enum { MODELS_MOST = 16 };
size_t models_known(struct models *models, struct embedder *known[MODELS_MOST]);

/* Never one of another model; where it cannot be asked, one that says why. NULL when memory ran
 * out. */
struct embedder *models_embedder(struct models *models, const char *model, struct error *err);

#endif
