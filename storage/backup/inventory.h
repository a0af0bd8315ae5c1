/*
 * inventory.h: what a database has, as of one snapshot that pg_dump sees too; and the connection
 * for both.
 */
#ifndef STORAGE_BACKUP_INVENTORY_H
#define STORAGE_BACKUP_INVENTORY_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A connection by a connection string or URL as of pool.h; NULL on failure, as pool_lease. */
PGconn *backup_connect(const char *conninfo, struct error *err);

/* The connection's parameters as a string that other programs take, without its password. */
int backup_conninfo(PGconn *conn, struct buffer *conninfo, struct error *err);

struct backup_table {
    char *schema, *name;
    int64_t rows;
};

/* Starts as {0}. Strings are its own. */
struct backup_inventory {
    int server_version; /* 150014 */
    int migration;      /* the newest applied one; 0 where tekupdb has never been there */
    char *snapshot;     /* for pg_dump --snapshot, as long as the transaction is open */
    char *identity;     /* as feed_identify; empty where there is no feed */
    char **schemas;     /* all but PostgreSQL's own, public among them where something is in it */
    size_t schema_count;
    struct backup_table *tables; /* whose rows are in a dump */
    size_t table_count;
    char *roles;   /* SQL that makes the roles that the database knows, and their rights on it */
    char *sources; /* the settings of the sources: a JSON array of objects */
};

void backup_inventory_free(struct backup_inventory *inventory);

/* Begins a transaction, which stays open, and takes the inventory of what it sees. */
int backup_inventory_take(PGconn *conn, struct backup_inventory *inventory, struct error *err);

/* Which feed the database has, "" where it has none; the caller's to free. NULL on failure. */
char *backup_identity(PGconn *conn, struct error *err);

/* The result of a question about a table, whose name (as SQL writes it) stands between these two.
 * NULL on failure. */
PGresult *backup_ask_table(PGconn *conn, const char *before, const char *table, const char *after,
                           struct error *err);

/* Tables of tekupdb's whose rows are of one server and of the moment: where followers stand in the
 * change feed, the feed itself, which counts in the server's transactions, and the sockets of the
 * daemons. NULL-terminated, as pg_dump's --exclude-table-data wants them. */
extern const char *const backup_passing_tables[];

#endif
