/*
 * model_keeper.h: the thread that knows which model the vault serves, and that changes it.
 *
 * Every daemon looks every second or two. The one that leads embeds the whole vault again where
 * another model is configured than serves (storage/model_change.h), while searches and writes go on
 * with the one that serves; when everything is there it switches. What it has done is kept in the
 * database, so that a daemon that is killed, or another one that leads then, goes on from there.
 */
#ifndef TEKUPD_MODEL_KEEPER_H
#define TEKUPD_MODEL_KEEPER_H

#include "storage/base/error.h"
#include "storage/model.h"

struct daemon;
struct model_keeper;

/* The database has been migrated and serves a model. */
struct model_keeper *model_keeper_create(struct daemon *daemon, struct error *err);

/* How it stood at the last look; from any thread. */
void model_keeper_get(struct model_keeper *keeper, struct model_state *state);

/* Ends what goes on and joins the thread. NULL is allowed in both. */
void model_keeper_stop(struct model_keeper *keeper);
void model_keeper_free(struct model_keeper *keeper);

#endif
