#include "storage/model_change.h"

#include "storage/base/utf8.h"
#include "storage/embedding.h"
#include "storage/feed.h"
#include "storage/sql.h"

#include <stdlib.h>
#include <string.h>

#define ROWS                                                                                       \
    " FROM vault.\"VaultEmbedding\" e JOIN vault.\"VaultDocument\" d ON d.\"id\" = "               \
    "e.\"documentId\""                                                                             \
    " LEFT JOIN tekupdb.\"Chunk\" c"                                                               \
    " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""

#define KEY "tekupdb.text_key(d.\"content\", c.\"contentHash\", c.\"startByte\", c.\"endByte\")"

/* Of another model than $1. An embedding that says nothing of its model is of the one that serves,
 * which is not $1. */
#define OLD "c.\"model\" IS DISTINCT FROM $1"

#define IS_STAGED                                                                                  \
    "EXISTS (SELECT FROM tekupdb.\"Staged\" s WHERE s.\"model\" = $1 AND s.\"key\" = " KEY ")"
#define IS_REFUSED                                                                                 \
    "EXISTS (SELECT FROM tekupdb.\"Refused\" r WHERE r.\"model\" = $1"                             \
    " AND r.\"key\" IN (" KEY ", tekupdb.row_key(e.\"id\", e.\"documentId\")))"

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* Runs statements whose $1 is the model and, where they have one, $2 the other. */
static int run_all(PGconn *conn, const char *const *statements, size_t count, const char *model,
                   const char *other, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct sql sql = {0};
        sql_text(&sql, model);
        if (strstr(statements[i], "$2") != NULL) sql_text(&sql, other);
        PGresult *result = sql_execute(conn, statements[i], &sql, err);
        if (result == NULL) return -1;
        PQclear(result);
    }
    return 0;
}

/* ---- Beginning ---- */

static int count_rows(PGconn *conn, const char *model, struct model_state *state, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, model);
    PGresult *row =
        sql_execute(conn,
                    "SELECT count(*), count(*) FILTER (WHERE staged OR refused),"
                    " count(*) FILTER (WHERE refused AND NOT staged) FROM (SELECT " IS_STAGED
                    " AS staged, " IS_REFUSED " AS refused" ROWS " WHERE " OLD ") AS old",
                    &sql, err);
    if (row == NULL) return -1;
    state->total = sql_get_int8(row, 0, 0);
    state->done = sql_get_int8(row, 0, 1);
    state->refused = sql_get_int8(row, 0, 2);
    PQclear(row);
    return 0;
}

int model_change_begin(struct pool *pool, const char *model, struct model_state *state,
                       struct error *err)
{
    static const char *const forget[] = {
        "DELETE FROM tekupdb.\"Staged\" WHERE \"model\" <> $1",
        "DELETE FROM tekupdb.\"Refused\" WHERE \"model\" <> $1",
    };
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn, "BEGIN; SET LOCAL statement_timeout TO 0", err);
    if (rc == 0) rc = run_all(conn, forget, 2, model, NULL, err);
    if (rc == 0) rc = count_rows(conn, model, state, err);
    if (rc == 0) rc = sql_commit(conn, err);
    pool_release(pool, conn);
    return rc;
}

/* ---- A page ---- */

void model_page_free(struct model_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        free(page->texts[i].document);
        free(page->texts[i].text);
    }
    free(page->texts);
    *page = (struct model_page){0};
}

static int read_text(const PGresult *rows, int row, struct model_text *out, struct error *err)
{
    bool failed = false;
    const bool whole = sql_get_bool(rows, row, 2);
    const char *bytes = PQgetvalue(rows, row, 1);
    size_t length = (size_t)PQgetlength(rows, row, 1);
    uint8_t hash[SHA256_SIZE];
    if (PQgetlength(rows, row, 0) != SHA256_SIZE)
        return error_set(err, ERR_INTERNAL, NULL, "a chunk's hash has not its length");
    memcpy(out->key, PQgetvalue(rows, row, 0), SHA256_SIZE);
    out->embedding = sql_get_int4(rows, row, 3);
    out->document = sql_copy_text(rows, row, 4, &failed);
    if (failed) return out_of_memory(err);
    digest_sha256(bytes, length, hash);
    if (!whole && memcmp(hash, out->key, SHA256_SIZE) != 0) return 0;
    /* Where it was cut it may end within a character. */
    length = utf8_valid_prefix(bytes, length);
    out->text = malloc(length + 1);
    if (out->text == NULL) return out_of_memory(err);
    memcpy(out->text, bytes, length);
    out->text[length] = '\0';
    out->length = length;
    return 0;
}

/* The rows in the order of their ids, and of those that are alike the first. Looking each up by the
 * key costs as much at the end as at the beginning; a hash of all that is staged would not. */
int model_change_page(PGconn *conn, const char *model, int32_t after, int most,
                      struct model_page *page, struct error *err)
{
    static const char statement[] =
        "WITH page AS MATERIALIZED (SELECT e.\"id\", e.\"documentId\", " KEY " AS key,"
        " coalesce(c.\"startByte\", 0) AS first,"
        " least(coalesce(c.\"endByte\" - c.\"startByte\", $4), $4) AS length,"
        " c.\"embeddingId\" IS NULL"
        " OR (c.\"startByte\" = 0 AND c.\"endByte\" = octet_length(d.\"content\"))"
        " AS whole" ROWS " WHERE e.\"id\" > $2 AND " OLD " AND NOT " IS_STAGED
        " AND NOT " IS_REFUSED " ORDER BY e.\"id\" LIMIT $3)"
        " SELECT DISTINCT ON (p.key) p.key,"
        " substring(convert_to(d.\"content\", 'UTF8') FROM p.first + 1 FOR p.length), p.whole,"
        " p.\"id\", p.\"documentId\", (SELECT count(*) FROM page), (SELECT max(\"id\") FROM page)"
        " FROM page p JOIN vault.\"VaultDocument\" d ON d.\"id\" = p.\"documentId\""
        " ORDER BY p.key, p.\"id\"";
    struct sql sql = {0};
    sql_text(&sql, model);
    sql_int4(&sql, after);
    sql_int4(&sql, most);
    sql_int4(&sql, MODEL_TEXT_MOST);
    *page = (struct model_page){.last = after};
    PGresult *rows = sql_execute(conn, statement, &sql, err);
    if (rows == NULL) return -1;
    const int count = PQntuples(rows);
    int rc = 0;
    if (count > 0) {
        page->texts = calloc((size_t)count, sizeof(*page->texts));
        page->rows = sql_get_int8(rows, 0, 5);
        page->last = sql_get_int4(rows, 0, 6);
        if (page->texts == NULL) rc = out_of_memory(err);
    }
    for (int row = 0; row < count && rc == 0; row++)
        rc = read_text(rows, row, &page->texts[page->count++], err);
    PQclear(rows);
    if (rc != 0) model_page_free(page);
    return rc;
}

/* ---- Staging ---- */

static int stage_vector(PGconn *conn, const char *model, const struct model_text *text,
                        const float *vector, struct error *err)
{
    enum { REAL_ARRAY = 1021 };
    struct buffer bytes = {0};
    struct sql sql = {0};
    PGresult *result = NULL;
    embedding_encode(&bytes, EMBEDDING_REAL, vector);
    sql_text(&sql, model);
    sql_bytes(&sql, SQL_BYTEA, text->key, SHA256_SIZE);
    sql_bytes(&sql, REAL_ARRAY, bytes.data, bytes.length);
    if (bytes.failed)
        out_of_memory(err);
    else
        result = sql_execute(conn,
                             "INSERT INTO tekupdb.\"Staged\" (\"model\", \"key\", \"embedding\")"
                             " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                             &sql, err);
    buffer_free(&bytes);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

/* A text that is refused is so wherever it stands; one that is not there any more is so in its row.
 */
static int stage_refusal(PGconn *conn, const char *model, const struct model_text *text,
                         struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, model);
    sql_bytes(&sql, SQL_BYTEA, text->text != NULL ? (const void *)text->key : NULL, SHA256_SIZE);
    sql_int4(&sql, text->embedding);
    sql_text(&sql, text->document);
    PGresult *result = sql_execute(conn,
                                   "INSERT INTO tekupdb.\"Refused\" (\"model\", \"key\") VALUES"
                                   " ($1, coalesce($2, tekupdb.row_key($3, $4)))"
                                   " ON CONFLICT DO NOTHING",
                                   &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

int model_change_stage(PGconn *conn, const char *model, const struct model_text *texts,
                       size_t count, const float *vectors, const bool *refused, struct error *err)
{
    const bool own = PQtransactionStatus(conn) == PQTRANS_IDLE;
    int rc = own ? sql_run(conn, "BEGIN", err) : 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = refused[i] ? stage_refusal(conn, model, &texts[i], err)
                        : stage_vector(conn, model, &texts[i], vectors + i * EMBEDDING_DIM, err);
    if (own && rc == 0) rc = sql_commit(conn, err);
    return rc;
}

/* ---- Switching ---- */

/* Writers of the daemons' wait for the first lock; those of others, who know nothing of models, and
 * those who delete for the second. A session that holds it for long is not waited for: everybody
 * else would. */
static const char begin_switch[] = "BEGIN; SET LOCAL statement_timeout TO 0;"
                                   "SET LOCAL lock_timeout TO '5s';"
                                   "LOCK TABLE tekupdb.\"Model\" IN EXCLUSIVE MODE;"
                                   "LOCK TABLE vault.\"VaultEmbedding\" IN SHARE ROW EXCLUSIVE "
                                   "MODE;"
                                   "SET LOCAL lock_timeout TO 0";

static const char *const replace[] = {
    /* Those that are of the new model already come into every index, too: the feed has to tell. */
    "UPDATE vault.\"VaultEmbedding\" e SET \"embedding\" = e.\"embedding\" FROM tekupdb.\"Chunk\" c"
    " WHERE c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
    " AND c.\"model\" = $1",
    "UPDATE vault.\"VaultEmbedding\" u SET \"embedding\" = n.\"embedding\""
    " FROM (SELECT e.\"id\", s.\"embedding\"" ROWS
    " JOIN tekupdb.\"Staged\" s ON s.\"model\" = $1 AND s.\"key\" = " KEY " WHERE " OLD ") AS n"
    " WHERE u.\"id\" = n.\"id\"",
    /* Those of others that have no successor are of the old model from now on. */
    "INSERT INTO tekupdb.\"Chunk\" AS o (\"embeddingId\", \"documentId\", \"ordinal\","
    " \"startByte\", \"endByte\", \"contentHash\", \"model\")"
    " SELECT e.\"id\", e.\"documentId\", 0, 0, octet_length(d.\"content\"), " KEY ", $2" ROWS
    " WHERE c.\"embeddingId\" IS NULL AND NOT " IS_STAGED
    " ON CONFLICT (\"embeddingId\") DO UPDATE SET \"documentId\" = EXCLUDED.\"documentId\","
    " \"ordinal\" = EXCLUDED.\"ordinal\", \"startByte\" = EXCLUDED.\"startByte\","
    " \"endByte\" = EXCLUDED.\"endByte\", \"contentHash\" = EXCLUDED.\"contentHash\","
    " \"model\" = EXCLUDED.\"model\"",
    "UPDATE tekupdb.\"Chunk\" u SET \"model\" = $1 FROM (SELECT c.\"embeddingId\"" ROWS
    " WHERE c.\"model\" <> $1 AND " IS_STAGED ") AS n"
    " WHERE u.\"embeddingId\" = n.\"embeddingId\"",
    "UPDATE tekupdb.\"Model\" SET \"serving\" = $1, \"changedAt\" = now(), \"wanted\" = NULL,"
    " \"error\" = NULL",
};

/* How many embeddings have not been seen to, up to most + 1; the page holds them where they are a
 * few. */
static int look_for_rest(PGconn *conn, const struct model_switch *change, struct model_page *page,
                         struct error *err)
{
    return model_change_page(conn, change->to, INT32_MIN, change->few + 1, page, err);
}

static int stage_rest(PGconn *conn, const struct model_switch *change, bool *enough,
                      struct error *err)
{
    struct model_page page;
    if (look_for_rest(conn, change, &page, err) != 0) return -1;
    *enough = page.rows <= change->few;
    int rc = 0;
    if (page.count > 0 && *enough) {
        rc = change->rest(change->arg, conn, &page, err);
        model_page_free(&page);
        if (rc == 0) rc = look_for_rest(conn, change, &page, err);
        if (rc == 0) *enough = page.rows == 0;
    }
    model_page_free(&page);
    return rc;
}

static int switch_now(PGconn *conn, const struct model_switch *change, bool *switched,
                      struct error *err)
{
    if (sql_run(conn, begin_switch, err) != 0) return -1;
    if (model_check(conn, change->from, err) != 0) return -1;
    if (stage_rest(conn, change, switched, err) != 0) return -1;
    if (!*switched) return sql_run(conn, "COMMIT", err); /* what the rest has staged stays */
    if (run_all(conn, replace, sizeof(replace) / sizeof(*replace), change->to, change->from, err) !=
        0)
        return -1;
    if (sql_run(conn, "TRUNCATE tekupdb.\"Staged\"; NOTIFY " FEED_CHANNEL, err) != 0) return -1;
    return sql_commit(conn, err);
}

int model_change_switch(struct pool *pool, const struct model_switch *change, bool *switched,
                        struct error *err)
{
    *switched = false;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = switch_now(conn, change, switched, err);
    if (rc != 0) *switched = false;
    pool_release(pool, conn);
    return rc;
}
