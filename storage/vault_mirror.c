/* Reading the whole vault, for the index in memory. Rows go by one at a time; nothing here grows
 * with the tables. */
#include "storage/base/log.h"
#include "storage/copy.h"
#include "storage/embedding.h"
#include "storage/sql.h"
#include "storage/vault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A field as a string. Returns -1 when it does not fit or is NULL. */
static int field_text(const struct copy_out *copy, int field, char *out, size_t size)
{
    if (copy->fields[field] == NULL || (size_t)copy->lengths[field] >= size) return -1;
    memcpy(out, copy->fields[field], (size_t)copy->lengths[field]);
    out[copy->lengths[field]] = '\0';
    return 0;
}

static int stopped(struct error *err)
{
    return error_set(err, ERR_CANCELLED, NULL, "reading the vault was stopped by its reader");
}

/* Copies the fields of a document's row behind one another, each with a NUL, since COPY gives none.
 */
static int pass_document(const struct copy_out *copy, struct buffer *row,
                         const struct vault_reader *reader, struct error *err)
{
    size_t start[4];
    buffer_clear(row);
    for (int i = 0; i < 4; i++) {
        start[i] = row->length;
        buffer_append(row, copy->fields[i] != NULL ? copy->fields[i] : "",
                      (size_t)copy->lengths[i]);
        buffer_append(row, "", 1);
    }
    if (row->failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    const char *text = row->data;
    return reader->document(reader->arg, text + start[0], text + start[1], text + start[2],
                            text + start[3]) == 0
               ? 0
               : stopped(err);
}

static int read_documents(PGconn *conn, const struct vault_reader *reader, struct error *err)
{
    struct copy_out copy;
    struct buffer row = {0};
    if (copy_out_begin(&copy, conn,
                       "COPY (SELECT \"id\", \"source\", \"repository\", \"path\""
                       " FROM vault.\"VaultDocument\") TO STDOUT (FORMAT binary)",
                       err) != 0)
        return -1;
    int rc;
    while ((rc = copy_out_row(&copy, err)) > 0) {
        rc = pass_document(&copy, &row, reader, err);
        if (rc != 0) break;
    }
    copy_out_end(&copy);
    buffer_free(&row);
    return rc;
}

static int pass_embedding(const struct copy_out *copy, float *vector,
                          const struct vault_reader *reader, struct error *err)
{
    char document_id[256];
    if (copy->lengths[0] != sizeof(int32_t) ||
        field_text(copy, 1, document_id, sizeof(document_id)) != 0)
        return error_set(err, ERR_INTERNAL, NULL,
                         "PostgreSQL sent an embedding that cannot be read");
    const int64_t id = sql_read_int4(copy->fields[0]);
    if (copy->fields[2] == NULL ||
        embedding_decode(copy->fields[2], (size_t)copy->lengths[2], vector) != 0 ||
        !embedding_usable(vector)) {
        /* Another writer's mistake; no search could find it, and it must not keep the rest away. */
        log_warn("vault.embedding_skipped", "id=%" PRId64 " document=%s", id,
                 log_quote(document_id));
        return 0;
    }
    return reader->embedding(reader->arg, id, document_id, vector) == 0 ? 0 : stopped(err);
}

/* Those that say nothing of their model count as its own. */
static int read_embeddings(PGconn *conn, const char *model, const struct vault_reader *reader,
                           struct error *err)
{
    struct copy_out copy;
    struct buffer statement = {0};
    float *vector = malloc(EMBEDDING_DIM * sizeof(*vector));
    char *quoted = PQescapeLiteral(conn, model, strlen(model));
    int rc = -1;
    if (quoted != NULL)
        buffer_format(&statement,
                      "COPY (SELECT e.\"id\", e.\"documentId\", e.\"embedding\""
                      " FROM vault.\"VaultEmbedding\" e LEFT JOIN tekupdb.\"Chunk\" c"
                      " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
                      " WHERE c.\"model\" IS NULL OR c.\"model\" = %s) TO STDOUT (FORMAT binary)",
                      quoted);
    if (vector == NULL || quoted == NULL || statement.failed) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        goto out;
    }
    if (copy_out_begin(&copy, conn, statement.data, err) != 0) goto out;
    while ((rc = copy_out_row(&copy, err)) > 0) {
        rc = pass_embedding(&copy, vector, reader, err);
        if (rc != 0) break;
    }
    copy_out_end(&copy);
out:
    PQfreemem(quoted);
    buffer_free(&statement);
    free(vector);
    return rc;
}

/* Chunks whose embedding was removed by others. That they cannot be swept away, on a standby for
 * example, keeps nobody from reading. */
static int sweep_chunks(PGconn *conn, struct error *err)
{
    struct error why = {0};
    if (sql_run(conn,
                "BEGIN; SET LOCAL statement_timeout TO 0;"
                "DELETE FROM tekupdb.\"Chunk\" c WHERE NOT EXISTS (SELECT"
                " FROM vault.\"VaultEmbedding\" e WHERE e.\"id\" = c.\"embeddingId\""
                " AND e.\"documentId\" = c.\"documentId\");"
                "COMMIT",
                &why) == 0)
        return 0;
    if (PQstatus(conn) != CONNECTION_OK) {
        if (err != NULL) *err = why;
        return -1;
    }
    log_warn("vault.sweep_failed", "reason=%s", log_quote(why.message));
    return sql_run(conn, "ROLLBACK", err);
}

int vault_read_all(struct pool *pool, const char *model, const struct vault_reader *reader,
                   struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = sweep_chunks(conn, err);
    if (rc == 0)
        rc = sql_run(conn,
                     "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                     "SET LOCAL statement_timeout TO 0",
                     err);
    if (rc == 0) rc = read_documents(conn, reader, err);
    if (rc == 0) rc = read_embeddings(conn, model, reader, err);
    if (rc == 0) rc = sql_commit(conn, err);
    pool_release(pool, conn);
    return rc;
}
