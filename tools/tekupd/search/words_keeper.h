/*
 * words_keeper.h: the thread that makes the words of passages that were in the vault before there
 * was full-text search (storage/vault/vault_text.h), a few at a time. Several daemons take turns.
 */
#ifndef TEKUPD_WORDS_KEEPER_H
#define TEKUPD_WORDS_KEEPER_H

#include "storage/base/error.h"

#include <stdbool.h>

struct daemon;
struct words_keeper;

/* The database has been migrated. */
struct words_keeper *words_keeper_create(struct daemon *daemon, struct error *err);

/* Whether full-text search has every passage, as far as this daemon knows; from any thread. */
bool words_keeper_complete(const struct daemon *daemon);

/* Ends what goes on and joins the thread. NULL is allowed in both. */
void words_keeper_stop(struct words_keeper *keeper);
void words_keeper_free(struct words_keeper *keeper);

#endif
