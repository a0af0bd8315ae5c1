#include "storage/copy.h"

#include "storage/pool.h"
#include "storage/sql.h"

#include <string.h>

static const char signature[11] = "PGCOPY\n\377\r\n"; /* with its NUL */

enum { SEND_SIZE = 1 << 16, HEAD_SIZE = sizeof(signature) + 8 };

static int finish(PGconn *conn, struct error *err)
{
    int rc = 0;
    PGresult *result;
    while ((result = PQgetResult(conn)) != NULL) {
        if (rc == 0 && PQresultStatus(result) != PGRES_COMMAND_OK)
            rc = pool_error(conn, result, err);
        PQclear(result);
    }
    return rc;
}

static int begin(PGconn *conn, const char *statement, ExecStatusType expected, struct error *err)
{
    PGresult *result = PQexec(conn, statement);
    const int rc = PQresultStatus(result) == expected ? 0 : pool_error(conn, result, err);
    PQclear(result);
    return rc;
}

/* ---- Writing ---- */

static int send_pending(struct copy_in *copy, struct error *err)
{
    if (copy->pending.failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    if (PQputCopyData(copy->conn, copy->pending.data, (int)copy->pending.length) != 1)
        return pool_error(copy->conn, NULL, err);
    buffer_clear(&copy->pending);
    return 0;
}

/* What tells these from others, as of a restore, whose client may take its time. */
#define MARK "/* copy_in */ "

int copy_in_begin(struct copy_in *copy, PGconn *conn, const char *statement, struct error *err)
{
    struct buffer marked = {0};
    *copy = (struct copy_in){.conn = conn};
    buffer_format(&marked, MARK "%s", statement);
    const int rc = marked.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                                 : begin(conn, marked.data, PGRES_COPY_IN, err);
    buffer_free(&marked);
    if (rc != 0) return -1;
    buffer_append(&copy->pending, signature, sizeof(signature));
    sql_put_int4(&copy->pending, 0); /* flags */
    sql_put_int4(&copy->pending, 0); /* no extension of the head */
    return 0;
}

int copy_in_row(struct copy_in *copy, int fields, struct error *err)
{
    if (copy->pending.length >= SEND_SIZE && send_pending(copy, err) != 0) return -1;
    sql_put_int2(&copy->pending, (int16_t)fields);
    return 0;
}

void copy_in_int4(struct copy_in *copy, int32_t value)
{
    sql_put_int4(&copy->pending, sizeof(value));
    sql_put_int4(&copy->pending, value);
}

void copy_in_bytes(struct copy_in *copy, const void *bytes, size_t length)
{
    sql_put_int4(&copy->pending, (int32_t)length);
    buffer_append(&copy->pending, bytes, length);
}

struct buffer *copy_in_open(struct copy_in *copy)
{
    sql_put_int4(&copy->pending, 0); /* the length, known when it is closed */
    copy->field = copy->pending.length;
    return &copy->pending;
}

void copy_in_close(struct copy_in *copy)
{
    if (copy->pending.failed) return;
    struct buffer length = {0};
    sql_put_int4(&length, (int32_t)(copy->pending.length - copy->field));
    if (length.failed)
        copy->pending.failed = true;
    else
        memcpy(copy->pending.data + copy->field - sizeof(int32_t), length.data, sizeof(int32_t));
    buffer_free(&length);
}

int copy_in_end(struct copy_in *copy, bool failed, struct error *err)
{
    int rc = failed ? -1 : 0;
    if (rc == 0) {
        sql_put_int2(&copy->pending, -1);
        rc = send_pending(copy, err);
    }
    buffer_free(&copy->pending);
    if (rc != 0) {
        /* The first failure is the one to tell; this only brings the connection back to order. */
        if (PQputCopyEnd(copy->conn, "given up") == 1) finish(copy->conn, NULL);
        return -1;
    }
    if (PQputCopyEnd(copy->conn, NULL) != 1) return pool_error(copy->conn, NULL, err);
    return finish(copy->conn, err);
}

int copy_in_end_hung(struct pool *pool, int seconds, size_t *ended, struct error *err)
{
    static const char statement[] =
        "WITH hung AS MATERIALIZED (SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = current_user AND state = 'active'"
        " AND wait_event = 'ClientRead' AND starts_with(query, '" MARK "')"
        " AND query_start < clock_timestamp() - make_interval(secs => $1))"
        " SELECT pid FROM hung WHERE pg_terminate_backend(pid)";
    struct sql sql = {0};
    sql_int4(&sql, seconds);
    PGresult *result = sql_query(pool, statement, &sql, err);
    *ended = 0;
    if (result == NULL) return -1;
    *ended = (size_t)PQntuples(result);
    PQclear(result);
    return 0;
}

/* ---- Reading ---- */

int copy_out_begin(struct copy_out *copy, PGconn *conn, const char *statement, struct error *err)
{
    *copy = (struct copy_out){.conn = conn};
    return begin(conn, statement, PGRES_COPY_OUT, err);
}

/* Splits the row at `at` into its fields. Returns 1, 0 for the trailer, or -1 when it is cut. */
static int split(struct copy_out *copy, const char *at, const char *end)
{
    if (end - at < 2) return -1;
    copy->count = sql_read_int2(at);
    at += 2;
    if (copy->count == -1) return 0;
    if (copy->count < 0 || copy->count > COPY_FIELDS) return -1;
    for (int i = 0; i < copy->count; i++) {
        if (end - at < 4) return -1;
        const int32_t length = sql_read_int4(at);
        at += 4;
        if (length > end - at) return -1;
        copy->fields[i] = length < 0 ? NULL : at;
        copy->lengths[i] = length < 0 ? 0 : length;
        at += copy->lengths[i];
    }
    return 1;
}

int copy_out_row(struct copy_out *copy, struct error *err)
{
    for (;;) {
        PQfreemem(copy->row);
        copy->row = NULL;
        const int length = PQgetCopyData(copy->conn, &copy->row, 0);
        if (length == -1) return finish(copy->conn, err);
        if (length < 0) return pool_error(copy->conn, NULL, err);
        const char *at = copy->row;
        if (!copy->started) {
            /* The head comes in front of the first row, or alone. */
            if (length < HEAD_SIZE || memcmp(at, signature, sizeof(signature)) != 0) break;
            copy->started = true;
            at += HEAD_SIZE;
            if (at == copy->row + length) continue;
        }
        const int rc = split(copy, at, copy->row + length);
        if (rc < 0) break;
        if (rc > 0) return 1;
    }
    return error_set(err, ERR_INTERNAL, NULL, "PostgreSQL sent a COPY that cannot be read");
}

void copy_out_end(struct copy_out *copy)
{
    PQfreemem(copy->row);
    copy->row = NULL;
}
