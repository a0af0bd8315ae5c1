/*
 * A search is one read-only transaction. It first asks the catalogue where pgvector's names are and
 * whether there is an index; then it takes the nearest embeddings, several for each document that
 * is wanted, and keeps the best of each document. When those are of too few documents, it has
 * PostgreSQL choose the best embedding of every document that passes, which needs no second try.
 *
 * An index gives at most hnsw.ef_search rows, and filters are applied to what it gives. With
 * pgvector 0.8 it goes on looking until enough have passed (iterative scan); before that, and where
 * that gives up, comparing with everything is what is left.
 */
#include "storage/vault/vault_search.h"

#include "storage/base/utf8.h"
#include "storage/embedding.h"
#include "storage/model.h"
#include "storage/sql.h"
#include "storage/vault/vault_row.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Embeddings taken for each document wanted, and at least. */
enum { PER_DOCUMENT = 4, LEAST = 40 };

enum { EF_MOST = 1000 }; /* hnsw.ef_search */

struct pgvector {
    char *schema;   /* quoted */
    Oid type;       /* of the column */
    bool index;     /* there is one that a search may use */
    bool iterative; /* 0.8 or newer */
};

/* How the nearest are taken. */
enum way {
    BY_INDEX,   /* the nearest embeddings, by the index if the planner wants */
    BY_SCAN,    /* the nearest embeddings, compared with all that pass */
    BY_DOCUMENT /* the best embedding of each document, compared with all that pass */
};

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- What there is of pgvector ---- */

static const char pgvector_statement[] =
    "SELECT quote_ident(n.nspname), t.oid,"
    " string_to_array(regexp_replace(e.extversion, '[^0-9.].*', ''), '.')::int[] >= '{0,8}',"
    " EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    "  JOIN pg_am m ON m.oid = c.relam JOIN pg_opclass o ON o.oid = i.indclass[0]"
    "  WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid"
    "  AND m.amname IN ('hnsw', 'ivfflat') AND o.opcname = 'vector_cosine_ops')"
    " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typname = 'vector'"
    " JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_extension e ON e.extname = 'vector'"
    " WHERE a.attrelid = to_regclass('vault.\"VaultEmbedding\"') AND a.attname = 'embedding'";

static int read_pgvector(PGconn *conn, struct pgvector *pgvector, struct error *err)
{
    *pgvector = (struct pgvector){0};
    PGresult *result = sql_execute(conn, pgvector_statement, NULL, err);
    if (result == NULL) return -1;
    bool failed = false;
    const bool there = PQntuples(result) == 1;
    if (there) {
        pgvector->schema = sql_copy_text(result, 0, 0, &failed);
        pgvector->type = (Oid)sql_get_int4(result, 0, 1);
        pgvector->iterative = sql_get_bool(result, 0, 2);
        pgvector->index = sql_get_bool(result, 0, 3);
    }
    PQclear(result);
    if (failed) return no_memory(err);
    return there ? 0
                 : error_set(err, ERR_INVALID, "search.backend",
                             "the embeddings of this database are not of pgvector's type vector");
}

int vault_search_index(struct pool *pool, bool *there, struct error *err)
{
    struct pgvector pgvector = {0};
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = read_pgvector(conn, &pgvector, err);
    pool_release(pool, conn);
    *there = pgvector.index;
    free(pgvector.schema);
    return rc;
}

/* ---- The statement ---- */

/* Plans are for one search each, and compiling one takes longer than it saves. */
static int prepare(PGconn *conn, const struct pgvector *pgvector, const struct vault_search *search,
                   size_t rows, struct error *err)
{
    struct buffer settings = {0};
    size_t ef = search->ef > rows ? search->ef : rows;
    if (ef > EF_MOST) ef = EF_MOST;
    buffer_text(&settings, "SET LOCAL jit TO off");
    if (pgvector->index) buffer_format(&settings, "; SET LOCAL hnsw.ef_search TO %zu", ef);
    if (pgvector->index && pgvector->iterative)
        buffer_text(&settings, "; SET LOCAL hnsw.iterative_scan TO strict_order"
                               "; SET LOCAL ivfflat.iterative_scan TO relaxed_order");
    const int rc = settings.failed ? no_memory(err) : sql_run(conn, settings.data, err);
    buffer_free(&settings);
    return rc;
}

static void add_condition(struct buffer *statement, struct sql *sql, const char *before,
                          const char *after, const char *value)
{
    if (value == NULL) return;
    sql_text(sql, value);
    buffer_format(statement, " AND %s$%d%s", before, sql->count, after);
}

/* The columns that read_hit takes. An index is used only for the plain expression, so that adding
 * nothing to it keeps the planner away from one. */
static void build(const struct pgvector *pgvector, const struct vault_search *search, enum way way,
                  size_t rows, const struct buffer *vector, struct buffer *statement,
                  struct sql *sql)
{
    sql_bytes(sql, pgvector->type, vector->data, vector->length);
    sql_text(sql, search->model);
    if (way == BY_DOCUMENT) buffer_text(statement, "SELECT * FROM (");
    buffer_format(statement,
                  "SELECT %se.\"id\", (e.\"embedding\" OPERATOR(%s.<=>) $1)%s AS distance, "
                  "d.\"id\", d.\"source\", d.\"repository\", d.\"path\""
                  " FROM vault.\"VaultEmbedding\" e"
                  " JOIN vault.\"VaultDocument\" d ON d.\"id\" = e.\"documentId\""
                  " LEFT JOIN tekupdb.\"Chunk\" c"
                  " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
                  " WHERE (c.\"model\" IS NULL OR c.\"model\" = $2) AND " DOCUMENT_FITS,
                  way == BY_DOCUMENT ? "DISTINCT ON (d.\"id\") " : "", pgvector->schema,
                  way == BY_INDEX ? "" : " + 0");
    add_condition(statement, sql, "d.\"source\" = ", "", search->source);
    add_condition(statement, sql, "d.\"repository\" = ", "", search->repository);
    add_condition(statement, sql, "starts_with(d.\"path\", ", ")", search->path_prefix);
    add_condition(statement, sql, "d.\"metadata\" @> ", "::jsonb", search->metadata);
    if (way == BY_DOCUMENT)
        buffer_text(statement, " ORDER BY d.\"id\", distance, e.\"id\") AS best (\"embedding\","
                               " distance, \"document\", \"source\", \"repository\", \"path\")"
                               " ORDER BY distance, \"embedding\"");
    else
        buffer_format(statement, " ORDER BY distance%s", way == BY_SCAN ? ", e.\"id\"" : "");
    sql_int8(sql, (int64_t)rows);
    buffer_format(statement, " LIMIT $%d", sql->count);
}

/* $1 comes in pgvector's own binary form, the rest as everywhere. */
static PGresult *take_nearest(PGconn *conn, const struct pgvector *pgvector,
                              const struct vault_search *search, enum way way, size_t rows,
                              struct error *err)
{
    struct buffer vector = {0}, statement = {0};
    struct sql sql = {0};
    PGresult *result = NULL;
    embedding_encode(&vector, EMBEDDING_VECTOR, search->vector);
    build(pgvector, search, way, rows, &vector, &statement, &sql);
    if (vector.failed || statement.failed) {
        no_memory(err);
        goto out;
    }
    result = vault_row_search(conn, statement.data, &sql, search->metadata, err);
out:
    buffer_free(&vector);
    buffer_free(&statement);
    return result;
}

/* ---- Hits ---- */

void vault_hits_free(struct vault_hit *hits, size_t count)
{
    for (size_t i = 0; hits != NULL && i < count; i++) {
        free(hits[i].source);
        free(hits[i].repository);
        free(hits[i].path);
    }
    free(hits);
}

static double read_double(const PGresult *result, int row, int column)
{
    const int64_t bits = sql_get_int8(result, row, column);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A row of the result: its place, and what the order goes by. */
struct candidate {
    int row;
    float similarity;
    int32_t embedding;
};

/* An index that is asked again and again may give its rows a little out of order, and rows that are
 * equally near in any. */
static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->similarity != b->similarity) return a->similarity > b->similarity ? -1 : 1;
    return (a->embedding > b->embedding) - (a->embedding < b->embedding);
}

/* The distance of what is all zero is NaN, which comes last; no search finds it. Returns how many
 * rows are hits, *cut: the rest is below the threshold. */
static size_t rank(const PGresult *result, float threshold, struct candidate *candidates, bool *cut)
{
    size_t count = 0;
    const int rows = PQntuples(result);
    for (int row = 0; row < rows; row++) {
        const float similarity = (float)(1 - read_double(result, row, 1));
        if (isnan(similarity) || similarity < threshold) continue;
        candidates[count++] = (struct candidate){row, similarity, sql_get_int4(result, row, 0)};
    }
    *cut = count < (size_t)rows;
    qsort(candidates, count, sizeof(*candidates), compare_candidates);
    return count;
}

static bool is_taken(const struct vault_hit *hits, size_t count, const char *document)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(hits[i].document, document) == 0) return true;
    return false;
}

static int read_hit(const PGresult *result, const struct candidate *candidate,
                    struct vault_hit *hit, struct error *err)
{
    bool failed = false;
    const int row = candidate->row;
    hit->embedding = candidate->embedding;
    hit->similarity = candidate->similarity;
    snprintf(hit->document, sizeof(hit->document), "%s", sql_get_text(result, row, 2));
    hit->source = sql_copy_text(result, row, 3, &failed);
    hit->repository = sql_copy_text(result, row, 4, &failed);
    hit->path = sql_copy_text(result, row, 5, &failed);
    return failed ? no_memory(err) : 0;
}

/* The best row of each document. *whole: more rows would not bring more documents. An index that
 * gives fewer than it was asked for has not looked at the others. */
static int read_hits(const PGresult *result, const struct vault_search *search, enum way way,
                     size_t rows, struct vault_hit **hits, size_t *found, bool *whole,
                     struct error *err)
{
    bool cut = false;
    int rc = 0;
    const size_t given = (size_t)PQntuples(result);
    struct candidate *candidates = malloc((given + 1) * sizeof(*candidates));
    *found = 0;
    *hits = calloc(search->limit, sizeof(**hits));
    if (candidates == NULL || *hits == NULL) {
        rc = no_memory(err);
        goto out;
    }
    const size_t count = rank(result, search->threshold, candidates, &cut);
    for (size_t i = 0; rc == 0 && i < count && *found < search->limit; i++) {
        if (!search->chunks && is_taken(*hits, *found, sql_get_text(result, candidates[i].row, 2)))
            continue;
        rc = read_hit(result, &candidates[i], &(*hits)[(*found)++], err);
    }
    *whole = *found == search->limit || cut || (way != BY_INDEX && given < rows);
out:
    free(candidates);
    if (rc != 0) {
        vault_hits_free(*hits, *found);
        *hits = NULL;
        *found = 0;
    }
    return rc;
}

/* ---- The search ---- */

static int try(PGconn *conn, const struct pgvector *pgvector, const struct vault_search *search,
               enum way way, size_t rows, struct vault_hit **hits, size_t *found, bool *whole,
               struct error *err)
{
    PGresult *result = take_nearest(conn, pgvector, search, way, rows, err);
    if (result == NULL) return -1;
    const int rc = read_hits(result, search, way, rows, hits, found, whole, err);
    PQclear(result);
    return rc;
}

static int search_in(PGconn *conn, const struct vault_search *search, struct vault_hit **hits,
                     size_t *found, struct error *err)
{
    struct pgvector pgvector = {0};
    bool whole = false;
    size_t rows = search->limit * PER_DOCUMENT;
    if (rows < LEAST) rows = LEAST;
    int rc = sql_run(conn, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
    if (rc == 0) rc = model_check(conn, search->model, err);
    if (rc == 0) rc = read_pgvector(conn, &pgvector, err);
    if (rc == 0) rc = prepare(conn, &pgvector, search, rows, err);
    if (rc == 0)
        rc = try(conn, &pgvector, search, pgvector.index ? BY_INDEX : BY_SCAN, rows, hits, found,
                 &whole, err);
    if (rc == 0 && !whole) {
        vault_hits_free(*hits, *found);
        rc = try(conn, &pgvector, search, search->chunks ? BY_SCAN : BY_DOCUMENT, search->limit,
                 hits, found, &whole, err);
    }
    free(pgvector.schema);
    return rc;
}

int vault_search(struct pool *pool, const struct vault_search *search, struct vault_hit **hits,
                 size_t *found, struct error *err)
{
    const char *metadata = search->metadata;
    *hits = NULL;
    *found = 0;
    if (metadata != NULL && utf8_valid_prefix(metadata, strlen(metadata)) != strlen(metadata))
        return error_set(err, ERR_INVALID, "metadata", "metadata must be JSON in UTF-8");
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = search_in(conn, search, hits, found, err);
    pool_release(pool, conn); /* and with it the end of the transaction */
    return rc;
}
