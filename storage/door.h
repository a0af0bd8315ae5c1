/*
 * door.h: vault.match_documents, and how it finds the daemons that answer it
 * (storage/migrations/0010_match_documents.sql).
 *
 * The function runs in the backends of PostgreSQL and asks a daemon over its socket, by the dblink
 * extension. Where to, and with which secret, it reads in tekupdb."Door", where each daemon writes
 * a row of its own.
 */
#ifndef STORAGE_DOOR_H
#define STORAGE_DOOR_H

#include "storage/base/error.h"
#include "storage/feed.h"
#include "storage/pool.h"

#include <stdbool.h>

enum { DOOR_SECRET_SIZE = 33 };

/* Installs dblink, into the schema tekupdb, whose functions nobody reaches. That it cannot be
 * installed is no failure; *why says so then. */
int door_make_dblink(PGconn *conn, struct error *why, struct error *err);

/* The same; makes the function anew for what there is; and lets tekup_vault call it by its bare
 * name. What the role may not do is left to an administrator, with a line in the log. *dblink says
 * whether the function can ask an index. On a migrated database, under the lock of migrations. */
int door_prepare(PGconn *conn, bool *dblink, struct error *err);

/* Makes vault.match_documents for the type that the embedding column has now, and for the dblink
 * that there is, if there is one (*dblink; may be NULL). Within the caller's transaction, as
 * tekup_admin. */
int door_define(PGconn *conn, bool *dblink, struct error *err);

/* A secret that nobody can guess: 32 hexadecimal digits. */
int door_make_secret(char secret[DOOR_SECRET_SIZE], struct error *err);

struct door {
    const char *run;    /* the directory of the daemon's sockets */
    const char *secret; /* as of door_make_secret */
    const char *model;  /* the embedding model of its searches */
    bool answers;       /* it has an index, and a socket to ask it by */
};

/* Writes the daemon's row, or writes it anew, and removes those that nobody has written for a day.
 */
int door_open(struct pool *pool, const struct door *door, struct error *err);

/* The row's life: it has to be written anew within that. */
enum { DOOR_LIFE_S = 24 * 3600 };

/* Which database the pool leads to, as feed_identify. */
int door_identify(struct pool *pool, char identity[FEED_IDENTITY_SIZE], struct error *err);

/* Takes the row of the daemon with these sockets out. */
int door_close(struct pool *pool, const char *run, struct error *err);

#endif
