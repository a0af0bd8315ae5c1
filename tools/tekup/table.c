#include "tools/tekup/table.h"

#include "tools/tekup/text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 2,
    SHRINK_LEAST = 12,
    COLUMNS_MAX = 16,
    WIDE = 80 /* where there is no terminal a longer cell sticks out, and widens no other row */
};
#define ELLIPSIS "\xe2\x80\xa6"

struct cell {
    char *text;
    int width;
    enum style style;
};

struct table {
    const struct column *columns;
    int column_count;
    struct cell *cells;
    size_t cell_count, capacity;
    bool failed;
};

struct table *table_create(const struct column *columns, int count)
{
    if (count < 1 || count > COLUMNS_MAX) abort();
    struct table *table = calloc(1, sizeof(*table));
    if (table == NULL) return NULL;
    table->columns = columns;
    table->column_count = count;
    return table;
}

void table_free(struct table *table)
{
    if (table == NULL) return;
    for (size_t i = 0; i < table->cell_count; i++) free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void table_cell(struct table *table, const char *text, enum style style)
{
    if (table->failed) return;
    if (table->cell_count == table->capacity) {
        const size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        struct cell *cells = realloc(table->cells, capacity * sizeof(*cells));
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    struct buffer clean = {0};
    if (text == NULL || *text == '\0') text = "-";
    text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
    const int width = text_width(clean.data != NULL ? clean.data : "", clean.length);
    char *copy = buffer_take(&clean);
    if (copy == NULL) {
        table->failed = true;
        return;
    }
    table->cells[table->cell_count++] = (struct cell){copy, width, style};
}

void table_cellf(struct table *table, enum style style, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    table_cell(table, text, style);
}

static void measure(const struct table *table, int *widths, int most)
{
    for (int column = 0; column < table->column_count; column++)
        widths[column] =
            text_width(table->columns[column].title, strlen(table->columns[column].title));
    for (size_t i = 0; i < table->cell_count; i++) {
        int *width = &widths[i % (size_t)table->column_count];
        if (table->cells[i].width > *width && table->cells[i].width <= most)
            *width = table->cells[i].width;
    }
}

/* Takes columns from the widest that may shrink until a row fits or none can shrink any more. */
static void shrink(const struct table *table, int *widths, int limit)
{
    for (;;) {
        int total = -GAP, widest = -1;
        for (int column = 0; column < table->column_count; column++) {
            total += widths[column] + GAP;
            if (table->columns[column].kind == COLUMN_SHRINK && widths[column] > SHRINK_LEAST &&
                (widest < 0 || widths[column] > widths[widest]))
                widest = column;
        }
        if (total <= limit || widest < 0) return;
        widths[widest]--;
    }
}

static void print_cell(const struct table *table, int column, const char *text, int width,
                       enum style style, const int *widths, FILE *out,
                       const struct terminal *terminal)
{
    const bool last = column == table->column_count - 1;
    const int pad = widths[column] > width ? widths[column] - width : 0;
    const bool right = table->columns[column].kind == COLUMN_NUMBER;
    if (right) fprintf(out, "%*s", pad, "");
    if (style != STYLE_NONE) fputs(terminal_style(terminal, style), out);
    if (width > widths[column] && terminal->width > 0) {
        const size_t fit = text_fit(text, strlen(text), widths[column] - 1);
        fwrite(text, 1, fit, out);
        fputs(ELLIPSIS, out);
    } else {
        fputs(text, out);
    }
    if (style != STYLE_NONE) fputs(terminal_style(terminal, STYLE_NONE), out);
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (right ? 0 : pad) + GAP, "");
}

int table_print(const struct table *table, FILE *out, const struct terminal *terminal)
{
    if (table->failed) return -1;
    int widths[COLUMNS_MAX];
    measure(table, widths, terminal->width > 0 ? INT_MAX : WIDE);
    if (terminal->width > 0) shrink(table, widths, terminal->width);
    for (int column = 0; column < table->column_count; column++) {
        const char *title = table->columns[column].title;
        print_cell(table, column, title, text_width(title, strlen(title)), STYLE_DIM, widths, out,
                   terminal);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        const struct cell *cell = &table->cells[i];
        print_cell(table, (int)(i % (size_t)table->column_count), cell->text, cell->width,
                   cell->style, widths, out, terminal);
    }
    return 0;
}
