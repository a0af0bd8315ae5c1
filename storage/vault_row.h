/* vault_row.h: a document as the queries of the vault select it. */
#ifndef STORAGE_VAULT_ROW_H
#define STORAGE_VAULT_ROW_H

#include "storage/vault.h"

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

#endif
