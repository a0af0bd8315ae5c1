/*
 * table.h: rows with aligned columns.
 *
 *     TITLE   in the first line, and the widest cell decides each column. On a terminal the columns
 *     that may shrink are cut with an ellipsis until a row fits; elsewhere nothing is cut, and a
 *     very long cell moves what is after it in its own row only.
 */
#ifndef TEKUP_TABLE_H
#define TEKUP_TABLE_H

#include "tools/tekup/terminal.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_SHRINK, /* may be cut at its end on a narrow terminal */
    COLUMN_NUMBER  /* aligned to the right */
};

struct column {
    const char *title;
    enum column_kind kind;
};

struct table;

/* columns must outlive the table. NULL when memory ran out. */
struct table *table_create(const struct column *columns, int count);
void table_free(struct table *table);

/* The next cell of the row being filled; rows follow from the number of columns. The text is copied
 * and cleaned; NULL is shown as "-". */
void table_cell(struct table *table, const char *text, enum style style);
void table_cellf(struct table *table, enum style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes the table. Returns -1 when memory ran out on the way. */
int table_print(const struct table *table, FILE *out, const struct terminal *terminal);

#endif
