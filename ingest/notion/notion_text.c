/* notion_text.c: see notion_text.h. */
#include "ingest/notion/notion_text.h"

#include <stdbool.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static void put_lines(const char *text, const char *prefix, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        buffer_append(out, text, 1);
        if (*text == '\n') buffer_text(out, prefix);
    }
}

/* What stands around words has to stand close to them, or Markdown does not see it. */
static void put_marked(const char *text, const char *before, const char *after, const char *prefix,
                       struct buffer *out)
{
    const size_t length = strlen(text);
    const size_t lead = strspn(text, " \t\n");
    size_t tail = length;
    while (tail > lead && strchr(" \t\n", text[tail - 1]) != NULL) tail--;
    if (lead == length) {
        put_lines(text, prefix, out);
        return;
    }
    struct buffer middle = {0};
    buffer_append(out, text, lead);
    buffer_text(out, before);
    buffer_append(&middle, text + lead, tail - lead);
    put_lines(middle.data != NULL ? middle.data : "", prefix, out);
    buffer_free(&middle);
    buffer_text(out, after);
    buffer_append(out, text + tail, length - tail);
}

static bool is_set(const json_t *annotations, const char *name)
{
    return json_is_true(json_object_get(annotations, name));
}

/* What stands around code: more backticks than it has in a row, and a space where it has one at an
 * end. */
static void mark_code(const char *text, char *before, char *after)
{
    enum { RUN_MOST = 8 };
    size_t longest = 0;
    for (const char *at = text; *at != '\0'; at++) {
        const size_t run = strspn(at, "`");
        if (run > longest) longest = run;
        if (run > 0) at += run - 1;
    }
    if (longest > RUN_MOST) longest = RUN_MOST;
    const bool apart = longest > 0 && (text[0] == '`' || text[strlen(text) - 1] == '`');
    if (apart) strcat(after, " ");
    for (size_t i = 0; i <= longest; i++) {
        strcat(before, "`");
        strcat(after, "`");
    }
    if (apart) strcat(before, " ");
}

static void put_piece(const json_t *piece, const char *prefix, struct buffer *out)
{
    const json_t *marks = json_object_get(piece, "annotations");
    const char *type = text_of(piece, "type"), *text = text_of(piece, "plain_text");
    const char *link = json_string_value(json_object_get(piece, "href"));
    if (strcmp(type, "equation") == 0) {
        const char *expression = text_of(json_object_get(piece, "equation"), "expression");
        buffer_format(out, "$%s$", *expression != '\0' ? expression : text);
        return;
    }
    const bool bold = is_set(marks, "bold"), italic = is_set(marks, "italic");
    const bool code = is_set(marks, "code"), struck = is_set(marks, "strikethrough");
    char before[24] = "", after[24] = "";
    if (struck) strcat(before, "~~");
    if (bold) strcat(before, "**");
    if (italic) strcat(before, "*");
    if (code) mark_code(text, before, after);
    if (italic) strcat(after, "*");
    if (bold) strcat(after, "**");
    if (struck) strcat(after, "~~");
    /* A link that is its own text is one already. */
    const bool linked = link != NULL && strcmp(link, text) != 0 && *text != '\0';
    if (linked) buffer_text(out, "[");
    if (*before != '\0')
        put_marked(text, before, after, prefix, out);
    else
        put_lines(text, prefix, out);
    if (linked) buffer_format(out, "](%s%s)", *link == '/' ? "https://www.notion.so" : "", link);
}

void notion_text_markdown(const json_t *rich_text, const char *prefix, struct buffer *out)
{
    size_t i;
    const json_t *piece;
    json_array_foreach(rich_text, i, piece) put_piece(piece, prefix, out);
}

void notion_text_plain(const json_t *rich_text, struct buffer *out)
{
    size_t i;
    const json_t *piece;
    json_array_foreach(rich_text, i, piece) buffer_text(out, text_of(piece, "plain_text"));
}
