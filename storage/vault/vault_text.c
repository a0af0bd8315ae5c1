/*
 * A search first takes what the index finds, up to VAULT_TEXT_RANKED passages, and ranks that: each
 * part of the query by PostgreSQL's ts_rank, which counts how often it is there, less and less for
 * each further time, and times its weight, since PostgreSQL does not know which words are rare.
 */
#include "storage/vault/vault_text.h"

#include "storage/base/utf8.h"
#include "storage/sql.h"
#include "storage/vault/vault_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_ARRAY = 1009, INT8_ARRAY = 1016, REAL_ARRAY = 1021 };
enum { TEXT_MOST = 131072, FILL_FEW = 100 };

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void put_texts(struct buffer *array, const char *const *texts, size_t count, size_t most)
{
    sql_put_array(array, SQL_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(texts[i]);
        if (length > most) length = utf8_valid_prefix(texts[i], most);
        sql_put_int4(array, (int32_t)length);
        buffer_append(array, texts[i], length);
    }
}

/* ---- Words ---- */

void vault_words_free(struct vault_words *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->words[i].word);
        free(list->words[i].stem);
    }
    free(list->words);
    *list = (struct vault_words){0};
}

/* Rows come text by text, and in a text word by word. */
static int read_words(const PGresult *rows, struct vault_words *lists, size_t count,
                      struct error *err)
{
    bool failed = false;
    const int all = PQntuples(rows);
    for (int row = 0, end; row < all && !failed; row = end) {
        const int64_t text = sql_get_int8(rows, row, 0);
        if (text < 1 || (size_t)text > count)
            return error_set(err, ERR_INTERNAL, NULL, "PostgreSQL numbered a text wrongly");
        for (end = row + 1; end < all && sql_get_int8(rows, end, 0) == text; end++) {
        }
        struct vault_words *list = &lists[text - 1];
        list->words = calloc((size_t)(end - row), sizeof(*list->words));
        if (list->words == NULL) return no_memory(err);
        for (int i = row; i < end; i++) {
            list->words[list->count++] = (struct vault_word){
                .place = (size_t)sql_get_int8(rows, i, 1),
                .start = (size_t)sql_get_int8(rows, i, 2),
                .length = (size_t)sql_get_int4(rows, i, 3),
                .word = sql_copy_text(rows, i, 4, &failed),
                .stem = sql_copy_text(rows, i, 5, &failed),
            };
        }
    }
    return failed ? no_memory(err) : 0;
}

int vault_list_words(struct pool *pool, const char *const *texts, size_t count,
                     const struct vault_wanted *wanted, struct vault_words *lists,
                     struct error *err)
{
    static const char all[] =
        "SELECT u.place, w.\"place\", w.\"start\", w.\"length\", w.\"word\", w.\"stem\""
        " FROM unnest($1) WITH ORDINALITY AS u (content, place)"
        " CROSS JOIN LATERAL tekupdb.list_words(u.content) w ORDER BY 1, 2";
    static const char some[] =
        "SELECT u.place, w.\"place\", w.\"start\", w.\"length\", w.\"word\", w.\"stem\""
        " FROM unnest($1) WITH ORDINALITY AS u (content, place)"
        " CROSS JOIN LATERAL tekupdb.list_words(u.content) w WHERE w.\"stem\" = ANY($2)"
        " OR EXISTS (SELECT FROM unnest($3) AS p (prefix) WHERE starts_with(w.\"word\", p.prefix))"
        " ORDER BY 1, 2";
    struct buffer array = {0}, stems = {0}, prefixes = {0};
    struct sql sql = {0};
    PGresult *rows = NULL;
    int rc = -1;
    for (size_t i = 0; i < count; i++) lists[i] = (struct vault_words){0};
    put_texts(&array, texts, count, TEXT_MOST);
    if (wanted != NULL) {
        put_texts(&stems, wanted->stems, wanted->stem_count, TEXT_MOST);
        put_texts(&prefixes, wanted->prefixes, wanted->prefix_count, TEXT_MOST);
    }
    if (array.failed || stems.failed || prefixes.failed) {
        no_memory(err);
        goto out;
    }
    sql_bytes(&sql, TEXT_ARRAY, array.data, array.length);
    if (wanted != NULL) {
        sql_bytes(&sql, TEXT_ARRAY, stems.data, stems.length);
        sql_bytes(&sql, TEXT_ARRAY, prefixes.data, prefixes.length);
    }
    rows = sql_query(pool, wanted != NULL ? some : all, &sql, err);
    if (rows == NULL) goto out;
    rc = read_words(rows, lists, count, err);
    for (size_t i = 0; i < count && rc != 0; i++) vault_words_free(&lists[i]);
out:
    PQclear(rows);
    buffer_free(&array);
    buffer_free(&stems);
    buffer_free(&prefixes);
    return rc;
}

/* ---- Searching ---- */

static void add_condition(struct buffer *statement, struct sql *sql, const char *before,
                          const char *after, const char *value)
{
    if (value == NULL) return;
    sql_text(sql, value);
    buffer_format(statement, " AND %s$%d%s", before, sql->count, after);
}

/* $1 the query, $2 and $3 the parts and their weights. The rank is divided by how long the passage
 * is (the 1 of ts_rank). */
static void build(const struct vault_text_search *search, struct buffer *statement, struct sql *sql)
{
    buffer_format(statement,
                  "SELECT * FROM (SELECT %s m.\"embedding\", (SELECT sum(p.weight *"
                  " ts_rank(m.\"words\", p.part::tsquery, 1)) FROM unnest($2, $3) AS p (part,"
                  " weight))::real AS rank, m.\"document\", m.\"source\", m.\"repository\","
                  " m.\"path\" FROM (SELECT w.\"embeddingId\", w.\"words\", d.\"id\","
                  " d.\"source\", d.\"repository\", d.\"path\" FROM tekupdb.\"ChunkWords\" w"
                  " JOIN vault.\"VaultEmbedding\" e"
                  " ON e.\"id\" = w.\"embeddingId\" AND e.\"documentId\" = w.\"documentId\""
                  " JOIN vault.\"VaultDocument\" d ON d.\"id\" = w.\"documentId\""
                  " WHERE w.\"words\" @@ $1::text::tsquery AND " DOCUMENT_FITS,
                  search->chunks ? "" : "DISTINCT ON (m.\"document\")");
    add_condition(statement, sql, "d.\"source\" = ", "", search->source);
    add_condition(statement, sql, "d.\"repository\" = ", "", search->repository);
    add_condition(statement, sql, "starts_with(d.\"path\", ", ")", search->path_prefix);
    add_condition(statement, sql, "d.\"metadata\" @> ", "::jsonb", search->metadata);
    buffer_format(statement,
                  " LIMIT %d) AS m (\"embedding\", \"words\", \"document\", \"source\","
                  " \"repository\", \"path\")%s) AS best ORDER BY rank DESC, \"embedding\"",
                  VAULT_TEXT_RANKED,
                  search->chunks ? "" : " ORDER BY m.\"document\", rank DESC, m.\"embedding\"");
    sql_int8(sql, (int64_t)search->limit);
    buffer_format(statement, " LIMIT $%d", sql->count);
}

static float read_real(const PGresult *rows, int row, int column)
{
    const int32_t bits = sql_get_int4(rows, row, column);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static int read_hits(const PGresult *rows, struct vault_hit **hits, size_t *found,
                     struct error *err)
{
    const size_t count = (size_t)PQntuples(rows);
    bool failed = false;
    *hits = calloc(count + 1, sizeof(**hits));
    if (*hits == NULL) return no_memory(err);
    for (int row = 0; row < (int)count; row++) {
        struct vault_hit *hit = &(*hits)[(*found)++];
        hit->embedding = sql_get_int4(rows, row, 0);
        hit->similarity = read_real(rows, row, 1);
        snprintf(hit->document, sizeof(hit->document), "%s", sql_get_text(rows, row, 2));
        hit->source = sql_copy_text(rows, row, 3, &failed);
        hit->repository = sql_copy_text(rows, row, 4, &failed);
        hit->path = sql_copy_text(rows, row, 5, &failed);
    }
    if (!failed) return 0;
    vault_hits_free(*hits, *found);
    *hits = NULL;
    *found = 0;
    return no_memory(err);
}

static void put_parts(const struct vault_text_search *search, struct buffer *queries,
                      struct buffer *weights)
{
    sql_put_array(queries, SQL_TEXT, search->part_count);
    sql_put_array(weights, SQL_REAL, search->part_count);
    for (size_t i = 0; i < search->part_count; i++) {
        const struct vault_part *part = &search->parts[i];
        const int32_t length = (int32_t)strlen(part->query);
        int32_t bits;
        memcpy(&bits, &part->weight, sizeof(bits));
        sql_put_int4(queries, length);
        buffer_append(queries, part->query, (size_t)length);
        sql_put_int4(weights, sizeof(bits));
        sql_put_int4(weights, bits);
    }
}

/* A plan is for one search, and compiling one takes longer than it saves. */
static PGresult *take_best(PGconn *conn, const struct vault_text_search *search, struct error *err)
{
    struct buffer statement = {0}, queries = {0}, weights = {0};
    struct sql sql = {0};
    PGresult *rows = NULL;
    put_parts(search, &queries, &weights);
    sql_text(&sql, search->query);
    sql_bytes(&sql, TEXT_ARRAY, queries.data, queries.length);
    sql_bytes(&sql, REAL_ARRAY, weights.data, weights.length);
    build(search, &statement, &sql);
    if (statement.failed || queries.failed || weights.failed) {
        no_memory(err);
        goto out;
    }
    if (sql_run(conn, "BEGIN TRANSACTION READ ONLY; SET LOCAL jit TO off", err) != 0) goto out;
    rows = vault_row_search(conn, statement.data, &sql, search->metadata, err);
out:
    buffer_free(&statement);
    buffer_free(&queries);
    buffer_free(&weights);
    return rows;
}

int vault_text_search(struct pool *pool, const struct vault_text_search *search,
                      struct vault_hit **hits, size_t *found, struct error *err)
{
    const char *metadata = search->metadata;
    *hits = NULL;
    *found = 0;
    if (metadata != NULL && utf8_valid_prefix(metadata, strlen(metadata)) != strlen(metadata))
        return error_set(err, ERR_INVALID, "metadata", "metadata must be JSON in UTF-8");
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    PGresult *rows = take_best(conn, search, err);
    pool_release(pool, conn); /* and with it the end of the transaction */
    const int rc = rows != NULL ? read_hits(rows, hits, found, err) : -1;
    PQclear(rows);
    return rc;
}

int vault_text_match(struct pool *pool, const char *query, const int64_t *embedding_ids,
                     size_t count, bool *passes, struct error *err)
{
    struct buffer ids = {0};
    struct sql sql = {0};
    for (size_t i = 0; i < count; i++) passes[i] = false;
    if (count == 0) return 0;
    sql_put_array(&ids, SQL_INT8, count);
    for (size_t i = 0; i < count; i++) {
        sql_put_int4(&ids, sizeof(int64_t));
        sql_put_int8(&ids, embedding_ids[i]);
    }
    if (ids.failed) {
        buffer_free(&ids);
        return no_memory(err);
    }
    sql_text(&sql, query);
    sql_bytes(&sql, INT8_ARRAY, ids.data, ids.length);
    /* A wall between the two: the index on the words is of no use for so few. */
    PGresult *rows = sql_query(pool,
                               "SELECT m.place FROM (SELECT u.place, w.\"words\""
                               " FROM unnest($2) WITH ORDINALITY AS u (id, place)"
                               " JOIN tekupdb.\"ChunkWords\" w ON w.\"embeddingId\" = u.id"
                               " OFFSET 0) m WHERE m.\"words\" @@ $1::text::tsquery",
                               &sql, err);
    buffer_free(&ids);
    if (rows == NULL) return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        const int64_t place = sql_get_int8(rows, row, 0);
        if (place >= 1 && (size_t)place <= count) passes[place - 1] = true;
    }
    PQclear(rows);
    return 0;
}

/* ---- Filling in ---- */

int vault_text_fill(struct pool *pool, bool *complete, struct error *err)
{
    struct sql sql = {0};
    sql_int4(&sql, FILL_FEW);
    PGresult *rows = sql_query(pool, "SELECT tekupdb.fill_words($1)", &sql, err);
    if (rows == NULL) return -1;
    *complete = sql_get_bool(rows, 0, 0);
    PQclear(rows);
    return 0;
}
