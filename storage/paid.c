/* Embeddings on their way to their documents. */
#include "storage/paid.h"

#include "storage/copy.h"
#include "storage/embedding.h"
#include "storage/sql.h"
#include "storage/vault/vault.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "embeddings are kept in the order of this machine, which must be little-endian"
#endif

enum { VECTOR_SIZE = EMBEDDING_DIM * sizeof(float) };

#define DELETE_WRITTEN                                                                             \
    "DELETE FROM tekupdb.\"PaidEmbedding\" p WHERE EXISTS (SELECT FROM tekupdb.\"Chunk\" c"        \
    " WHERE c.\"model\" = p.\"model\" AND c.\"contentHash\" = p.\"contentHash\")"

static int copy_texts(PGconn *conn, const char *model, const struct paid_text *texts, size_t count,
                      struct error *err)
{
    struct copy_in copy;
    if (copy_in_begin(&copy, conn,
                      "COPY tekupdb.\"PaidEmbedding\" (\"model\", \"contentHash\", \"embedding\")"
                      " FROM STDIN (FORMAT binary)",
                      err) != 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = copy_in_row(&copy, 3, err);
        if (rc != 0) break;
        copy_in_bytes(&copy, model, strlen(model));
        copy_in_bytes(&copy, texts[i].hash, SHA256_SIZE);
        copy_in_bytes(&copy, texts[i].embedding, VECTOR_SIZE);
    }
    return copy_in_end(&copy, rc != 0, err);
}

int paid_keep(struct pool *pool, const char *model, const struct paid_text *texts, size_t count,
              struct error *err)
{
    if (count == 0) return 0;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = copy_texts(conn, model, texts, count, err);
    if (rc == 0)
        rc = sql_run(conn, DELETE_WRITTEN " AND p.\"paidAt\" < now() - interval '5 seconds'", err);
    pool_release(pool, conn);
    return rc;
}

int paid_find(struct pool *pool, const char *model, const uint8_t *hashes, size_t count,
              float *embeddings, bool *found, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    PGresult *rows = sql_by_hashes(conn,
                                   "SELECT u.place, p.\"embedding\""
                                   " FROM unnest($2) WITH ORDINALITY AS u (hash, place)"
                                   " CROSS JOIN LATERAL (SELECT p.\"embedding\" FROM"
                                   " tekupdb.\"PaidEmbedding\" p WHERE p.\"model\" = $1"
                                   " AND p.\"contentHash\" = u.hash LIMIT 1) AS p",
                                   model, hashes, count, err);
    pool_release(pool, conn);
    for (int row = 0; rows != NULL && row < PQntuples(rows); row++) {
        const size_t place = sql_get_place(rows, row, count);
        if (place == count || found[place] || PQgetlength(rows, row, 1) != VECTOR_SIZE) continue;
        float *vector = embeddings + place * EMBEDDING_DIM;
        memcpy(vector, PQgetvalue(rows, row, 1), VECTOR_SIZE);
        found[place] = embedding_usable(vector);
    }
    const int rc = rows != NULL ? 0 : -1;
    PQclear(rows);
    return rc;
}

int paid_sweep(struct pool *pool, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn, DELETE_WRITTEN, err);
    if (rc == 0)
        rc = sql_run(conn,
                     "DELETE FROM tekupdb.\"PaidEmbedding\""
                     " WHERE \"paidAt\" < now() - interval '7 days'",
                     err);
    pool_release(pool, conn);
    return rc;
}
