/* Reading the vault for the index in memory, all of it or some rows. Rows go by one at a time by
 * binary COPY; nothing here grows with the tables. */
#include "storage/base/log.h"
#include "storage/copy.h"
#include "storage/embedding.h"
#include "storage/feed.h"
#include "storage/model.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_ONE_MOMENT "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

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

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* A reading that is under way. */
struct reading {
    PGconn *conn;
    const struct vault_reader *reader;
    struct buffer row; /* the fields of a document behind one another, each with a NUL */
    float *vector;
};

/* The document of the row's fields from `first` on: id, source, repository, path. COPY gives no
 * NUL.
 */
static int pass_document(struct reading *reading, const struct copy_out *copy, int first,
                         struct error *err)
{
    size_t start[4];
    struct buffer *row = &reading->row;
    buffer_clear(row);
    for (int i = 0; i < 4; i++) {
        start[i] = row->length;
        buffer_append(row, copy->fields[first + i] != NULL ? copy->fields[first + i] : "",
                      (size_t)copy->lengths[first + i]);
        buffer_append(row, "", 1);
    }
    if (row->failed) return out_of_memory(err);
    const char *text = row->data;
    return reading->reader->document(reading->reader->arg, text + start[0], text + start[1],
                                     text + start[2], text + start[3]) == 0
               ? 0
               : stopped(err);
}

/* The embedding of the row: id, vector, the document's id, and perhaps the document's place. */
static int pass_embedding(struct reading *reading, const struct copy_out *copy, struct error *err)
{
    char document_id[256];
    if (copy->lengths[0] != sizeof(int32_t) ||
        field_text(copy, 2, document_id, sizeof(document_id)) != 0)
        return error_set(err, ERR_INTERNAL, NULL,
                         "PostgreSQL sent an embedding that cannot be read");
    const int64_t id = sql_read_int4(copy->fields[0]);
    if (copy->fields[1] == NULL ||
        embedding_decode(copy->fields[1], (size_t)copy->lengths[1], reading->vector) != 0 ||
        !embedding_usable(reading->vector)) {
        /* Another writer's mistake; no search could find it, and it must not keep the rest away. */
        log_warn("vault.embedding_skipped", "id=%" PRId64 " document=%s", id,
                 log_quote(document_id));
        return 0;
    }
    return reading->reader->embedding(reading->reader->arg, id, document_id, reading->vector) == 0
               ? 0
               : stopped(err);
}

static int pass_row(struct reading *reading, const struct copy_out *copy, struct error *err)
{
    if (copy->count == 4) return pass_document(reading, copy, 0, err);
    if (copy->count == 6 && pass_document(reading, copy, 2, err) != 0) return -1;
    return pass_embedding(reading, copy, err);
}

/* Rows of four fields are documents; of three embeddings; of six embeddings with their documents.
 */
static int read_rows(struct reading *reading, const struct buffer *query, struct error *err)
{
    struct copy_out copy;
    struct buffer statement = {0};
    if (!query->failed)
        buffer_format(&statement, "COPY (%s) TO STDOUT (FORMAT binary)", query->data);
    int rc = -1;
    if (query->failed || statement.failed)
        out_of_memory(err);
    else
        rc = copy_out_begin(&copy, reading->conn, statement.data, err);
    buffer_free(&statement);
    if (rc != 0) return -1;
    while ((rc = copy_out_row(&copy, err)) > 0) {
        rc = pass_row(reading, &copy, err);
        if (rc != 0) break;
    }
    copy_out_end(&copy);
    return rc;
}

static int reading_begin(struct reading *reading, PGconn *conn, const struct vault_reader *reader,
                         struct error *err)
{
    *reading = (struct reading){.conn = conn, .reader = reader};
    reading->vector = malloc(EMBEDDING_DIM * sizeof(float));
    return reading->vector != NULL ? 0 : out_of_memory(err);
}

static void reading_end(struct reading *reading)
{
    free(reading->vector);
    buffer_free(&reading->row);
}

/* Those that say nothing of their model count as its own. */
static void put_embeddings_query(struct buffer *query, PGconn *conn, bool with_place,
                                 const char *model, const struct buffer *condition)
{
    char *quoted = PQescapeLiteral(conn, model, strlen(model));
    buffer_format(query,
                  "SELECT e.\"id\", e.\"embedding\", e.\"documentId\"%s"
                  " FROM vault.\"VaultEmbedding\" e%s LEFT JOIN tekupdb.\"Chunk\" c"
                  " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
                  " WHERE (c.\"model\" IS NULL OR c.\"model\" = %s)",
                  with_place ? ", d.\"source\", d.\"repository\", d.\"path\"" : "",
                  with_place ? " JOIN vault.\"VaultDocument\" d ON d.\"id\" = e.\"documentId\""
                             : "",
                  quoted != NULL ? quoted : "");
    if (condition != NULL) buffer_format(query, " AND (%s)", condition->data);
    if (quoted == NULL || (condition != NULL && condition->failed)) query->failed = true;
    PQfreemem(quoted);
}

/* ---- All ---- */

static int read_whole(struct reading *reading, const char *model, struct error *err)
{
    struct buffer documents = {0}, embeddings = {0};
    buffer_text(&documents, "SELECT \"id\", \"source\", \"repository\", \"path\""
                            " FROM vault.\"VaultDocument\"");
    put_embeddings_query(&embeddings, reading->conn, false, model, NULL);
    int rc = read_rows(reading, &documents, err);
    if (rc == 0) rc = read_rows(reading, &embeddings, err);
    buffer_free(&documents);
    buffer_free(&embeddings);
    return rc;
}

int vault_read_all(PGconn *conn, const char *model, const struct vault_reader *reader,
                   char **position, struct error *err)
{
    struct reading reading;
    *position = NULL;
    if (reading_begin(&reading, conn, reader, err) != 0) return -1;
    int rc = sql_run(conn, READ_ONE_MOMENT ";SET LOCAL statement_timeout TO 0", err);
    if (rc == 0) rc = feed_now(conn, position, err);
    if (rc == 0) rc = model_check(conn, model, err);
    if (rc == 0) rc = read_whole(&reading, model, err);
    if (rc == 0) rc = sql_commit(conn, err);
    if (rc != 0) {
        free(*position);
        *position = NULL;
    }
    reading_end(&reading);
    return rc;
}

/* ---- Some ---- */

static void put_texts(struct buffer *condition, PGconn *conn, const char *column,
                      const char *const *texts, size_t count)
{
    buffer_format(condition, "%s = ANY(ARRAY[", column);
    for (size_t i = 0; i < count; i++) {
        char *quoted = PQescapeLiteral(conn, texts[i], strlen(texts[i]));
        if (quoted == NULL) condition->failed = true;
        buffer_format(condition, "%s%s", i > 0 ? "," : "", quoted != NULL ? quoted : "");
        PQfreemem(quoted);
    }
    buffer_text(condition, "]::text[])");
}

static void put_numbers(struct buffer *condition, const int64_t *numbers, size_t count)
{
    buffer_text(condition, "e.\"id\" = ANY('{");
    for (size_t i = 0; i < count; i++)
        buffer_format(condition, "%s%" PRId64, i > 0 ? "," : "", numbers[i]);
    buffer_text(condition, "}'::int[])");
}

static int read_some_documents(struct reading *reading, const char *const *ids, size_t count,
                               struct error *err)
{
    struct buffer query = {0};
    buffer_text(&query, "SELECT \"id\", \"source\", \"repository\", \"path\""
                        " FROM vault.\"VaultDocument\" WHERE ");
    put_texts(&query, reading->conn, "\"id\"", ids, count);
    const int rc = read_rows(reading, &query, err);
    buffer_free(&query);
    return rc;
}

static int read_some_embeddings(struct reading *reading, const char *model,
                                const struct buffer *condition, struct error *err)
{
    struct buffer query = {0};
    put_embeddings_query(&query, reading->conn, true, model, condition);
    const int rc = read_rows(reading, &query, err);
    buffer_free(&query);
    return rc;
}

int vault_read_some(PGconn *conn, const char *model, const char *const *documents,
                    size_t document_count, bool whole, const int64_t *embeddings,
                    size_t embedding_count, const struct vault_reader *reader, struct error *err)
{
    struct reading reading;
    struct buffer condition = {0};
    if (document_count > VAULT_SOME || embedding_count > VAULT_SOME)
        return error_set(err, ERR_INTERNAL, NULL, "more than %d rows were asked for", VAULT_SOME);
    if (reading_begin(&reading, conn, reader, err) != 0) return -1;
    const bool own = PQtransactionStatus(conn) == PQTRANS_IDLE;
    int rc = own ? sql_run(conn, READ_ONE_MOMENT, err) : 0;
    if (rc == 0) rc = model_check(conn, model, err);
    if (rc == 0 && document_count > 0)
        rc = read_some_documents(&reading, documents, document_count, err);
    if (rc == 0 && embedding_count > 0) {
        put_numbers(&condition, embeddings, embedding_count);
        rc = read_some_embeddings(&reading, model, &condition, err);
    }
    if (rc == 0 && document_count > 0 && whole) {
        buffer_clear(&condition);
        put_texts(&condition, conn, "e.\"documentId\"", documents, document_count);
        rc = read_some_embeddings(&reading, model, &condition, err);
    }
    if (own && PQtransactionStatus(conn) != PQTRANS_IDLE &&
        sql_run(conn, "ROLLBACK", rc == 0 ? err : NULL) != 0)
        rc = -1;
    buffer_free(&condition);
    reading_end(&reading);
    return rc;
}

/* ---- Sweeping ---- */

int vault_sweep_chunks(struct pool *pool, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = sql_run(conn,
                           "BEGIN; SET LOCAL statement_timeout TO 0;"
                           "DELETE FROM tekupdb.\"Chunk\" c WHERE NOT EXISTS (SELECT"
                           " FROM vault.\"VaultEmbedding\" e WHERE e.\"id\" = c.\"embeddingId\""
                           " AND e.\"documentId\" = c.\"documentId\");"
                           "DELETE FROM tekupdb.\"ChunkWords\" w WHERE NOT EXISTS (SELECT"
                           " FROM vault.\"VaultEmbedding\" e WHERE e.\"id\" = w.\"embeddingId\""
                           " AND e.\"documentId\" = w.\"documentId\");"
                           "DELETE FROM tekupdb.\"RejectedChunk\" r WHERE NOT EXISTS (SELECT"
                           " FROM vault.\"VaultDocument\" d WHERE d.\"id\" = r.\"documentId\");"
                           "COMMIT",
                           err);
    pool_release(pool, conn);
    return rc;
}
