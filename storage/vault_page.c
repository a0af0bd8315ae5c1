/* Reading embeddings a page at a time, for whoever wants the vectors themselves. */
#include "storage/embedding.h"
#include "storage/sql.h"
#include "storage/vault.h"

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
