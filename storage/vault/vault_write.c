/*
 * Writing documents. Locks are taken in one order: the document's row (by the upsert, or FOR
 * UPDATE), then its embeddings and chunks. What is deleted is looked up by a statement after the
 * one that locks, so that it sees what a writer whom it waited for has committed. Other writers may
 * lock in other orders; a deadlock with them is tried again.
 */
#include "storage/base/utf8.h"
#include "storage/copy.h"
#include "storage/embedding.h"
#include "storage/model.h"
#include "storage/pool_internal.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 4, CONTENT_LIMIT = 1 << 29 };

void write_result_free(struct write_result *result)
{
    free(result->removed);
    result->removed = NULL;
    result->removed_count = 0;
}

/* ---- Checks ---- */

/* length counts up to the end or the first NUL for strings that have none inside by their form. */
static int check_text(const char *field, const char *text, size_t length, struct error *err)
{
    if (text == NULL) return error_set(err, ERR_INVALID, field, "%s is missing", field);
    if (memchr(text, '\0', length) != NULL)
        return error_set(err, ERR_INVALID, field, "%s has a NUL byte at %zu", field, strlen(text));
    const size_t valid = utf8_valid_prefix(text, length);
    if (valid != length)
        return error_set(err, ERR_INVALID, field, "%s is not valid UTF-8 at byte %zu", field,
                         valid);
    return 0;
}

static int check_name(const char *field, const char *text, struct error *err)
{
    if (text != NULL && text[0] == '\0')
        return error_set(err, ERR_INVALID, field, "%s is empty", field);
    return check_text(field, text, text != NULL ? strlen(text) : 0, err);
}

static int check_chunk(const struct document_write *write, size_t i, struct error *err)
{
    const struct chunk_write *chunk = &write->chunks[i];
    if (chunk->start > chunk->end || chunk->end > write->content_length)
        return error_set(err, ERR_INVALID, "chunks",
                         "chunk %zu has the range %zu to %zu, outside the content's %zu bytes", i,
                         chunk->start, chunk->end, write->content_length);
    if (chunk->embedding == NULL || !embedding_usable(chunk->embedding))
        return error_set(err, ERR_INVALID, "embedding",
                         "the embedding of chunk %zu is zero or has a number that is not finite",
                         i);
    return 0;
}

static int check_write(const struct document_write *write, struct error *err)
{
    if (check_name("source", write->source, err) != 0 ||
        check_name("repository", write->repository, err) != 0 ||
        check_name("path", write->path, err) != 0)
        return -1;
    if (write->content_length > CONTENT_LIMIT)
        return error_set(err, ERR_TOO_LARGE, "content",
                         "content has %zu bytes, over the limit of %d", write->content_length,
                         CONTENT_LIMIT);
    if (check_text("content", write->content, write->content_length, err) != 0) return -1;
    if (write->sha != NULL && check_text("sha", write->sha, strlen(write->sha), err) != 0)
        return -1;
    if (write->metadata != NULL &&
        check_text("metadata", write->metadata, strlen(write->metadata), err) != 0)
        return -1;
    if (write->chunk_count + write->rejected_count > 0 &&
        check_name("model", write->model, err) != 0)
        return -1;
    for (size_t i = 0; i < write->chunk_count; i++)
        if (check_chunk(write, i, err) != 0) return -1;
    return 0;
}

/* ---- Put ---- */

/* Begins the transaction and tells how embeddings are to be sent. The triggers need not make the
 * words of passages anew that are about to be replaced (migrations/0016_words.sql). */
static int begin_put(PGconn *conn, enum embedding_form *form, struct error *err)
{
    if (sql_run(conn, MODEL_BEGIN_WRITING "; SET LOCAL tekupdb.rewriting TO 'on'", err) != 0)
        return -1;
    PGresult *result = sql_execute(conn, embedding_form_query, NULL, err);
    if (result == NULL) return -1;
    *form = embedding_form_read(result);
    PQclear(result);
    return 0;
}

/* What PostgreSQL alone can tell of the input. */
static int put_error(PGconn *conn, const PGresult *result, struct error *err)
{
    pool_error(conn, result, err);
    if (sql_state_is(result, "22") && err != NULL) /* data exception: JSON is all that is parsed */
        error_set(err, ERR_INVALID, "metadata", "metadata is not what PostgreSQL takes as JSON");
    if (sql_state_is(result, "54")) /* an index entry is over its limit */
        error_set(err, ERR_INVALID, "path",
                  "source, repository and path are too long together for PostgreSQL's index");
    return -1;
}

static int upsert(struct pool *pool, PGconn *conn, const struct document_write *write,
                  struct write_result *result, struct error *err)
{
    static const char statement[] =
        "INSERT INTO vault.\"VaultDocument\" AS d (\"id\", \"source\", \"repository\", \"path\","
        " \"content\", \"sha\", \"metadata\", \"createdAt\", \"updatedAt\")"
        " VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, timezone('UTC', now()), timezone('UTC', "
        "now()))"
        " ON CONFLICT (\"source\", \"repository\", \"path\") DO UPDATE SET"
        " \"content\" = EXCLUDED.\"content\", \"sha\" = EXCLUDED.\"sha\","
        " \"metadata\" = EXCLUDED.\"metadata\", \"updatedAt\" = EXCLUDED.\"updatedAt\""
        " RETURNING d.\"id\", d.xmax = 0";
    char id[CUID_SIZE];
    struct sql sql = {0};
    pool_cuid(pool, id);
    sql_text(&sql, id);
    sql_text(&sql, write->source);
    sql_text(&sql, write->repository);
    sql_text(&sql, write->path);
    sql_text_length(&sql, write->content, write->content_length);
    sql_text(&sql, write->sha);
    sql_text(&sql, write->metadata);
    PGresult *row = PQexecParams(conn, statement, sql.count, sql.types, sql.values, sql.lengths,
                                 sql.formats, 1);
    int rc = 0;
    if (PQresultStatus(row) != PGRES_TUPLES_OK) {
        rc = put_error(conn, row, err);
    } else if (PQgetlength(row, 0, 0) >= DOCUMENT_ID_SIZE) {
        rc = error_set(err, ERR_INTERNAL, NULL, "the document's id is longer than %d characters",
                       DOCUMENT_ID_SIZE - 1);
    } else {
        snprintf(result->document_id, sizeof(result->document_id), "%s", sql_get_text(row, 0, 0));
        result->created = sql_get_bool(row, 0, 1); /* a row that was updated has an xmax */
    }
    PQclear(row);
    return rc;
}

/* Takes the numbers of the new embeddings from their sequence, so that they can be sent by COPY
 * together with the chunks that refer to them. */
static int reserve_ids(PGconn *conn, struct document_write *write, struct error *err)
{
    if (write->chunk_count == 0) return 0;
    struct sql sql = {0};
    sql_int4(&sql, (int32_t)write->chunk_count);
    PGresult *rows =
        sql_execute(conn,
                    "SELECT nextval(pg_get_serial_sequence('vault.\"VaultEmbedding\"', 'id'))"
                    " FROM generate_series(1, $1)",
                    &sql, err);
    if (rows == NULL) return -1;
    for (size_t i = 0; i < write->chunk_count; i++)
        write->chunks[i].embedding_id = sql_get_int8(rows, (int)i, 0);
    PQclear(rows);
    return 0;
}

static int copy_ids(const PGresult *rows, struct write_result *result, struct error *err)
{
    const int count = PQntuples(rows);
    free(result->removed);
    result->removed = NULL;
    result->removed_count = 0;
    if (count == 0) return 0;
    result->removed = malloc((size_t)count * sizeof(*result->removed));
    if (result->removed == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    for (int i = 0; i < count; i++) result->removed[i] = sql_get_int4(rows, i, 0);
    result->removed_count = (size_t)count;
    return 0;
}

/* Removes the embeddings and chunks that the document has, and chunks that somebody's TRUNCATE ...
 * RESTART IDENTITY has left behind under the new numbers. */
static int remove_old(PGconn *conn, const struct document_write *write, struct write_result *result,
                      struct error *err)
{
    static const char statement[] =
        "WITH chunks AS (DELETE FROM tekupdb.\"Chunk\""
        " WHERE \"documentId\" = $1 OR \"embeddingId\" = ANY($2)),"
        " rejected AS (DELETE FROM tekupdb.\"RejectedChunk\" WHERE \"documentId\" = $1)"
        " DELETE FROM vault.\"VaultEmbedding\" WHERE \"documentId\" = $1 RETURNING \"id\"";
    struct buffer ids = {0};
    sql_put_array(&ids, SQL_INT4, write->chunk_count);
    for (size_t i = 0; i < write->chunk_count; i++) {
        sql_put_int4(&ids, sizeof(int32_t));
        sql_put_int4(&ids, (int32_t)write->chunks[i].embedding_id);
    }
    int rc = -1;
    if (ids.failed) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    } else {
        struct sql sql = {0};
        sql_text(&sql, result->document_id);
        sql_bytes(&sql, SQL_INT4_ARRAY, ids.data, ids.length);
        PGresult *rows = sql_execute(conn, statement, &sql, err);
        if (rows != NULL) rc = copy_ids(rows, result, err);
        PQclear(rows);
    }
    buffer_free(&ids);
    return rc;
}

static int copy_embeddings(PGconn *conn, const struct document_write *write,
                           const char *document_id, enum embedding_form form, struct error *err)
{
    struct copy_in copy;
    if (copy_in_begin(&copy, conn,
                      "COPY vault.\"VaultEmbedding\" (\"id\", \"documentId\", \"embedding\")"
                      " FROM STDIN (FORMAT binary)",
                      err) != 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < write->chunk_count; i++) {
        rc = copy_in_row(&copy, 3, err);
        if (rc != 0) break;
        copy_in_int4(&copy, (int32_t)write->chunks[i].embedding_id);
        copy_in_bytes(&copy, document_id, strlen(document_id));
        embedding_encode(copy_in_open(&copy), form, write->chunks[i].embedding);
        copy_in_close(&copy);
    }
    return copy_in_end(&copy, rc != 0, err);
}

static int copy_chunks(PGconn *conn, const struct document_write *write, const char *document_id,
                       struct error *err)
{
    struct copy_in copy;
    if (copy_in_begin(&copy, conn,
                      "COPY tekupdb.\"Chunk\" (\"embeddingId\", \"documentId\", \"ordinal\","
                      " \"startByte\", \"endByte\", \"contentHash\", \"model\")"
                      " FROM STDIN (FORMAT binary)",
                      err) != 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < write->chunk_count; i++) {
        const struct chunk_write *chunk = &write->chunks[i];
        rc = copy_in_row(&copy, 7, err);
        if (rc != 0) break;
        copy_in_int4(&copy, (int32_t)chunk->embedding_id);
        copy_in_bytes(&copy, document_id, strlen(document_id));
        copy_in_int4(&copy, (int32_t)i);
        copy_in_int4(&copy, (int32_t)chunk->start);
        copy_in_int4(&copy, (int32_t)chunk->end);
        copy_in_bytes(&copy, chunk->hash, SHA256_SIZE);
        copy_in_bytes(&copy, write->model, strlen(write->model));
    }
    return copy_in_end(&copy, rc != 0, err);
}

/* There are few of them, if any. */
static int put_rejected(PGconn *conn, const struct document_write *write, const char *document_id,
                        struct error *err)
{
    for (size_t i = 0; i < write->rejected_count; i++) {
        const struct chunk_write *chunk = &write->rejected[i];
        struct sql sql = {0};
        sql_text(&sql, document_id);
        sql_int4(&sql, (int32_t)chunk->start);
        sql_int4(&sql, (int32_t)chunk->end);
        sql_bytes(&sql, SQL_BYTEA, chunk->hash, SHA256_SIZE);
        sql_text(&sql, write->model);
        PGresult *result = sql_execute(conn,
                                       "INSERT INTO tekupdb.\"RejectedChunk\" (\"documentId\","
                                       " \"startByte\", \"endByte\", \"contentHash\", \"model\")"
                                       " VALUES ($1, $2, $3, $4, $5)",
                                       &sql, err);
        if (result == NULL) return -1;
        PQclear(result);
    }
    return 0;
}

static int put_once(struct pool *pool, PGconn *conn, struct document_write *write,
                    struct write_result *result, struct error *err)
{
    enum embedding_form form;
    if (begin_put(conn, &form, err) != 0) return -1;
    if (write->chunk_count + write->rejected_count > 0 && model_check(conn, write->model, err) != 0)
        return -1;
    if (upsert(pool, conn, write, result, err) != 0) return -1;
    if (reserve_ids(conn, write, err) != 0) return -1;
    if (remove_old(conn, write, result, err) != 0) return -1;
    if (write->chunk_count > 0) {
        /* The trigger on the embeddings takes the words of their passages from the chunks. */
        if (copy_chunks(conn, write, result->document_id, err) != 0) return -1;
        if (copy_embeddings(conn, write, result->document_id, form, err) != 0) return -1;
    }
    if (put_rejected(conn, write, result->document_id, err) != 0) return -1;
    return sql_commit(conn, err);
}

int vault_put_document(struct pool *pool, struct document_write *write, struct write_result *result,
                       struct error *err)
{
    struct error why = {0};
    int rc = -1;
    *result = (struct write_result){0};
    if (check_write(write, err) != 0) return -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        PGconn *conn = pool_lease(pool, POOL_WAIT_MS, &why);
        if (conn == NULL) break;
        rc = put_once(pool, conn, write, result, &why);
        pool_release(pool, conn);
        if (rc == 0 || why.code != ERR_CONFLICT || model_differs(&why)) break;
    }
    if (rc != 0) {
        write_result_free(result);
        if (why.code == ERR_CONFLICT && !model_differs(&why))
            why.code = ERR_UNAVAILABLE; /* others keep being in the way */
        if (err != NULL) *err = why;
    }
    return rc;
}

/* ---- Delete ---- */

/* The ids of the documents that `lock` selects, as a binary text[]. */
static int lock_documents(PGconn *conn, const char *lock, const struct sql *sql, size_t *count,
                          struct buffer *ids, struct error *err)
{
    PGresult *rows = sql_execute(conn, lock, sql, err);
    if (rows == NULL) return -1;
    *count = (size_t)PQntuples(rows);
    sql_put_array(ids, SQL_TEXT, *count);
    for (size_t i = 0; i < *count; i++) {
        const int length = PQgetlength(rows, (int)i, 0);
        sql_put_int4(ids, length);
        buffer_append(ids, PQgetvalue(rows, (int)i, 0), (size_t)length);
    }
    PQclear(rows);
    return ids->failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory") : 0;
}

static int delete_locked(PGconn *conn, const struct buffer *ids, struct write_result *result,
                         struct error *err)
{
    static const char *const statements[] = {
        "DELETE FROM vault.\"VaultEmbedding\" WHERE \"documentId\" = ANY($1) RETURNING \"id\"",
        "DELETE FROM tekupdb.\"Chunk\" WHERE \"documentId\" = ANY($1)",
        "DELETE FROM tekupdb.\"RejectedChunk\" WHERE \"documentId\" = ANY($1)",
        "DELETE FROM vault.\"VaultDocument\" WHERE \"id\" = ANY($1)",
    };
    enum { TEXT_ARRAY = 1009 };
    struct sql sql = {0};
    sql_bytes(&sql, TEXT_ARRAY, ids->data, ids->length);
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        PGresult *rows = sql_execute(conn, statements[i], &sql, err);
        if (rows == NULL) return -1;
        const int rc = i == 0 ? copy_ids(rows, result, err) : 0;
        PQclear(rows);
        if (rc != 0) return -1;
    }
    return sql_commit(conn, err);
}

static int delete_once(PGconn *conn, const char *lock, const struct sql *sql, size_t *count,
                       struct write_result *result, struct error *err)
{
    struct buffer ids = {0};
    int rc = sql_run(conn, "BEGIN; SET LOCAL statement_timeout TO 0", err);
    if (rc == 0) rc = lock_documents(conn, lock, sql, count, &ids, err);
    if (rc == 0 && *count > 0) rc = delete_locked(conn, &ids, result, err);
    buffer_free(&ids);
    return rc;
}

static int delete_documents(struct pool *pool, const char *lock, const struct sql *sql,
                            size_t *count, struct write_result *result, struct error *err)
{
    struct error why = {0};
    int rc = -1;
    *result = (struct write_result){0};
    *count = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        PGconn *conn = pool_lease(pool, POOL_WAIT_MS, &why);
        if (conn == NULL) break;
        rc = delete_once(conn, lock, sql, count, result, &why);
        pool_release(pool, conn);
        if (rc == 0 || why.code != ERR_CONFLICT) break;
    }
    if (rc != 0) {
        write_result_free(result);
        *count = 0;
        if (why.code == ERR_CONFLICT) why.code = ERR_UNAVAILABLE;
        if (err != NULL) *err = why;
    }
    return rc;
}

int vault_delete_document(struct pool *pool, const char *id, struct write_result *result,
                          struct error *err)
{
    size_t count;
    struct sql sql = {0};
    *result = (struct write_result){0};
    if (check_name("id", id, err) != 0) return -1;
    sql_text(&sql, id);
    if (delete_documents(pool,
                         "SELECT \"id\" FROM vault.\"VaultDocument\" WHERE \"id\" = $1 FOR UPDATE",
                         &sql, &count, result, err) != 0)
        return -1;
    if (count == 0) return error_set(err, ERR_NOT_FOUND, "id", "there is no document %s", id);
    snprintf(result->document_id, sizeof(result->document_id), "%s", id);
    return 0;
}

int vault_delete_repository(struct pool *pool, const char *source, const char *repository,
                            size_t *documents, struct write_result *result, struct error *err)
{
    struct sql sql = {0};
    *result = (struct write_result){0};
    *documents = 0;
    if (check_name("source", source, err) != 0 || check_name("repository", repository, err) != 0)
        return -1;
    sql_text(&sql, source);
    sql_text(&sql, repository);
    return delete_documents(pool,
                            "SELECT \"id\" FROM vault.\"VaultDocument\""
                            " WHERE \"source\" = $1 AND \"repository\" = $2"
                            " ORDER BY \"id\" FOR UPDATE",
                            &sql, documents, result, err);
}
