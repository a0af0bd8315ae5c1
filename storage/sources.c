/* The repositories that are to be synced, how each stands, and where its last sync ended. */
#include "storage/sources.h"

#include "storage/base/utf8.h"
#include "storage/claims.h"
#include "storage/pool_internal.h"
#include "storage/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ISO(column) "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define NOW "timezone('UTC', now())"

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static int check_name(const char *field, const char *text, struct error *err)
{
    if (text == NULL || text[0] == '\0')
        return error_set(err, ERR_INVALID, field, "%s is empty", field);
    if (utf8_valid_prefix(text, strlen(text)) != strlen(text))
        return error_set(err, ERR_INVALID, field, "%s is not valid UTF-8", field);
    return 0;
}

static int check_place(const char *source, const char *repository, struct error *err)
{
    if (check_name("source", source, err) != 0) return -1;
    return check_name("repository", repository, err);
}

static struct sql place(const char *source, const char *repository)
{
    struct sql sql = {0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    return sql;
}

/* ---- Sources ---- */

void source_free(struct source *source)
{
    free(source->source);
    free(source->repository);
    free(source->config);
    *source = (struct source){0};
}

/* Both tables in one statement, and so in one transaction. */
static const char put_statement[] =
    "WITH status AS (INSERT INTO vault.\"VaultSyncStatus\""
    " (\"id\", \"source\", \"repository\", \"lastSyncAt\", \"status\")"
    " VALUES ($5, $1, $2, " NOW ", 'pending') ON CONFLICT (\"source\", \"repository\") DO NOTHING)"
    " INSERT INTO tekupdb.\"Source\" AS s (\"source\", \"repository\", \"config\","
    " \"intervalSeconds\", \"createdAt\", \"updatedAt\")"
    " VALUES ($1, $2, $3::jsonb, $4, " NOW ", " NOW ")"
    " ON CONFLICT (\"source\", \"repository\") DO UPDATE SET \"config\" = EXCLUDED.\"config\","
    " \"intervalSeconds\" = EXCLUDED.\"intervalSeconds\", \"updatedAt\" = EXCLUDED.\"updatedAt\""
    " RETURNING s.xmax = 0";

static int put_error(PGconn *conn, const PGresult *result, struct error *err)
{
    /* 22: not JSON. 23514: the check that it is an object. 54: the key is over the index's limit.
     */
    if (sql_state_is(result, "22") || sql_state_is(result, "23514"))
        return error_set(err, ERR_INVALID, "config", "config must be a JSON object");
    if (sql_state_is(result, "54"))
        return error_set(err, ERR_INVALID, "repository", "source and repository are too long");
    return pool_error(conn, result, err);
}

int sources_put(struct pool *pool, const char *source, const char *repository, const char *config,
                int interval_s, bool *created, struct error *err)
{
    char id[CUID_SIZE];
    if (check_place(source, repository, err) != 0) return -1;
    if (config == NULL || utf8_valid_prefix(config, strlen(config)) != strlen(config))
        return error_set(err, ERR_INVALID, "config", "config must be a JSON object in UTF-8");
    if (interval_s < 0)
        return error_set(err, ERR_INVALID, "intervalSeconds",
                         "intervalSeconds must not be negative");
    pool_cuid(pool, id);
    struct sql sql = place(source, repository);
    sql_text(&sql, config);
    sql_int4(&sql, interval_s);
    sql_text(&sql, id);
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    PGresult *result = PQexecParams(conn, put_statement, sql.count, sql.types, sql.values,
                                    sql.lengths, sql.formats, 1);
    int rc = 0;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        rc = put_error(conn, result, err);
    else if (created != NULL)
        *created = sql_get_bool(result, 0, 0);
    PQclear(result);
    pool_release(pool, conn);
    return rc;
}

#define SOURCE_COLUMNS                                                                             \
    "s.\"source\", s.\"repository\", s.\"config\"::text, s.\"intervalSeconds\", " ISO(             \
        "s.\"createdAt\"")

static int read_source(const PGresult *result, int row, struct source *source, struct error *err)
{
    bool failed = false;
    *source = (struct source){0};
    source->source = sql_copy_text(result, row, 0, &failed);
    source->repository = sql_copy_text(result, row, 1, &failed);
    source->config = sql_copy_text(result, row, 2, &failed);
    source->interval_s = sql_get_int4(result, row, 3);
    snprintf(source->created_at, sizeof(source->created_at), "%s", sql_get_text(result, row, 4));
    if (!failed) return 0;
    source_free(source);
    return no_memory(err);
}

int sources_get(struct pool *pool, const char *source, const char *repository, struct source *out,
                struct error *err)
{
    *out = (struct source){0};
    const struct sql sql = place(source, repository);
    PGresult *result = sql_query(pool,
                                 "SELECT " SOURCE_COLUMNS " FROM tekupdb.\"Source\" s"
                                 " WHERE \"source\" = $1 AND \"repository\" = $2",
                                 &sql, err);
    if (result == NULL) return -1;
    const int rc = PQntuples(result) == 1
                       ? read_source(result, 0, out, err)
                       : error_set(err, ERR_NOT_FOUND, "repository", "there is no source %s %s",
                                   source, repository);
    PQclear(result);
    return rc;
}

int sources_delete(struct pool *pool, const char *source, const char *repository, struct error *err)
{
    static const char statement[] =
        "WITH cursor AS (DELETE FROM tekupdb.\"Cursor\""
        " WHERE \"source\" = $1 AND \"repository\" = $2),"
        " status AS (DELETE FROM vault.\"VaultSyncStatus\""
        " WHERE \"source\" = $1 AND \"repository\" = $2"
        " AND EXISTS (SELECT FROM tekupdb.\"Source\""
        " WHERE \"source\" = $1 AND \"repository\" = $2))"
        " DELETE FROM tekupdb.\"Source\" WHERE \"source\" = $1 AND \"repository\" = $2 RETURNING 1";
    const struct sql sql = place(source, repository);
    PGresult *result = sql_query(pool, statement, &sql, err);
    if (result == NULL) return -1;
    const int rows = PQntuples(result);
    PQclear(result);
    if (rows == 1) return 0;
    return error_set(err, ERR_NOT_FOUND, "repository", "there is no source %s %s", source,
                     repository);
}

static void copy_short(const PGresult *result, int row, int column, char *out, size_t size)
{
    const char *text = sql_get_text(result, row, column);
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static void read_standing(const PGresult *result, int row, struct source *source)
{
    copy_short(result, row, 5, source->status, sizeof(source->status));
    copy_short(result, row, 6, source->last_sync_at, sizeof(source->last_sync_at));
    copy_short(result, row, 7, source->next_sync_at, sizeof(source->next_sync_at));
    source->document_count = sql_get_int4(result, row, 8);
}

static int copy_sources(const PGresult *result, struct source **sources, size_t *count,
                        struct error *err)
{
    const int rows = PQntuples(result);
    struct source *list = calloc((size_t)rows + 1, sizeof(*list));
    if (list == NULL) return no_memory(err);
    for (int row = 0; row < rows; row++) {
        if (read_source(result, row, &list[row], err) != 0) {
            while (--row >= 0) source_free(&list[row]);
            free(list);
            return -1;
        }
        read_standing(result, row, &list[row]);
    }
    *sources = list;
    *count = (size_t)rows;
    return 0;
}

int sources_list(struct pool *pool, struct source **sources, size_t *count, struct error *err)
{
    *sources = NULL;
    *count = 0;
    PGresult *result = sql_query(pool,
                                 "SELECT " SOURCE_COLUMNS ", coalesce(y.\"status\", ''), " ISO(
                                     "y.\"lastSyncAt\"") ", CASE WHEN "
                                                         "s.\"intervalSeconds\" > 0 "
                                                         "THEN " ISO("(y.\"lastSyncAt\" + "
                                                                     "make_interval(secs => "
                                                                     "s.\"intervalSeconds\")"
                                                                     ")") " END,"
                                                                          " coalesce(y."
                                                                          "\"documentCount\","
                                                                          " 0) FROM "
                                                                          "tekupdb."
                                                                          "\"Source\" s"
                                                                          " LEFT JOIN "
                                                                          "vault."
                                                                          "\"VaultSyncStatus"
                                                                          "\" y"
                                                                          " ON y.\"source\" "
                                                                          "= s.\"source\""
                                                                          " AND "
                                                                          "y.\"repository\" "
                                                                          "= s.\"repository\""
                                                                          " ORDER BY "
                                                                          "s.\"source\" "
                                                                          "COLLATE \"C\", "
                                                                          "s.\"repository\" "
                                                                          "COLLATE \"C\"",
                                 NULL, err);
    if (result == NULL) return -1;
    const int rc = copy_sources(result, sources, count, err);
    PQclear(result);
    return rc;
}

/* ---- VaultSyncStatus ---- */

void sync_status_free(struct sync_status *status)
{
    free(status->source);
    free(status->repository);
    free(status->error_message);
    free(status->progress);
    free(status->last);
    *status = (struct sync_status){0};
}

static int check_status(const char *status, struct error *err)
{
    static const char *const known[] = {"pending", "in_progress", "success", "error"};
    for (size_t i = 0; status != NULL && i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(status, known[i]) == 0) return 0;
    return error_set(err, ERR_INVALID, "status",
                     "status must be one of pending, in_progress, success, error");
}

/* A message may quote a file's name, whatever its bytes: what is not UTF-8 becomes '?', so that an
 * error is never lost for the way it is told. */
static char *clean_text(const char *text)
{
    char *clean = strdup(text);
    if (clean == NULL) return NULL;
    const size_t length = strlen(clean);
    for (size_t at = utf8_valid_prefix(clean, length); at < length;
         at += utf8_valid_prefix(clean + at, length - at))
        clean[at] = '?';
    return clean;
}

/* The count is taken in the statement itself; $6 says whether it is to be. */
static const char set_statement[] =
    "INSERT INTO vault.\"VaultSyncStatus\" AS s (\"id\", \"source\", \"repository\","
    " \"lastSyncAt\", \"status\", \"errorMessage\", \"documentCount\")"
    " SELECT $3, $1, $2, " NOW ", $4, $5, CASE WHEN $6 = 1 THEN (SELECT count(*)::integer"
    " FROM vault.\"VaultDocument\" WHERE \"source\" = $1 AND \"repository\" = $2) ELSE 0 END"
    " ON CONFLICT (\"source\", \"repository\") DO UPDATE SET"
    " \"lastSyncAt\" = EXCLUDED.\"lastSyncAt\", \"status\" = EXCLUDED.\"status\","
    " \"errorMessage\" = EXCLUDED.\"errorMessage\", \"documentCount\" ="
    " CASE WHEN $6 = 1 THEN EXCLUDED.\"documentCount\" ELSE s.\"documentCount\" END";

int sync_status_set(struct pool *pool, const char *source, const char *repository,
                    const char *status, const char *error_message, struct error *err)
{
    char id[CUID_SIZE];
    char *message = NULL;
    if (check_place(source, repository, err) != 0 || check_status(status, err) != 0) return -1;
    if (error_message != NULL && (message = clean_text(error_message)) == NULL)
        return no_memory(err);
    pool_cuid(pool, id);
    struct sql sql = place(source, repository);
    sql_text(&sql, id);
    sql_text(&sql, status);
    sql_text(&sql, message);
    sql_int4(&sql, strcmp(status, "success") == 0 || strcmp(status, "error") == 0);
    PGresult *result = sql_query(pool, set_statement, &sql, err);
    PQclear(result);
    free(message);
    return result != NULL ? 0 : -1;
}

int sync_status_is(struct pool *pool, const char *source, const char *repository,
                   const char *status, bool *same, struct error *err)
{
    struct sql sql = place(source, repository);
    sql_text(&sql, status);
    PGresult *result = sql_query(pool,
                                 "SELECT FROM vault.\"VaultSyncStatus\" WHERE \"source\" = $1"
                                 " AND \"repository\" = $2 AND \"status\" = $3",
                                 &sql, err);
    if (result == NULL) return -1;
    *same = PQntuples(result) == 1;
    PQclear(result);
    return 0;
}

static int read_status(const PGresult *result, int row, struct sync_status *status,
                       struct error *err)
{
    bool failed = false;
    *status = (struct sync_status){0};
    snprintf(status->id, sizeof(status->id), "%s", sql_get_text(result, row, 0));
    status->source = sql_copy_text(result, row, 1, &failed);
    status->repository = sql_copy_text(result, row, 2, &failed);
    snprintf(status->last_sync_at, sizeof(status->last_sync_at), "%s",
             sql_get_text(result, row, 3));
    snprintf(status->status, sizeof(status->status), "%s", sql_get_text(result, row, 4));
    status->error_message = sql_copy_text(result, row, 5, &failed);
    status->document_count = sql_get_int4(result, row, 6);
    status->progress = sql_copy_text(result, row, 7, &failed);
    status->last = sql_copy_text(result, row, 8, &failed);
    if (!failed) return 0;
    sync_status_free(status);
    return no_memory(err);
}

static int copy_statuses(const PGresult *result, struct sync_status **statuses, size_t *count,
                         struct error *err)
{
    const int rows = PQntuples(result);
    struct sync_status *list = calloc((size_t)rows + 1, sizeof(*list));
    if (list == NULL) return no_memory(err);
    for (int row = 0; row < rows; row++) {
        if (read_status(result, row, &list[row], err) != 0) {
            while (--row >= 0) sync_status_free(&list[row]);
            free(list);
            return -1;
        }
    }
    *statuses = list;
    *count = (size_t)rows;
    return 0;
}

int sync_status_list(struct pool *pool, struct sync_status **rows, size_t *count, struct error *err)
{
    *rows = NULL;
    *count = 0;
    PGresult *result = sql_query(
        pool,
        "SELECT y.\"id\", y.\"source\", y.\"repository\", " ISO(
            "y.\"lastSyncAt\"") ", y.\"status\", y.\"errorMessage\", y.\"documentCount\","
                                " CASE WHEN y.\"status\" = 'in_progress' THEN"
                                " s.\"progress\"->>'now' END, s.\"progress\"->>'last'"
                                " FROM vault.\"VaultSyncStatus\" y"
                                " LEFT JOIN tekupdb.\"Source\" s"
                                " ON s.\"source\" = y.\"source\""
                                " AND s.\"repository\" = y.\"repository\""
                                " ORDER BY y.\"lastSyncAt\" DESC,"
                                " y.\"source\" COLLATE \"C\", y.\"repository\" COLLATE \"C\"",
        NULL, err);
    if (result == NULL) return -1;
    const int rc = copy_statuses(result, rows, count, err);
    PQclear(result);
    return rc;
}

int sync_status_recover(struct pool *pool, size_t *recovered, struct error *err)
{
    PGresult *result =
        sql_query(pool,
                  "WITH running AS MATERIALIZED (SELECT y.* FROM"
                  " vault.\"VaultSyncStatus\" y WHERE y.\"status\" = 'in_progress'"
                  " AND NOT EXISTS (SELECT FROM tekupdb.\"Source\" s WHERE"
                  " s.\"source\" = y.\"source\" AND s.\"repository\" = y.\"repository\""
                  " AND s.\"intervalSeconds\" > 0)),"
                  " dead AS MATERIALIZED (SELECT r.\"id\" FROM running r"
                  " WHERE pg_try_advisory_xact_lock(" CLAIM_NUMBER(
                      "r") "))"
                           " UPDATE vault.\"VaultSyncStatus\" y SET \"status\" = 'error',"
                           " \"errorMessage\" = 'tekupd ended while this sync was running;"
                           " sync again to go on' FROM dead WHERE y.\"id\" = dead.\"id\""
                           " AND y.\"status\" = 'in_progress' RETURNING 1",
                  NULL, err);
    *recovered = 0;
    if (result == NULL) return -1;
    *recovered = (size_t)PQntuples(result);
    PQclear(result);
    return 0;
}

/* ---- The schedule ---- */

/* A row is made with its source, at the same moment; one that has been touched since was asked for.
 * A time to come is a clock that was set back, and says nothing. */
static const char due_statement[] =
    "SELECT s.\"source\", s.\"repository\", CASE WHEN s.\"wanted\" THEN 0"
    " WHEN y.\"id\" IS NULL OR y.\"lastSyncAt\" > " NOW " + interval '1 minute' THEN 0"
    " WHEN y.\"status\" IN ('pending', 'in_progress') AND y.\"lastSyncAt\" > s.\"createdAt\""
    " THEN 0 ELSE ceil(1000 * (s.\"intervalSeconds\" - extract(epoch FROM " NOW
    " - y.\"lastSyncAt\"))) END::bigint, s.\"intervalSeconds\""
    " FROM tekupdb.\"Source\" s LEFT JOIN vault.\"VaultSyncStatus\" y"
    " ON y.\"source\" = s.\"source\" AND y.\"repository\" = s.\"repository\""
    " WHERE s.\"intervalSeconds\" > 0 OR s.\"wanted\" ORDER BY 3, 1, 2";

int sources_due(struct pool *pool, source_due_fn due, void *arg, double *wait_s, struct error *err)
{
    PGresult *result = sql_query(pool, due_statement, NULL, err);
    if (result == NULL) return -1;
    for (int row = 0; row < PQntuples(result); row++) {
        double left_s = (double)sql_get_int8(result, row, 2) / 1e3;
        if (left_s <= 0) {
            due(arg, sql_get_text(result, row, 0), sql_get_text(result, row, 1));
            left_s = sql_get_int4(result, row, 3);
            if (left_s <= 0) continue; /* it has no interval */
        }
        if (left_s < *wait_s) *wait_s = left_s;
    }
    PQclear(result);
    return 0;
}

/* ---- Cursors ---- */

int cursor_get(struct pool *pool, const char *source, const char *repository, char **cursor,
               struct error *err)
{
    bool failed = false;
    *cursor = NULL;
    const struct sql sql = place(source, repository);
    PGresult *result = sql_query(pool,
                                 "SELECT \"cursor\" FROM tekupdb.\"Cursor\""
                                 " WHERE \"source\" = $1 AND \"repository\" = $2",
                                 &sql, err);
    if (result == NULL) return -1;
    if (PQntuples(result) == 1) *cursor = sql_copy_text(result, 0, 0, &failed);
    PQclear(result);
    return failed ? no_memory(err) : 0;
}

int cursor_set(struct pool *pool, const char *source, const char *repository, const char *cursor,
               struct error *err)
{
    if (check_place(source, repository, err) != 0) return -1;
    if (cursor == NULL || utf8_valid_prefix(cursor, strlen(cursor)) != strlen(cursor))
        return error_set(err, ERR_INVALID, "cursor", "a cursor must be text in UTF-8");
    struct sql sql = place(source, repository);
    sql_text(&sql, cursor);
    PGresult *result = sql_query(pool,
                                 "INSERT INTO tekupdb.\"Cursor\" (\"source\", \"repository\","
                                 " \"cursor\", \"updatedAt\") VALUES ($1, $2, $3, " NOW ")"
                                 " ON CONFLICT (\"source\", \"repository\") DO UPDATE SET"
                                 " \"cursor\" = EXCLUDED.\"cursor\","
                                 " \"updatedAt\" = EXCLUDED.\"updatedAt\"",
                                 &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}
