/*
 * sql.h: one statement with its parameters, and the values of its result, all in PostgreSQL's
 * binary formats (numbers in network byte order, text as it is).
 */
#ifndef STORAGE_SQL_H
#define STORAGE_SQL_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* Type numbers of pg_type.dat that never change. */
enum { SQL_BOOL = 16, SQL_BYTEA = 17, SQL_INT8 = 20, SQL_INT4 = 23, SQL_TEXT = 25, SQL_REAL = 700 };
enum { SQL_INT4_ARRAY = 1007, SQL_BYTEA_ARRAY = 1001 };

/* ---- Parameters: $1, $2, ... in the order they are added ---- */

enum { SQL_PARAMETERS = 12 };

/* Starts as {0}. Texts and bytes stay the caller's and must outlive the execution. Numbers are kept
 * inside, so it must not be copied once it has one. */
struct sql {
    int count;
    Oid types[SQL_PARAMETERS];
    const char *values[SQL_PARAMETERS];
    int lengths[SQL_PARAMETERS];
    int formats[SQL_PARAMETERS];
    unsigned char numbers[SQL_PARAMETERS][8];
};

void sql_text(struct sql *sql, const char *text); /* NULL is SQL's NULL */
void sql_text_length(struct sql *sql, const char *text, size_t length);
void sql_int4(struct sql *sql, int32_t value);
void sql_int8(struct sql *sql, int64_t value);
void sql_bytes(struct sql *sql, Oid type, const void *bytes, size_t length);

/* ---- Execution ---- */

/* The result of one statement, or NULL with the error of pool_error. sql may be NULL. */
PGresult *sql_execute(PGconn *conn, const char *statement, const struct sql *sql,
                      struct error *err);

/* The same on a connection that is leased for it, so that it is a transaction of its own. */
PGresult *sql_query(struct pool *pool, const char *statement, const struct sql *sql,
                    struct error *err);

/* The same, of which only the number of rows that it returns is of interest; rows may be NULL. */
int sql_change(struct pool *pool, const char *statement, const struct sql *sql, int *rows,
               struct error *err);

/* Statements without parameters whose results, but for their failure, are of no interest. */
int sql_run(PGconn *conn, const char *statements, struct error *err);

/* Ends the transaction. A connection that is lost here leaves open whether it was committed; the
 * message says so. */
int sql_commit(PGconn *conn, struct error *err);

/* Whether the failed result has this SQLSTATE, or one of its class where two characters are given.
 */
bool sql_state_is(const PGresult *result, const char *state);

/* ---- Values of a result ---- */

bool sql_is_null(const PGresult *result, int row, int column);
int32_t sql_get_int4(const PGresult *result, int row, int column);
int64_t sql_get_int8(const PGresult *result, int row, int column);
bool sql_get_bool(const PGresult *result, int row, int column);
/* The result's own memory, NUL-terminated; NULL for SQL's NULL. */
const char *sql_get_text(const PGresult *result, int row, int column);
/* A copy that the caller frees. NULL for SQL's NULL, and when memory ran out (*failed is set). */
char *sql_copy_text(const PGresult *result, int row, int column, bool *failed);

/* ---- Many texts of one model, by their hashes ---- */

/* Executes a statement whose $1 is the model, whose $2 are count hashes (bytea[], SHA256_SIZE bytes
 * each), and whose first column says which of them a row is about, counted from 1. */
PGresult *sql_by_hashes(PGconn *conn, const char *statement, const char *model,
                        const uint8_t *hashes, size_t count, struct error *err);
/* Which hash a row of its result is about, counted from 0; count where it is none. */
size_t sql_get_place(const PGresult *result, int row, size_t count);

/* ---- Building binary values ---- */

void sql_put_int2(struct buffer *buffer, int16_t value);
void sql_put_int4(struct buffer *buffer, int32_t value);
void sql_put_int8(struct buffer *buffer, int64_t value);
/* The head of a one-dimensional array without NULLs; its elements follow, each an int4 length and
 * its bytes. */
void sql_put_array(struct buffer *buffer, Oid element, size_t count);

int16_t sql_read_int2(const char *bytes);
int32_t sql_read_int4(const char *bytes);
int64_t sql_read_int8(const char *bytes);

#endif
