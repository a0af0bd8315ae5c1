/* vault_row.h: a document as the queries of the vault select it. */
#ifndef STORAGE_VAULT_ROW_H
#define STORAGE_VAULT_ROW_H

#include "storage/vault/vault.h"

/* The columns of the row d of vault."VaultDocument", in the order that document_read takes them. An
 * id that is too long for struct document is another writer's; such rows are left out. */
#define DOCUMENT_COLUMNS                                                                           \
    "d.\"id\", d.\"source\", d.\"repository\", d.\"path\", d.\"sha\", d.\"metadata\"::text,"       \
    " to_char(d.\"createdAt\", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"                              \
    " to_char(d.\"updatedAt\", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define DOCUMENT_FITS "octet_length(d.\"id\") < 40"
enum { DOCUMENT_COLUMN_COUNT = 8 };

/* Reads the columns from `first` on; content_column is -1 where the content was not selected. */
int document_read(const PGresult *result, int row, int first, int content_column,
                  struct document *document, struct error *err);

/* Bytes of a content as a string, NULL when memory ran out. A document that another writer has
 * changed since may have other characters at the ends of a chunk's range; those that are cut are
 * left off. */
char *document_copy_bytes(const char *bytes, size_t length);

struct sql;

/* Runs a search's statement for results in binary, which the caller clears. metadata is what it
 * filters by, NULL where it does not. NULL where it failed: ERR_INVALID with field "metadata" where
 * PostgreSQL does not take that, else as pool_error says. */
PGresult *vault_row_search(PGconn *conn, const char *statement, const struct sql *sql,
                           const char *metadata, struct error *err);

#endif
