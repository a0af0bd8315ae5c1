#include "storage/vault/vault_row.h"

#include "storage/base/utf8.h"
#include "storage/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(DOCUMENT_ID_SIZE == 40, "DOCUMENT_FITS says the same");

void document_free(struct document *document)
{
    free(document->source);
    free(document->repository);
    free(document->path);
    free(document->content);
    free(document->sha);
    free(document->metadata);
    *document = (struct document){0};
}

static void copy_fixed(const PGresult *result, int row, int column, char *out, size_t size)
{
    const char *text = sql_get_text(result, row, column);
    snprintf(out, size, "%s", text != NULL ? text : "");
}

int document_read(const PGresult *result, int row, int first, int content_column,
                  struct document *document, struct error *err)
{
    bool failed = false;
    *document = (struct document){0};
    copy_fixed(result, row, first, document->id, sizeof(document->id));
    document->source = sql_copy_text(result, row, first + 1, &failed);
    document->repository = sql_copy_text(result, row, first + 2, &failed);
    document->path = sql_copy_text(result, row, first + 3, &failed);
    document->sha = sql_copy_text(result, row, first + 4, &failed);
    document->metadata = sql_copy_text(result, row, first + 5, &failed);
    copy_fixed(result, row, first + 6, document->created_at, sizeof(document->created_at));
    copy_fixed(result, row, first + 7, document->updated_at, sizeof(document->updated_at));
    if (content_column >= 0) {
        document->content = sql_copy_text(result, row, content_column, &failed);
        document->content_length = (size_t)PQgetlength(result, row, content_column);
    }
    if (!failed) return 0;
    document_free(document);
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

char *document_copy_bytes(const char *bytes, size_t length)
{
    while (length > 0 && ((unsigned char)bytes[0] & 0xc0) == 0x80) {
        bytes++;
        length--;
    }
    length = utf8_valid_prefix(bytes, length);
    char *text = malloc(length + 1);
    if (text == NULL) return NULL;
    if (length > 0) memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

PGresult *vault_row_search(PGconn *conn, const char *statement, const struct sql *sql,
                           const char *metadata, struct error *err)
{
    PGresult *rows = PQexecParams(conn, statement, sql->count, sql->types, sql->values,
                                  sql->lengths, sql->formats, 1);
    if (PQresultStatus(rows) == PGRES_TUPLES_OK) return rows;
    if (metadata != NULL && sql_state_is(rows, "22"))
        error_set(err, ERR_INVALID, "metadata", "metadata is not what PostgreSQL takes as JSON");
    else
        pool_error(conn, rows, err);
    PQclear(rows);
    return NULL;
}
