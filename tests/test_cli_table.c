/* Tables: columns that are aligned, cut on a terminal, and not widened by one long cell elsewhere.
 */
#include "tools/tekup/table.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct column columns[] = {
    {"PATH", COLUMN_SHRINK}, {"SIZE", COLUMN_NUMBER}, {"WHEN", COLUMN_TEXT}};

/* What a table with these paths is printed as. */
static char *printed(int width, int count, const char *const *paths)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    const struct terminal terminal = {.width = width};
    struct table *table = table_create(columns, 3);
    for (int i = 0; i < count; i++) {
        table_cell(table, paths[i], STYLE_NONE);
        table_cellf(table, STYLE_NONE, "%d", i * 50);
        table_cell(table, i == 0 ? NULL : "now", STYLE_NONE);
    }
    cr_assert_eq(table_print(table, out, &terminal), 0);
    table_free(table);
    fclose(out);
    return text;
}

Test(table, columns_are_aligned)
{
    const char *const paths[] = {"a", "longer\nname"};
    char *text = printed(0, 2, paths);
    cr_expect_str_eq(text, "PATH         SIZE  WHEN\n"
                           "a               0  -\n"
                           "longer name    50  now\n");
    free(text);
}

Test(table, a_very_long_cell_widens_no_other_row)
{
    char path[1001];
    memset(path, 'p', 1000);
    path[1000] = '\0';
    const char *const paths[] = {"a", path, "b.md"};
    char *text = printed(0, 3, paths);
    cr_expect(strncmp(text, "PATH  SIZE  WHEN\na        0  -\n", 31) == 0, "%s", text);
    cr_expect(strstr(text, "ppp    50  now\nb.md   100  now\n") != NULL, "%s", text);
    cr_expect_eq(strspn(strchr(text, 'p'), "p"), 1000, "nothing is cut");
    free(text);
}

Test(table, rows_fit_a_terminal)
{
    char path[1001];
    memset(path, 'p', 1000);
    path[1000] = '\0';
    const char *const paths[] = {"a", path};
    char *text = printed(40, 2, paths);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        cr_expect_leq(strcspn(line, "\n"), 42, "%s", text); /* the ellipsis has three bytes */
    cr_expect(strstr(text, "\xe2\x80\xa6") != NULL);
    free(text);
}
