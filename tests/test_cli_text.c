/* What the command line makes of text from outside: cleaning, width, snippets, tables, bars. */
#include "tools/tekup/progress.h"
#include "tools/tekup/snippet.h"
#include "tools/tekup/table.h"
#include "tools/tekup/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLACED "\xef\xbf\xbd"

static struct buffer built;

static void start(void)
{
    text_init();
    built = (struct buffer){0};
}

static void end(void)
{
    buffer_free(&built);
}

TestSuite(text, .init = start, .fini = end);
TestSuite(snippet, .init = start, .fini = end);
TestSuite(table, .init = start, .fini = end);
TestSuite(progress, .init = start, .fini = end);

static const char *clean(const char *text, enum text_lines lines)
{
    buffer_clear(&built);
    text_clean(&built, text, strlen(text), lines);
    return built.data != NULL ? built.data : "";
}

/* ---- Cleaning and width ---- */

Test(text, nothing_that_a_terminal_acts_on_gets_through)
{
    cr_expect_str_eq(clean("\033]0;x\007\033[2J", TEXT_ONE_LINE),
                     REPLACED "]0;x" REPLACED REPLACED "[2J");
    cr_expect_str_eq(clean("\x7f\b\x0e", TEXT_ONE_LINE), REPLACED REPLACED REPLACED);
    /* The C1 controls as UTF-8, and as bytes that are not UTF-8. */
    cr_expect_str_eq(clean("\xc2\x9b\x9b", TEXT_ONE_LINE), REPLACED REPLACED);
    /* Marks that turn the direction of writing. */
    cr_expect_str_eq(clean("\xe2\x80\xae\xe2\x81\xa6", TEXT_ONE_LINE), REPLACED REPLACED);
    cr_expect_str_eq(clean("smørrebrød \xf0\x9f\x8d\x9e", TEXT_ONE_LINE),
                     "smørrebrød \xf0\x9f\x8d\x9e");
}

Test(text, lines_stay_or_become_spaces)
{
    cr_expect_str_eq(clean("a\r\n\tb\rc", TEXT_LINES), "a\n\tbc");
    cr_expect_str_eq(clean("a\r\n\tb", TEXT_ONE_LINE), "a  b");
    cr_expect_str_eq(clean("", TEXT_LINES), "");
}

Test(text, width_counts_columns)
{
    cr_expect_eq(text_width("abc", 3), 3);
    cr_expect_eq(text_width("\xc3\xb8", 2), 1);
    cr_expect_eq(text_width("\xe5\xaf\xbf\xe5\x8f\xb8", 6), 4, "two wide characters");
    cr_expect_eq(text_width("e\xcc\x81", 3), 1, "a combining accent");
    cr_expect_eq(text_fit("\xe5\xaf\xbf\xe5\x8f\xb8", 6, 3), 3, "never half a character");
    cr_expect_eq(text_fit("abc", 3, 0), 0);
    cr_expect_eq(text_fit("abc", 3, 10), 3);
}

Test(text, json_stays_the_same_document)
{
    const char *json = "{\"a\": \"\xc2\x9b\x7f \xc3\xb8\"}\n";
    text_json(&built, json, strlen(json));
    cr_expect_str_eq(built.data, "{\"a\": \"\\u009b\\u007f \xc3\xb8\"}\n");
}

/* ---- Snippets ---- */

static const char *snippet(const char *query, const char *text, int width, int lines)
{
    struct terms terms;
    terms_parse(&terms, query);
    const struct snippet_style style = {width, 2, lines, "[", "]"};
    buffer_clear(&built);
    snippet_format(&built, &terms, text, strlen(text), &style);
    return built.data != NULL ? built.data : "";
}

Test(snippet, marks_the_words_of_the_query)
{
    cr_expect_str_eq(snippet("Turn the BELL off", "The bell, turned off: bellboy; felt", 80, 2),
                     "  [The] [bell], [turned] [off]: [bellboy]; felt\n");
    cr_expect_str_eq(snippet("Æble", "et æble", 80, 1), "  et [æble]\n",
                     "letters beyond ASCII have two cases as well");
    cr_expect_str_eq(snippet("a", "a b a", 80, 1), "  [a] b [a]\n");
    cr_expect_str_eq(snippet("...", "text", 80, 1), "  text\n");
    cr_expect_str_eq(snippet("x", "A title\n=======\n\nheeeere - x....", 80, 1),
                     "  A title === heeeere - [x]...\n", "rules are shortened, words are not");
}

Test(snippet, shows_the_place_where_most_words_stand_together)
{
    char text[4000] = "";
    for (int i = 0; i < 100; i++) strcat(text, "pepper filler words ");
    strcat(text, "here the salt and the pepper meet. ");
    for (int i = 0; i < 50; i++) strcat(text, "more filler words ");
    const char *found = snippet("salt pepper", text, 60, 2);
    cr_expect_not_null(strstr(found, "[salt]"), "%s", found);
    cr_expect_eq(strncmp(found, "  \xe2\x80\xa6", 5), 0, "%s", found);
    cr_expect_not_null(strstr(found, "\xe2\x80\xa6\n"), "%s", found);
}

Test(snippet, never_wider_than_the_line_nor_longer_than_asked)
{
    char text[3000] = "";
    for (int i = 0; i < 40; i++)
        strcat(text, "\xe5\xaf\xbf\xe5\x8f\xb8\xe5\xaf\xbf\xe5\x8f\xb8 x ");
    memset(text + strlen(text), 'y', 500);
    for (int width = 12; width < 60; width += 7) {
        const char *line = snippet("nothing", text, width, 3);
        int lines = 0;
        for (const char *stop; (stop = strchr(line, '\n')) != NULL; line = stop + 1) {
            cr_expect_leq(text_width(line, (size_t)(stop - line)), width);
            lines++;
        }
        cr_expect_eq(lines, 3);
    }
}

Test(snippet, text_without_words_is_no_trouble)
{
    cr_expect_str_eq(snippet("x", " \n\t ", 80, 3), "");
    cr_expect_str_eq(snippet("x", "", 80, 3), "");
    cr_expect_str_eq(snippet("", "\033[2J", 80, 3), "  " REPLACED "[2J\n");
}

Test(snippet, a_query_of_very_many_and_very_long_words)
{
    char query[5000] = "", word[80];
    for (int i = 0; i < 60; i++) {
        snprintf(word, sizeof(word), "word%d%060d ", i, i);
        strcat(query, word);
    }
    strcat(query, "short");
    struct terms terms;
    terms_parse(&terms, query);
    cr_expect_eq(terms.count, 1, "words too long to be remembered are left out");
    for (size_t i = 0; i < sizeof(query) / 3; i++) memcpy(query + 3 * i, "ab ", 3);
    query[sizeof(query) / 3 * 3 - 1] = '\0';
    terms_parse(&terms, query);
    cr_expect_eq(terms.count, TERMS_MAX);
}

/* ---- Tables ---- */

static const struct column columns[] = {
    {"NAME", COLUMN_SHRINK}, {"COUNT", COLUMN_NUMBER}, {"STATE", COLUMN_TEXT}};

/* Prints a table of two rows and returns the text; the caller frees it. */
static char *print_table(int width)
{
    struct table *table = table_create(columns, 3);
    cr_assert_not_null(table);
    table_cell(table, "\xe5\xaf\xbf\xe5\x8f\xb8", STYLE_BOLD);
    table_cellf(table, STYLE_NONE, "%d", 7);
    table_cell(table, NULL, STYLE_GREEN);
    table_cell(table, "a name that is rather long", STYLE_NONE);
    table_cell(table, "1,234", STYLE_NONE);
    table_cell(table, "o\033k", STYLE_NONE);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    const struct terminal terminal = {false, false, width};
    cr_expect_eq(table_print(table, out, &terminal), 0);
    fclose(out);
    table_free(table);
    return text;
}

Test(table, aligns_what_is_wide_and_cuts_nothing_in_a_pipe)
{
    char *text = print_table(0);
    cr_expect_str_eq(text, "NAME                        COUNT  STATE\n"
                           "\xe5\xaf\xbf\xe5\x8f\xb8                            7  -\n"
                           "a name that is rather long  1,234  o" REPLACED "k\n");
    free(text);
}

Test(table, a_narrow_terminal_cuts_the_column_that_may_shrink)
{
    char *text = print_table(28);
    cr_expect_str_eq(text, "NAME            COUNT  STATE\n"
                           "\xe5\xaf\xbf\xe5\x8f\xb8                7  -\n"
                           "a name that i\xe2\x80\xa6  1,234  o" REPLACED "k\n");
    free(text);
}

/* ---- Bars ---- */

Test(progress, a_bar_fits_its_line_whatever_it_says)
{
    const struct progress_row rows[] = {
        {"local /usr/share/doc", 0.5, "420 of 840 files"},
        {"local \xe5\xaf\xbf\xe5\x8f\xb8", -1, "queued"},
        {"x", 7, "a text that is so long that it will never fit into a line of a terminal \033[2J"},
    };
    for (int width = 24; width <= 200; width += 11) {
        const struct terminal terminal = {true, false, width};
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            buffer_clear(&built);
            progress_bar(&built, &rows[i], width / 3, &terminal);
            cr_expect_lt(text_width(built.data, built.length), width, "%d: %s", width, built.data);
            cr_expect_null(strchr(built.data, '\033'));
        }
    }
    const struct terminal wide = {true, false, 100};
    buffer_clear(&built);
    progress_bar(&built, &rows[0], 20, &wide);
    cr_expect_not_null(strstr(built.data, " 50 %  420 of 840 files"), "%s", built.data);
}

Test(progress, a_log_gets_lines_and_a_terminal_gets_its_lines_back)
{
    const struct progress_row row = {"local docs", 0.25, "1 of 4 files"};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    const struct terminal none = {0};
    struct progress *progress = progress_create(out, &none, 0);
    progress_show(progress, &row, 1);
    progress_free(progress);
    cr_expect_str_eq(text, "local docs: 25 %, 1 of 4 files\n");

    rewind(out);
    const struct terminal live = {true, false, 80};
    progress = progress_create(out, &live, 0);
    progress_show(progress, &row, 1);
    progress_show(progress, &row, 1);
    progress_free(progress);
    fclose(out);
    cr_expect_not_null(strstr(text, "\033[1A"), "the second frame goes over the first");
    cr_expect_str_eq(text + strlen(text) - strlen("\033[1A\033[J"), "\033[1A\033[J");
    free(text);
}
