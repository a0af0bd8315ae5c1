/* Reading documents, by id, by place, in order, by metadata, and for search results. */
#include "storage/base/utf8.h"
#include "storage/prepared.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"
#include "storage/vault/vault_row.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- One document ---- */

static int get_one(struct pool *pool, const char *statement, const struct sql *sql,
                   struct document *document, struct error *err)
{
    *document = (struct document){0};
    PGresult *result = sql_query(pool, statement, sql, err);
    if (result == NULL) return -1;
    const int rc = PQntuples(result) == 0
                       ? error_set(err, ERR_NOT_FOUND, NULL, "there is no such document")
                       : document_read(result, 0, 0, DOCUMENT_COLUMN_COUNT, document, err);
    PQclear(result);
    return rc;
}

int vault_get_document(struct pool *pool, const char *id, struct document *document,
                       struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, id);
    return get_one(pool,
                   "SELECT " DOCUMENT_COLUMNS ", d.\"content\" FROM vault.\"VaultDocument\" d"
                   " WHERE d.\"id\" = $1 AND " DOCUMENT_FITS,
                   &sql, document, err);
}

int vault_find_document(struct pool *pool, const char *source, const char *repository,
                        const char *path, struct document *document, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    sql_text(&sql, path);
    return get_one(pool,
                   "SELECT " DOCUMENT_COLUMNS ", d.\"content\" FROM vault.\"VaultDocument\" d"
                   " WHERE d.\"source\" = $1 AND d.\"repository\" = $2 AND d.\"path\" = $3"
                   " AND " DOCUMENT_FITS,
                   &sql, document, err);
}

/* ---- In order ---- */

struct listing {
    const char *source, *repository, *path_prefix, *after;
    size_t limit;
};

/* Texts compare as bytes in any database with COLLATE "C", but only without it can the unique index
 * give them in order. So it is left away where the database compares bytes anyway, as a private
 * cluster does. */
static int choose_collation(PGconn *conn, const char **collate, struct error *err)
{
    PGresult *result =
        sql_execute(conn,
                    "SELECT coalesce(to_jsonb(d)->>'datlocprovider', 'c') = 'c'"
                    " AND lower(datcollate::text) IN ('c', 'posix', 'c.utf-8', 'c.utf8')"
                    " FROM pg_database d WHERE datname = current_database()",
                    NULL, err);
    if (result == NULL) return -1;
    *collate = PQntuples(result) == 1 && sql_get_bool(result, 0, 0) ? "" : " COLLATE \"C\"";
    PQclear(result);
    return 0;
}

static void add_condition(struct buffer *statement, struct sql *sql, const char *before,
                          const char *after, const char *value)
{
    if (value == NULL) return;
    sql_text(sql, value);
    buffer_format(statement, " AND %s$%d%s", before, sql->count, after);
}

static void build_listing(const struct listing *listing, const char *collate, const PGresult *place,
                          struct buffer *statement, struct sql *sql)
{
    buffer_text(statement,
                "SELECT " DOCUMENT_COLUMNS " FROM vault.\"VaultDocument\" d WHERE " DOCUMENT_FITS);
    add_condition(statement, sql, "d.\"source\" = ", "", listing->source);
    add_condition(statement, sql, "d.\"repository\" = ", "", listing->repository);
    add_condition(statement, sql, "starts_with(d.\"path\", ", ")", listing->path_prefix);
    if (place != NULL) {
        const int first = sql->count + 1;
        for (int i = 0; i < 3; i++) sql_text(sql, sql_get_text(place, 0, i));
        buffer_format(statement,
                      " AND (d.\"source\"%s, d.\"repository\"%s, d.\"path\"%s) > ($%d, $%d, $%d)",
                      collate, collate, collate, first, first + 1, first + 2);
    }
    sql_int8(sql, listing->limit < INT64_MAX ? (int64_t)listing->limit : INT64_MAX);
    buffer_format(statement, " ORDER BY d.\"source\"%s, d.\"repository\"%s, d.\"path\"%s LIMIT $%d",
                  collate, collate, collate, sql->count);
}

/* Where the document that the page before ended with stands. */
static PGresult *find_place(PGconn *conn, const char *after, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, after);
    PGresult *place = sql_execute(conn,
                                  "SELECT \"source\", \"repository\", \"path\" FROM "
                                  "vault.\"VaultDocument\" WHERE \"id\" = $1",
                                  &sql, err);
    if (place != NULL && PQntuples(place) == 0) {
        PQclear(place);
        error_set(err, ERR_INVALID, "after",
                  "the document that the page before ended with is gone; begin again");
        return NULL;
    }
    return place;
}

static int copy_documents(const PGresult *result, struct document **documents, size_t *count,
                          struct error *err)
{
    const int rows = PQntuples(result);
    *documents = calloc((size_t)rows + 1, sizeof(**documents));
    if (*documents == NULL) return no_memory(err);
    for (int row = 0; row < rows; row++) {
        if (document_read(result, row, 0, -1, &(*documents)[row], err) != 0) {
            while (--row >= 0) document_free(&(*documents)[row]);
            free(*documents);
            *documents = NULL;
            return -1;
        }
    }
    *count = (size_t)rows;
    return 0;
}

static int list_documents(PGconn *conn, const struct listing *listing, struct document **documents,
                          size_t *count, struct error *err)
{
    struct buffer statement = {0};
    struct sql sql = {0};
    PGresult *place = NULL, *result = NULL;
    const char *collate;
    int rc = -1;
    if (choose_collation(conn, &collate, err) != 0) goto out;
    if (listing->after != NULL && (place = find_place(conn, listing->after, err)) == NULL) goto out;
    build_listing(listing, collate, place, &statement, &sql);
    if (statement.failed) {
        no_memory(err);
        goto out;
    }
    result = sql_execute(conn, statement.data, &sql, err);
    if (result != NULL) rc = copy_documents(result, documents, count, err);
out:
    PQclear(result);
    PQclear(place);
    buffer_free(&statement);
    return rc;
}

int vault_list_documents(struct pool *pool, const char *source, const char *repository,
                         const char *path_prefix, const char *after, size_t limit,
                         struct document **documents, size_t *count, struct error *err)
{
    const struct listing listing = {source, repository, path_prefix, after, limit};
    *documents = NULL;
    *count = 0;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn, "BEGIN TRANSACTION READ ONLY", err);
    if (rc == 0) rc = list_documents(conn, &listing, documents, count, err);
    pool_release(pool, conn); /* and with it the end of the transaction */
    return rc;
}

/* ---- Search results ---- */

void passage_free(struct passage *passage)
{
    document_free(&passage->document);
    free(passage->text);
    *passage = (struct passage){0};
}

/* Columns of the passages' query after the document's. */
enum {
    COLUMN_PLACE = DOCUMENT_COLUMN_COUNT,
    COLUMN_ORDINAL,
    COLUMN_START,
    COLUMN_END,
    COLUMN_CONTENT,
    COLUMN_TEXT
};

static char *passage_text(const PGresult *result, int row, const struct passage *passage)
{
    if (!sql_is_null(result, row, COLUMN_TEXT))
        return document_copy_bytes(PQgetvalue(result, row, COLUMN_TEXT),
                                   (size_t)PQgetlength(result, row, COLUMN_TEXT));
    /* The content is here already, whole. */
    const struct document *document = &passage->document;
    size_t start = 0, end = document->content_length;
    if (passage->has_range) {
        start = passage->start < end ? passage->start : end;
        end = passage->end < end ? passage->end : end;
    }
    return document_copy_bytes(document->content + start, end - start);
}

static int read_passage(const PGresult *result, int row, int what, struct passage *passage,
                        struct error *err)
{
    if (document_read(result, row, 0, what & FETCH_CONTENT ? COLUMN_CONTENT : -1,
                      &passage->document, err) != 0)
        return -1;
    passage->found = true;
    passage->has_range = !sql_is_null(result, row, COLUMN_ORDINAL);
    if (passage->has_range) {
        passage->ordinal = sql_get_int4(result, row, COLUMN_ORDINAL);
        passage->start = (size_t)sql_get_int4(result, row, COLUMN_START);
        passage->end = (size_t)sql_get_int4(result, row, COLUMN_END);
    }
    if (!(what & FETCH_CHUNK)) return 0;
    passage->text = passage_text(result, row, passage);
    return passage->text != NULL ? 0 : no_memory(err);
}

/* The chunk is cut out by the server, unless the whole content comes anyway. */
static const char *passage_statement(int what)
{
#define PASSAGES(content, text)                                                                    \
    "SELECT " DOCUMENT_COLUMNS ", u.place, c.\"ordinal\", c.\"startByte\", c.\"endByte\"," content \
    "," text " FROM unnest($1) WITH ORDINALITY AS u (id, place)"                                   \
    " JOIN vault.\"VaultEmbedding\" e ON e.\"id\" = u.id"                                          \
    " JOIN vault.\"VaultDocument\" d ON d.\"id\" = e.\"documentId\""                               \
    " LEFT JOIN tekupdb.\"Chunk\" c"                                                               \
    " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""                     \
    " WHERE " DOCUMENT_FITS
#define CUT                                                                                        \
    " CASE WHEN c.\"startByte\" IS NULL THEN convert_to(d.\"content\", 'UTF8')"                    \
    " ELSE substring(convert_to(d.\"content\", 'UTF8') FROM c.\"startByte\" + 1"                   \
    " FOR c.\"endByte\" - c.\"startByte\") END"
    if (what & FETCH_CONTENT) return PASSAGES(" d.\"content\"", " NULL::bytea");
    if (what & FETCH_CHUNK) return PASSAGES(" NULL::text", CUT);
    return PASSAGES(" NULL::text", " NULL::bytea");
#undef CUT
#undef PASSAGES
}

static int read_passages(const PGresult *result, size_t count, int what, struct passage *passages,
                         struct error *err)
{
    for (int row = 0; row < PQntuples(result); row++) {
        const int64_t place = sql_get_int8(result, row, COLUMN_PLACE);
        if (place < 1 || (size_t)place > count)
            return error_set(err, ERR_INTERNAL, NULL, "PostgreSQL numbered a row %" PRId64, place);
        if (read_passage(result, row, what, &passages[place - 1], err) != 0) return -1;
    }
    return 0;
}

int vault_fetch_passages(struct pool *pool, const int64_t *embedding_ids, size_t count, int what,
                         struct passage *passages, struct error *err)
{
    enum { INT8_ARRAY = 1016 };
    struct buffer ids = {0};
    int rc = -1;
    for (size_t i = 0; i < count; i++)
        passages[i] = (struct passage){.embedding_id = embedding_ids[i]};
    if (count == 0) return 0;
    sql_put_array(&ids, SQL_INT8, count);
    for (size_t i = 0; i < count; i++) {
        sql_put_int4(&ids, sizeof(int64_t));
        sql_put_int8(&ids, embedding_ids[i]);
    }
    if (ids.failed) {
        no_memory(err);
        goto out;
    }
    struct sql sql = {0};
    sql_bytes(&sql, INT8_ARRAY, ids.data, ids.length);
    PGresult *result = prepared_query(pool, passage_statement(what), &sql, err);
    if (result == NULL) goto out;
    rc = read_passages(result, count, what, passages, err);
    PQclear(result);
    if (rc != 0)
        for (size_t i = 0; i < count; i++) passage_free(&passages[i]);
out:
    buffer_free(&ids);
    return rc;
}

/* ---- By metadata ---- */

static int copy_ids(const PGresult *result, char ***ids, size_t *count, struct error *err)
{
    const int rows = PQntuples(result);
    bool failed = false;
    char **list = calloc((size_t)rows + 1, sizeof(*list));
    if (list == NULL) return no_memory(err);
    for (int row = 0; row < rows; row++) list[row] = sql_copy_text(result, row, 0, &failed);
    if (failed) {
        for (int row = 0; row < rows; row++) free(list[row]);
        free(list);
        return no_memory(err);
    }
    *ids = list;
    *count = (size_t)rows;
    return 0;
}

int vault_match_metadata(struct pool *pool, const char *metadata, char ***ids, size_t *count,
                         struct error *err)
{
    struct sql sql = {0};
    int rc = -1;
    *ids = NULL;
    *count = 0;
    if (metadata == NULL || utf8_valid_prefix(metadata, strlen(metadata)) != strlen(metadata))
        return error_set(err, ERR_INVALID, "metadata", "metadata must be JSON in UTF-8");
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    sql_text(&sql, metadata);
    PGresult *result = PQexecParams(
        conn, "SELECT \"id\" FROM vault.\"VaultDocument\" WHERE \"metadata\" @> $1::jsonb",
        sql.count, sql.types, sql.values, sql.lengths, sql.formats, 1);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        rc = copy_ids(result, ids, count, err);
    else if (sql_state_is(result, "22"))
        error_set(err, ERR_INVALID, "metadata", "metadata is not what PostgreSQL takes as JSON");
    else
        pool_error(conn, result, err);
    PQclear(result);
    pool_release(pool, conn);
    return rc;
}
