#include "storage/model.h"

#include "storage/sql.h"

#include <stdio.h>
#include <string.h>

/* ---- Reading ---- */

static int take_text(char *out, size_t size, const PGresult *row, int column)
{
    const char *text = sql_get_text(row, 0, column);
    return snprintf(out, size, "%s", text != NULL ? text : "") < (int)size ? 0 : -1;
}

static int take_serving(const PGresult *row, char serving[MODEL_SIZE], struct error *err)
{
    if (PQntuples(row) == 0)
        return error_set(err, ERR_NOT_FOUND, NULL, "no embedding model is recorded yet");
    if (take_text(serving, MODEL_SIZE, row, 0) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "the name of the model %.60s... is too long",
                         serving);
    return 0;
}

int model_serving(PGconn *conn, char serving[MODEL_SIZE], struct error *err)
{
    PGresult *row = sql_execute(conn, "SELECT \"serving\" FROM tekupdb.\"Model\"", NULL, err);
    if (row == NULL) return -1;
    const int rc = take_serving(row, serving, err);
    PQclear(row);
    return rc;
}

int model_check(PGconn *conn, const char *model, struct error *err)
{
    char serving[MODEL_SIZE];
    struct error why = {0};
    if (model_serving(conn, serving, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) return 0;
        if (err != NULL) *err = why;
        return -1;
    }
    if (strcmp(serving, model) == 0) return 0;
    return error_set(err, ERR_CONFLICT, "model",
                     "the vault's embeddings are of the model %s now, not of %s", serving, model);
}

bool model_differs(const struct error *err)
{
    return err->code == ERR_CONFLICT && strcmp(err->field, "model") == 0;
}

static int read_state(PGconn *conn, struct model_state *state, struct error *err)
{
    PGresult *row = sql_execute(conn,
                                "SELECT \"serving\", \"wanted\", \"error\", \"done\", \"total\","
                                " \"refused\" FROM tekupdb.\"Model\"",
                                NULL, err);
    if (row == NULL) return -1;
    *state = (struct model_state){0};
    const int rc = take_serving(row, state->serving, err);
    if (rc == 0) {
        take_text(state->wanted, sizeof(state->wanted), row, 1);
        take_text(state->error, sizeof(state->error), row, 2);
        state->done = sql_get_int8(row, 0, 3);
        state->total = sql_get_int8(row, 0, 4);
        state->refused = sql_get_int8(row, 0, 5);
    }
    PQclear(row);
    return rc;
}

int model_read(struct pool *pool, struct model_state *state, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = read_state(conn, state, err);
    pool_release(pool, conn);
    return rc;
}

/* ---- Writing ---- */

int model_report(struct pool *pool, const struct model_state *state, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, *state->wanted != '\0' ? state->wanted : NULL);
    sql_int8(&sql, state->done);
    sql_int8(&sql, state->total);
    sql_int8(&sql, state->refused);
    sql_text(&sql, *state->error != '\0' ? state->error : NULL);
    return sql_change(pool,
                      "UPDATE tekupdb.\"Model\" SET \"wanted\" = $1, \"done\" = $2,"
                      " \"total\" = $3, \"refused\" = $4, \"error\" = $5",
                      &sql, NULL, err);
}

/* Nobody has to wait where there is nothing to do, which is nearly always. */
static int is_established(PGconn *conn, const char *wanted, bool *established, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, wanted);
    PGresult *row =
        sql_execute(conn,
                    "SELECT EXISTS (SELECT FROM tekupdb.\"Model\" WHERE \"serving\" = $1"
                    " OR EXISTS (SELECT FROM vault.\"VaultEmbedding\"))",
                    &sql, err);
    if (row == NULL) return -1;
    *established = sql_get_bool(row, 0, 0);
    PQclear(row);
    return 0;
}

static int establish(PGconn *conn, const char *wanted, struct error *err)
{
    static const char *const statements[] = {
        "INSERT INTO tekupdb.\"Model\" (\"serving\") SELECT coalesce((SELECT c.\"model\""
        " FROM tekupdb.\"Chunk\" c JOIN vault.\"VaultEmbedding\" e"
        " ON e.\"id\" = c.\"embeddingId\" AND e.\"documentId\" = c.\"documentId\""
        " GROUP BY c.\"model\" ORDER BY count(*) DESC, 1 LIMIT 1), $1)"
        " WHERE NOT EXISTS (SELECT FROM tekupdb.\"Model\")",
        "UPDATE tekupdb.\"Model\" SET \"serving\" = $1, \"changedAt\" = now(), \"wanted\" = NULL"
        " WHERE \"serving\" <> $1 AND NOT EXISTS (SELECT FROM vault.\"VaultEmbedding\")"};
    struct sql sql = {0};
    sql_text(&sql, wanted);
    if (sql_run(conn,
                "BEGIN; SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO '5s';"
                "LOCK TABLE tekupdb.\"Model\" IN EXCLUSIVE MODE",
                err) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        PGresult *result = sql_execute(conn, statements[i], &sql, err);
        if (result == NULL) return -1;
        PQclear(result);
    }
    return sql_commit(conn, err);
}

int model_establish(struct pool *pool, const char *wanted, struct error *err)
{
    bool established = false;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = is_established(conn, wanted, &established, err);
    if (rc == 0 && !established) rc = establish(conn, wanted, err);
    pool_release(pool, conn);
    return rc;
}
