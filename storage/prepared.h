/*
 * prepared.h: statements that are executed so often that planning them would take longer than they
 * do.
 *
 * A statement is prepared on a connection when it is first executed there, and anew after a while:
 * PostgreSQL keeps the plan of a prepared statement, and one that was made when a table was empty
 * reads all of it when it is not. What a connection has prepared is kept with it (PGEVT of libpq)
 * and forgotten with it. Where the server does not have a statement after all, because a pooler
 * between gave the connection another session or somebody said DISCARD, or where its result has
 * changed its types, it is executed without.
 */
#ifndef STORAGE_PREPARED_H
#define STORAGE_PREPARED_H

#include "storage/sql.h"

/* As sql_execute. The statement's text stays the caller's, and has to stay for ever: a literal. The
 * types of its parameters are always the same. */
PGresult *prepared_execute(PGconn *conn, const char *statement, const struct sql *sql,
                           struct error *err);

/* As sql_query. */
PGresult *prepared_query(struct pool *pool, const char *statement, const struct sql *sql,
                         struct error *err);

#endif
