/* copy.h: COPY in PostgreSQL's binary format, both ways, a row at a time. */
#ifndef STORAGE_COPY_H
#define STORAGE_COPY_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* ---- Writing ---- */

struct copy_in {
    PGconn *conn;
    struct buffer pending; /* rows that are not sent yet */
    size_t field;          /* where the field that is open starts, in pending */
};

int copy_in_begin(struct copy_in *copy, PGconn *conn, const char *statement, struct error *err);
int copy_in_row(struct copy_in *copy, int fields, struct error *err); /* begins a row */
void copy_in_int4(struct copy_in *copy, int32_t value);
void copy_in_bytes(struct copy_in *copy, const void *bytes, size_t length);
/* A field whose bytes are appended to the returned buffer until it is closed. */
struct buffer *copy_in_open(struct copy_in *copy);
void copy_in_close(struct copy_in *copy);
/* Sends the rest and waits for the server's word; with `failed` gives the COPY up instead, leaving
 * err alone, and returns -1. Releases what copy holds. */
int copy_in_end(struct copy_in *copy, bool failed, struct error *err);

/* Ends the sessions that have waited for so many seconds, within one of these, for a client that
 * hangs: other than a transaction that is idle, the server itself never gives such a COPY up, and
 * what it has locked stays locked. *ended counts them. Those of this database and role only. */
enum { COPY_PATIENCE_S = 20 };
int copy_in_end_hung(struct pool *pool, int seconds, size_t *ended, struct error *err);

/* ---- Reading ---- */

enum { COPY_FIELDS = 8 };

struct copy_out {
    PGconn *conn;
    char *row; /* libpq's */
    bool started;
    int count;
    const char *fields[COPY_FIELDS]; /* not NUL-terminated; NULL for SQL's NULL */
    int lengths[COPY_FIELDS];
};

int copy_out_begin(struct copy_out *copy, PGconn *conn, const char *statement, struct error *err);
/* Returns 1 with the next row, whose fields live until the next call, 0 after the last, -1 on
 * failure. */
int copy_out_row(struct copy_out *copy, struct error *err);
/* Releases the row. A COPY that was not read to its end leaves the connection busy, and the pool
 * closes it. */
void copy_out_end(struct copy_out *copy);

#endif
