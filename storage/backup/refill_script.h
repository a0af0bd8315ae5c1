/*
 * refill_script.h: runs SQL that pg_restore writes, with the rows of tables between the statements
 * (COPY ... FROM stdin), on a connection.
 */
#ifndef STORAGE_BACKUP_REFILL_SCRIPT_H
#define STORAGE_BACKUP_REFILL_SCRIPT_H

#include "storage/base/error.h"

#include <libpq-fe.h>

/* Runs statements without rows between them, the whole of which is read first. */
int refill_statements(PGconn *conn, int fd, struct error *err);

/* Runs the section of the data, in pieces. tick (may be NULL) is called after each. */
int refill_rows(PGconn *conn, int fd, void (*tick)(void *arg), void *arg, struct error *err);

#endif
