/* Reading a chunk with what stands around it. */
#include "storage/sql.h"
#include "storage/vault/vault.h"
#include "storage/vault/vault_row.h"

#include <stdlib.h>

/* Columns behind the document's. */
enum {
    COLUMN_START = DOCUMENT_COLUMN_COUNT,
    COLUMN_END,
    COLUMN_LENGTH, /* of the content */
    COLUMN_FIRST,  /* where the window begins */
    COLUMN_WINDOW
};

/* Those of the document. */
#define CHUNKS                                                                                     \
    "tekupdb.\"Chunk\" k JOIN vault.\"VaultEmbedding\" e"                                          \
    " ON e.\"id\" = k.\"embeddingId\" AND e.\"documentId\" = k.\"documentId\""                     \
    " WHERE k.\"documentId\" = d.\"id\""

/* The window is cut out by the server. Ranges are brought within the content, which another writer
 * may have made shorter. OFFSET 0 keeps the content from being converted once for each column. */
static const char statement[] =
    "SELECT " DOCUMENT_COLUMNS ", r.first, r.last, r.length, greatest(r.first - $3, 0),"
    " substring(r.bytes FROM (greatest(r.first - $3, 0) + 1)::int"
    " FOR (least(r.last + $4, r.length) - greatest(r.first - $3, 0))::int)"
    " FROM vault.\"VaultDocument\" d CROSS JOIN LATERAL ("
    "SELECT b.bytes, octet_length(b.bytes)::bigint AS length, c.first, c.last"
    " FROM (SELECT convert_to(d.\"content\", 'UTF8') AS bytes OFFSET 0) b"
    " LEFT JOIN LATERAL ("
    "SELECT least(k.\"startByte\", octet_length(b.bytes))::bigint AS first,"
    " least(k.\"endByte\", octet_length(b.bytes))::bigint AS last"
    " FROM " CHUNKS " AND k.\"ordinal\" = $2"
    " UNION ALL SELECT 0, octet_length(b.bytes)"
    " WHERE $2 = 0 AND NOT EXISTS (SELECT FROM " CHUNKS ")"
    " LIMIT 1) c ON true OFFSET 0) r"
    " WHERE d.\"id\" = $1 AND " DOCUMENT_FITS;

void surroundings_free(struct surroundings *around)
{
    document_free(&around->document);
    free(around->before);
    free(around->text);
    free(around->after);
    *around = (struct surroundings){0};
}

static int cut(const PGresult *result, struct surroundings *around, struct error *err)
{
    const char *window = PQgetvalue(result, 0, COLUMN_WINDOW);
    const size_t first = (size_t)sql_get_int8(result, 0, COLUMN_FIRST);
    const size_t last = first + (size_t)PQgetlength(result, 0, COLUMN_WINDOW);
    around->start = (size_t)sql_get_int8(result, 0, COLUMN_START);
    around->end = (size_t)sql_get_int8(result, 0, COLUMN_END);
    around->at_start = first == 0;
    around->at_end = last == (size_t)sql_get_int8(result, 0, COLUMN_LENGTH);
    around->before = document_copy_bytes(window, around->start - first);
    around->text =
        document_copy_bytes(window + (around->start - first), around->end - around->start);
    around->after = document_copy_bytes(window + (around->end - first), last - around->end);
    if (around->before != NULL && around->text != NULL && around->after != NULL) return 0;
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static int read_around(const PGresult *result, int ordinal, struct surroundings *around,
                       struct error *err)
{
    if (PQntuples(result) == 0)
        return error_set(err, ERR_NOT_FOUND, NULL, "there is no such document");
    if (sql_is_null(result, 0, COLUMN_START))
        return error_set(err, ERR_NOT_FOUND, "chunk", "the document has no chunk %d", ordinal);
    if (document_read(result, 0, 0, -1, &around->document, err) != 0) return -1;
    around->ordinal = ordinal;
    return cut(result, around, err);
}

int vault_fetch_around(struct pool *pool, const char *id, int ordinal, size_t before, size_t after,
                       struct surroundings *around, struct error *err)
{
    struct sql sql = {0};
    *around = (struct surroundings){0};
    sql_text(&sql, id);
    sql_int4(&sql, ordinal);
    sql_int8(&sql, (int64_t)before);
    sql_int8(&sql, (int64_t)after);
    PGresult *result = sql_query(pool, statement, &sql, err);
    if (result == NULL) return -1;
    const int rc = read_around(result, ordinal, around, err);
    if (rc != 0) surroundings_free(around);
    PQclear(result);
    return rc;
}
