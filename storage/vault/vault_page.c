/* Reading embeddings, some or a page at a time, for whoever wants the vectors themselves. */
#include "storage/embedding.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"

#include <string.h>

/* Those that say nothing of their model count as its own. */
static const char statement[] =
    "SELECT e.\"id\", e.\"embedding\" FROM vault.\"VaultEmbedding\" e"
    " LEFT JOIN tekupdb.\"Chunk\" c"
    " ON c.\"embeddingId\" = e.\"id\" AND c.\"documentId\" = e.\"documentId\""
    " WHERE e.\"id\" > $1 AND (c.\"model\" IS NULL OR c.\"model\" = $2)"
    " ORDER BY e.\"id\" LIMIT $3";

/* Another writer's mistakes are passed over: the index has not got them either. */
static void read_page(const PGresult *rows, int count, float *vectors, struct embedding_page *page)
{
    for (int row = 0; row < count; row++) {
        float *vector = vectors + page->count * EMBEDDING_DIM;
        page->last = sql_get_int4(rows, row, 0);
        if (!sql_is_null(rows, row, 1) &&
            embedding_decode(PQgetvalue(rows, row, 1), (size_t)PQgetlength(rows, row, 1), vector) ==
                0 &&
            embedding_usable(vector))
            page->count++;
    }
}

int vault_page_embeddings(struct pool *pool, const char *model, int32_t after, size_t limit,
                          float *vectors, struct embedding_page *page, struct error *err)
{
    struct sql sql = {0};
    sql_int4(&sql, after);
    sql_text(&sql, model);
    sql_int8(&sql, (int64_t)limit + 1); /* one more tells whether there is a next page */
    *page = (struct embedding_page){.last = after};
    PGresult *rows = sql_query(pool, statement, &sql, err);
    if (rows == NULL) return -1;
    const int count = PQntuples(rows);
    page->more = (size_t)count > limit;
    read_page(rows, page->more ? (int)limit : count, vectors, page);
    PQclear(rows);
    return 0;
}

int vault_fetch_vectors(struct pool *pool, const int64_t *embedding_ids, size_t count,
                        float *vectors, bool *found, struct error *err)
{
    enum { INT8_ARRAY = 1016 };
    struct buffer ids = {0};
    struct sql sql = {0};
    memset(found, 0, count * sizeof(*found));
    if (count == 0) return 0;
    sql_put_array(&ids, SQL_INT8, count);
    for (size_t i = 0; i < count; i++) {
        sql_put_int4(&ids, sizeof(int64_t));
        sql_put_int8(&ids, embedding_ids[i]);
    }
    sql_bytes(&sql, INT8_ARRAY, ids.data, ids.length);
    PGresult *rows = ids.failed ? NULL
                                : sql_query(pool,
                                            "SELECT u.place, e.\"embedding\" FROM unnest($1)"
                                            " WITH ORDINALITY AS u (id, place)"
                                            " JOIN vault.\"VaultEmbedding\" e ON e.\"id\" = u.id",
                                            &sql, err);
    if (ids.failed) error_set(err, ERR_INTERNAL, NULL, "out of memory");
    buffer_free(&ids);
    if (rows == NULL) return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        const int64_t place = sql_get_int8(rows, row, 0);
        if (place < 1 || (size_t)place > count || sql_is_null(rows, row, 1)) continue;
        float *vector = vectors + (size_t)(place - 1) * EMBEDDING_DIM;
        found[place - 1] = embedding_decode(PQgetvalue(rows, row, 1),
                                            (size_t)PQgetlength(rows, row, 1), vector) == 0 &&
                           embedding_usable(vector);
    }
    PQclear(rows);
    return 0;
}
