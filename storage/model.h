/*
 * model.h: which embedding model the vault serves.
 *
 * The fact is in tekupdb."Model" and nowhere else. Searches, indexes and writers go by it: whoever
 * reads or writes embeddings of a model checks in the same transaction that it is the one that
 * serves (model_check), so that embeddings of two models never meet. How it becomes another one is
 * in model_change.h.
 *
 * Functions with a pool lease a connection of their own and may be called from any thread.
 */
#ifndef STORAGE_MODEL_H
#define STORAGE_MODEL_H

#include "storage/pool.h"

#include <stdint.h>

enum { MODEL_SIZE = 128 };

/* Sees to it that a model serves: the one that most of the vault's embeddings have, or `wanted`
 * where it holds none. */
int model_establish(struct pool *pool, const char *wanted, struct error *err);

struct model_state {
    char serving[MODEL_SIZE];
    /* The change that goes on, in this daemon or another; wanted is empty where there is none. */
    char wanted[MODEL_SIZE];
    int64_t done, total; /* embeddings */
    int64_t refused;     /* of those that are done: their texts are not taken */
    char error[400];     /* why it does not go on; empty: it does */
};
/* Errors: ERR_NOT_FOUND before model_establish. */
int model_read(struct pool *pool, struct model_state *state, struct error *err);

/* Tells all daemons of the change that goes on (wanted, done, total, refused, error). */
int model_report(struct pool *pool, const struct model_state *state, struct error *err);

/* The model that serves, on a connection of the caller's. Errors as model_read. */
int model_serving(PGconn *conn, char serving[MODEL_SIZE], struct error *err);

/* Whether this model serves, as the caller's transaction sees it; where none has been established
 * any does. Errors: ERR_CONFLICT (field "model"). */
int model_check(PGconn *conn, const char *model, struct error *err);

/* Whether err is that of model_check. */
bool model_differs(const struct error *err);

/* Begins a transaction for writing embeddings of the model that serves: it does not change before
 * its end. */
#define MODEL_BEGIN_WRITING "BEGIN; LOCK TABLE tekupdb.\"Model\" IN ROW SHARE MODE"

#endif
