/* What a sync asks of the vault before it writes: what is there, and what was paid for. */
#include "storage/embedding.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"

#include <string.h>

/* ---- Versions ---- */

/* An embedding that says nothing of its model counts as the asking model's own, as it does for the
 * mirror. A document without any embedding is current only where the model takes none of it; one of
 * which an older model did not take everything is not. */
static const char versions[] =
    "SELECT d.\"id\", d.\"path\", d.\"sha\", d.\"metadata\" ->> 'url',"
    " bool_and(CASE WHEN e.\"id\" IS NULL THEN EXISTS (SELECT FROM tekupdb.\"RejectedChunk\" r"
    " WHERE r.\"documentId\" = d.\"id\" AND r.\"model\" = $3)"
    " ELSE coalesce(c.\"model\", $3) = $3 END)"
    " AND NOT EXISTS (SELECT FROM tekupdb.\"RejectedChunk\" r"
    " WHERE r.\"documentId\" = d.\"id\" AND r.\"model\" <> $3)"
    " FROM vault.\"VaultDocument\" d"
    " LEFT JOIN vault.\"VaultEmbedding\" e ON e.\"documentId\" = d.\"id\""
    " LEFT JOIN tekupdb.\"Chunk\" c"
    " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
    " WHERE d.\"source\" = $1 AND d.\"repository\" = $2 GROUP BY d.\"id\"";

static int pass_versions(const PGresult *rows, vault_version_fn each, void *arg, struct error *err)
{
    for (int row = 0; row < PQntuples(rows); row++)
        if (each(arg, sql_get_text(rows, row, 0), sql_get_text(rows, row, 1),
                 sql_get_text(rows, row, 2), sql_get_text(rows, row, 3),
                 sql_get_bool(rows, row, 4)) != 0)
            return error_set(err, ERR_CANCELLED, NULL, "listing was stopped by its reader");
    return 0;
}

/* Row by row, so that nothing grows with the repository. */
static int stream_versions(PGconn *conn, const struct sql *sql, vault_version_fn each, void *arg,
                           struct error *err)
{
    if (!PQsendQueryParams(conn, versions, sql->count, sql->types, sql->values, sql->lengths,
                           sql->formats, 1) ||
        !PQsetSingleRowMode(conn))
        return pool_error(conn, NULL, err);
    PGresult *result;
    int rc = 0;
    while (rc == 0 && (result = PQgetResult(conn)) != NULL) {
        const ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_SINGLE_TUPLE)
            rc = pass_versions(result, each, arg, err);
        else if (status != PGRES_TUPLES_OK)
            rc = pool_error(conn, result, err);
        PQclear(result);
    }
    return rc; /* where rows are left over, the pool closes the connection */
}

int vault_list_versions(struct pool *pool, const char *source, const char *repository,
                        const char *model, vault_version_fn each, void *arg, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    sql_text(&sql, model);
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn, "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout TO 0", err);
    if (rc == 0) rc = stream_versions(conn, &sql, each, arg, err);
    pool_release(pool, conn);
    return rc;
}

/* ---- Embeddings that are there ---- */

static const char embeddings_by_hash[] =
    "SELECT u.place, found.\"embedding\" FROM unnest($2) WITH ORDINALITY AS u (hash, place)"
    " CROSS JOIN LATERAL (SELECT e.\"embedding\" FROM tekupdb.\"Chunk\" c"
    " JOIN vault.\"VaultEmbedding\" e"
    " ON e.\"id\" = c.\"embeddingId\" AND e.\"documentId\" = c.\"documentId\""
    " WHERE c.\"model\" = $1 AND c.\"contentHash\" = u.hash LIMIT 1) AS found";

static int reuse_some(PGconn *conn, const char *model, const uint8_t *hashes, size_t count,
                      float *embeddings, bool *found, struct error *err)
{
    PGresult *rows = sql_by_hashes(conn, embeddings_by_hash, model, hashes, count, err);
    if (rows == NULL) return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        const size_t place = sql_get_place(rows, row, count);
        if (place == count) continue;
        found[place] = embedding_decode(PQgetvalue(rows, row, 1), (size_t)PQgetlength(rows, row, 1),
                                        embeddings + place * EMBEDDING_DIM) == 0;
    }
    PQclear(rows);
    return 0;
}

int vault_reuse_embeddings(struct pool *pool, const char *model, const uint8_t *hashes,
                           size_t count, float *embeddings, bool *found, struct error *err)
{
    enum { BATCH = 256 }; /* up to 3 MB of embeddings in one result */
    memset(found, 0, count * sizeof(*found));
    if (count == 0) return 0;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < count; at += BATCH)
        rc = reuse_some(conn, model, hashes + at * SHA256_SIZE,
                        count - at < BATCH ? count - at : BATCH, embeddings + at * EMBEDDING_DIM,
                        found + at, err);
    pool_release(pool, conn);
    return rc;
}

/* ---- Texts that a model does not take ---- */

int vault_find_rejected(struct pool *pool, const char *model, const uint8_t *hashes, size_t count,
                        bool *rejected, struct error *err)
{
    memset(rejected, 0, count * sizeof(*rejected));
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    PGresult *rows =
        sql_by_hashes(conn,
                      "SELECT u.place FROM unnest($2) WITH ORDINALITY AS u (hash, place)"
                      " WHERE EXISTS (SELECT FROM tekupdb.\"RejectedChunk\" r"
                      " WHERE r.\"model\" = $1 AND r.\"contentHash\" = u.hash)",
                      model, hashes, count, err);
    pool_release(pool, conn);
    for (int row = 0; rows != NULL && row < PQntuples(rows); row++) {
        const size_t place = sql_get_place(rows, row, count);
        if (place < count) rejected[place] = true;
    }
    const int rc = rows != NULL ? 0 : -1;
    PQclear(rows);
    return rc;
}

/* ---- Counts ---- */

int vault_count(struct pool *pool, struct vault_counts *counts, struct error *err)
{
    *counts = (struct vault_counts){0};
    PGresult *row = sql_query(pool,
                              "SELECT (SELECT count(*) FROM vault.\"VaultDocument\"),"
                              " (SELECT count(*) FROM vault.\"VaultEmbedding\"),"
                              " (SELECT count(*) FROM tekupdb.\"Chunk\")",
                              NULL, err);
    if (row != NULL)
        *counts = (struct vault_counts){.documents = sql_get_int8(row, 0, 0),
                                        .embeddings = sql_get_int8(row, 0, 1),
                                        .chunks = sql_get_int8(row, 0, 2)};
    PQclear(row);
    return row != NULL ? 0 : -1;
}
