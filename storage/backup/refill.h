/*
 * refill.h: puts what was dumped into a database, in one transaction, in the place of what is
 * there.
 *
 * pg_restore writes the dump as SQL, which is run on one connection: what is there is locked and
 * dropped, the roles that are missing and everything of the dump is made, the rows of each table
 * are counted and compared with those of the inventory, the change feed begins anew, and all other
 * sessions are ended, so that whoever had read the database before sees that it is another one. If
 * anything fails or anybody is killed before the commit, the database is as it was. Extensions stay
 * as they are, since they are the server's to give; those that are missing are made.
 *
 * It needs room for both databases until the commit, and the rights of the owner of what is there;
 * sessions of others can only be ended by a superuser or a member of pg_signal_backend.
 */
#ifndef STORAGE_BACKUP_REFILL_H
#define STORAGE_BACKUP_REFILL_H

#include "storage/backup/inventory.h"

#include <stdatomic.h>

struct refill {
    /* Writes the dump to the descriptor, from its beginning, in a thread of its own. Who reads may
     * go away before its end (EPIPE), which is no failure. Adds what it wrote to *fed. */
    int (*feed)(void *arg, int fd, atomic_ullong *fed, struct error *err);
    void *arg;
    int major; /* of the pg_dump that wrote it */
    const struct backup_inventory *inventory;
    bool replace; /* what is there; else ERR_CONFLICT where there are rows */
    /* Called now and then, with what of the dump's bytes has been read in the long part. */
    void (*progress)(void *arg, unsigned long long fed, const char *doing);
    /* A warning of the server's, or something to know. */
    void (*note)(void *arg, const char *message);
    void *watcher;
};

/* *identity is of the feed that the database has from then on; the caller's to free. Errors:
 * ERR_CONFLICT (rows are there; or the sessions of others cannot be ended), ERR_INVALID (a newer
 * server wrote it), ERR_NOT_FOUND (pg_restore is missing), and what PostgreSQL says. */
int refill_run(PGconn *conn, const struct refill *refill, char **identity, struct error *err);

#endif
