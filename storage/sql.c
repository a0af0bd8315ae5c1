#include "storage/sql.h"

#include "storage/base/digest.h"
#include "storage/pool.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* ---- Parameters ---- */

static void add(struct sql *sql, Oid type, const void *value, size_t length)
{
    if (sql->count == SQL_PARAMETERS) abort(); /* the statement is at fault, not its input */
    const int i = sql->count++;
    sql->types[i] = type;
    sql->values[i] = value;
    sql->lengths[i] = (int)length;
    sql->formats[i] = 1;
}

void sql_text(struct sql *sql, const char *text)
{
    add(sql, SQL_TEXT, text, text != NULL ? strlen(text) : 0);
}

void sql_text_length(struct sql *sql, const char *text, size_t length)
{
    add(sql, SQL_TEXT, text, length);
}

void sql_int4(struct sql *sql, int32_t value)
{
    const uint32_t number = htobe32((uint32_t)value);
    memcpy(sql->numbers[sql->count % SQL_PARAMETERS], &number, sizeof(number));
    add(sql, SQL_INT4, sql->numbers[sql->count], sizeof(number));
}

void sql_int8(struct sql *sql, int64_t value)
{
    const uint64_t number = htobe64((uint64_t)value);
    memcpy(sql->numbers[sql->count % SQL_PARAMETERS], &number, sizeof(number));
    add(sql, SQL_INT8, sql->numbers[sql->count], sizeof(number));
}

void sql_bytes(struct sql *sql, Oid type, const void *bytes, size_t length)
{
    add(sql, type, bytes, length);
}

/* ---- Execution ---- */

PGresult *sql_execute(PGconn *conn, const char *statement, const struct sql *sql, struct error *err)
{
    static const struct sql none;
    if (sql == NULL) sql = &none;
    PGresult *result = PQexecParams(conn, statement, sql->count, sql->types, sql->values,
                                    sql->lengths, sql->formats, 1);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
    pool_error(conn, result, err);
    PQclear(result);
    return NULL;
}

PGresult *sql_query(struct pool *pool, const char *statement, const struct sql *sql,
                    struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return NULL;
    PGresult *result = sql_execute(conn, statement, sql, err);
    pool_release(pool, conn);
    return result;
}

int sql_change(struct pool *pool, const char *statement, const struct sql *sql, int *rows,
               struct error *err)
{
    PGresult *result = sql_query(pool, statement, sql, err);
    if (result == NULL) return -1;
    if (rows != NULL) *rows = PQntuples(result);
    PQclear(result);
    return 0;
}

int sql_run(PGconn *conn, const char *statements, struct error *err)
{
    PGresult *result = PQexec(conn, statements);
    const ExecStatusType status = PQresultStatus(result);
    const int rc =
        status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ? 0 : pool_error(conn, result, err);
    PQclear(result);
    return rc;
}

int sql_commit(PGconn *conn, struct error *err)
{
    PGresult *result = PQexec(conn, "COMMIT");
    int rc = 0;
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        rc = pool_error(conn, result, err);
        if (PQstatus(conn) != CONNECTION_OK)
            error_prefix(err, "the connection was lost during COMMIT, which may have succeeded");
    } else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        /* A failed transaction answers COMMIT with ROLLBACK, without an error. */
        rc = error_set(err, ERR_INTERNAL, NULL, "PostgreSQL rolled the transaction back");
    }
    PQclear(result);
    return rc;
}

bool sql_state_is(const PGresult *result, const char *state)
{
    const char *have = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return have != NULL && strncmp(have, state, strlen(state)) == 0;
}

/* ---- Values ---- */

int16_t sql_read_int2(const char *bytes)
{
    uint16_t number;
    memcpy(&number, bytes, sizeof(number));
    return (int16_t)be16toh(number);
}

int32_t sql_read_int4(const char *bytes)
{
    uint32_t number;
    memcpy(&number, bytes, sizeof(number));
    return (int32_t)be32toh(number);
}

int64_t sql_read_int8(const char *bytes)
{
    uint64_t number;
    memcpy(&number, bytes, sizeof(number));
    return (int64_t)be64toh(number);
}

bool sql_is_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}

int32_t sql_get_int4(const PGresult *result, int row, int column)
{
    return PQgetlength(result, row, column) == 4 ? sql_read_int4(PQgetvalue(result, row, column))
                                                 : 0;
}

int64_t sql_get_int8(const PGresult *result, int row, int column)
{
    return PQgetlength(result, row, column) == 8 ? sql_read_int8(PQgetvalue(result, row, column))
                                                 : 0;
}

bool sql_get_bool(const PGresult *result, int row, int column)
{
    return PQgetlength(result, row, column) == 1 && PQgetvalue(result, row, column)[0] == 1;
}

const char *sql_get_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

char *sql_copy_text(const PGresult *result, int row, int column, bool *failed)
{
    const char *text = sql_get_text(result, row, column);
    if (text == NULL) return NULL;
    char *copy = strdup(text);
    if (copy == NULL) *failed = true;
    return copy;
}

/* ---- Building ---- */

void sql_put_int2(struct buffer *buffer, int16_t value)
{
    const uint16_t number = htobe16((uint16_t)value);
    buffer_append(buffer, &number, sizeof(number));
}

void sql_put_int4(struct buffer *buffer, int32_t value)
{
    const uint32_t number = htobe32((uint32_t)value);
    buffer_append(buffer, &number, sizeof(number));
}

void sql_put_int8(struct buffer *buffer, int64_t value)
{
    const uint64_t number = htobe64((uint64_t)value);
    buffer_append(buffer, &number, sizeof(number));
}

void sql_put_array(struct buffer *buffer, Oid element, size_t count)
{
    sql_put_int4(buffer, count > 0 ? 1 : 0); /* dimensions */
    sql_put_int4(buffer, 0);                 /* no NULLs */
    sql_put_int4(buffer, (int32_t)element);
    if (count == 0) return;
    sql_put_int4(buffer, (int32_t)count);
    sql_put_int4(buffer, 1); /* lower bound */
}

/* ---- By hashes ---- */

PGresult *sql_by_hashes(PGconn *conn, const char *statement, const char *model,
                        const uint8_t *hashes, size_t count, struct error *err)
{
    struct buffer list = {0};
    struct sql sql = {0};
    PGresult *rows = NULL;
    sql_put_array(&list, SQL_BYTEA, count);
    for (size_t i = 0; i < count; i++) {
        sql_put_int4(&list, SHA256_SIZE);
        buffer_append(&list, hashes + i * SHA256_SIZE, SHA256_SIZE);
    }
    sql_text(&sql, model);
    sql_bytes(&sql, SQL_BYTEA_ARRAY, list.data, list.length);
    if (list.failed)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else
        rows = sql_execute(conn, statement, &sql, err);
    buffer_free(&list);
    return rows;
}

size_t sql_get_place(const PGresult *result, int row, size_t count)
{
    const int64_t place = sql_get_int8(result, row, 0) - 1;
    return place >= 0 && (uint64_t)place < count ? (size_t)place : count;
}
