/*
 * pool.h: the daemon's connections to PostgreSQL.
 *
 * At most `size` connections, opened when they are first needed and leased to one thread at a time.
 * A connection that died (server restarted, cable cut) is noticed when it is leased or released and
 * is opened again; the work that was under way on it fails with ERR_UNAVAILABLE. So it does, and so
 * do leases, while a server hangs, where somebody watches (pool_watch.h).
 * All functions may be called from any thread.
 */
#ifndef STORAGE_POOL_H
#define STORAGE_POOL_H

#include "storage/base/error.h"
#include "storage/base/histogram.h"

#include <libpq-fe.h>
#include <stdbool.h>

enum { POOL_MAX = 10, POOL_WAIT_MS = 10000 };

struct pool;

/* conninfo is anything libpq takes, a URL or key=value pairs. Parameters that Prisma adds to its
 * URLs and libpq does not know (schema, connection_limit, pool_timeout, pgbouncer, ...) are left
 * out. Opens no connection yet. size is 1 to POOL_MAX. Errors: ERR_INVALID (field "DATABASE_URL").
 */
struct pool *pool_create(const char *conninfo, int size, struct error *err);

/* No lease may be outstanding. NULL is allowed. */
void pool_free(struct pool *pool);

/* A working connection, outside any transaction, or NULL. Waits up to wait_ms for one to be free.
 * Errors: ERR_UNAVAILABLE with the server's own words. */
PGconn *pool_lease(struct pool *pool, int wait_ms, struct error *err);

/* Gives the connection back; a transaction that was left open is rolled back. */
void pool_release(struct pool *pool, PGconn *conn);

/* A connection of the caller's own, beside the pool's and with the same settings, for what lasts:
 * released with PQfinish. NULL on failure, as pool_lease. */
PGconn *pool_connect(struct pool *pool, struct error *err);

struct pool_stats {
    int size, open, leased, waiting;
    unsigned long long leases, opened, failures;
};
void pool_get_stats(struct pool *pool, struct pool_stats *stats);

/* How long leases took, with opening a connection and with those in vain. As old as the pool. */
const struct histogram *pool_waits(const struct pool *pool);

/* Turns a failed result or connection into an error: ERR_UNAVAILABLE when the connection is lost,
 * the server is shutting down, starting, full or a standby, or a time limit was reached (SQLSTATE
 * classes 08, 53, 57P0x, and 57014, 55P03, 25006), ERR_CONFLICT for unique violations and where two
 * transactions were in each other's way (23505, class 40), ERR_INVALID for text that is not UTF-8
 * (22021, 22P05), ERR_INTERNAL otherwise, with the server's message on one line. Returns -1. */
int pool_error(PGconn *conn, const PGresult *result, struct error *err);

#endif
