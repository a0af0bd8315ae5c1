/* What the daemons on a database tell each other of a repository's sync. */
#include "storage/sync_state.h"

#include "storage/sql.h"

#define OF_SOURCE " WHERE \"source\" = $1 AND \"repository\" = $2"

static struct sql place(const char *source, const char *repository)
{
    struct sql sql = {0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    return sql;
}

int sync_want(struct pool *pool, const char *source, const char *repository, struct error *err)
{
    const struct sql sql = place(source, repository);
    int rows;
    if (sql_change(pool, "UPDATE tekupdb.\"Source\" SET \"wanted\" = true" OF_SOURCE " RETURNING 1",
                   &sql, &rows, err) != 0)
        return -1;
    if (rows == 1) return 0;
    return error_set(err, ERR_NOT_FOUND, "repository", "there is no source %s %s", source,
                     repository);
}

int sync_is_wanted(struct pool *pool, const char *source, const char *repository, bool *wanted,
                   struct error *err)
{
    const struct sql sql = place(source, repository);
    int rows = 0;
    const int rc = sql_change(pool, "SELECT FROM tekupdb.\"Source\"" OF_SOURCE " AND \"wanted\"",
                              &sql, &rows, err);
    *wanted = rows == 1;
    return rc;
}

int sync_state_queued(struct pool *pool, const char *source, const char *repository,
                      struct error *err)
{
    const struct sql sql = place(source, repository);
    return sql_change(
        pool, "UPDATE tekupdb.\"Source\" SET \"cancelled\" = false" OF_SOURCE " AND \"cancelled\"",
        &sql, NULL, err);
}

int sync_state_begun(struct pool *pool, const char *source, const char *repository,
                     struct error *err)
{
    const struct sql sql = place(source, repository);
    return sql_change(
        pool, "UPDATE tekupdb.\"Source\" SET \"wanted\" = false" OF_SOURCE " AND \"wanted\"", &sql,
        NULL, err);
}

int sync_cancel(struct pool *pool, const char *source, const char *repository, struct error *err)
{
    const struct sql sql = place(source, repository);
    return sql_change(
        pool, "UPDATE tekupdb.\"Source\" SET \"cancelled\" = true, \"wanted\" = false" OF_SOURCE,
        &sql, NULL, err);
}

int sync_cancelled(struct pool *pool, sync_cancelled_fn each, void *arg, struct error *err)
{
    PGresult *result = sql_query(
        pool, "SELECT \"source\", \"repository\" FROM tekupdb.\"Source\" WHERE \"cancelled\"", NULL,
        err);
    if (result == NULL) return -1;
    for (int row = 0; row < PQntuples(result); row++)
        each(arg, sql_get_text(result, row, 0), sql_get_text(result, row, 1));
    PQclear(result);
    return 0;
}

int sync_progress_tell(struct pool *pool, const char *source, const char *repository,
                       const char *progress, long documents, struct error *err)
{
    struct sql sql = place(source, repository);
    sql_text(&sql, progress);
    sql_int4(&sql, (int)documents);
    return sql_change(pool,
                      "WITH told AS (UPDATE tekupdb.\"Source\" SET \"progress\" ="
                      " json_build_object('now', $3::json, 'last', \"progress\"->'last')" OF_SOURCE
                      ") UPDATE vault.\"VaultSyncStatus\" SET \"documentCount\" ="
                      " CASE WHEN $4 < 0 THEN \"documentCount\" ELSE $4 END" OF_SOURCE
                      " AND \"status\" = 'in_progress'",
                      &sql, NULL, err);
}

int sync_progress_keep(struct pool *pool, const char *source, const char *repository,
                       const char *progress, struct error *err)
{
    struct sql sql = place(source, repository);
    sql_text(&sql, progress);
    return sql_change(pool,
                      "UPDATE tekupdb.\"Source\" SET \"progress\" ="
                      " json_build_object('last', $3::json)" OF_SOURCE,
                      &sql, NULL, err);
}
