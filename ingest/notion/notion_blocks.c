/* notion_blocks.c: see notion_blocks.h. */
#include "ingest/notion/notion_blocks.h"

#include "ingest/notion/notion_text.h"

#include <stdlib.h>
#include <string.h>

/* Deeper than this nothing is indented any more. */
enum { PREFIX_MOST = 120 };

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* An empty line, but between items of one list. */
static void part(struct notion_frame *frame, bool list, struct buffer *out)
{
    if (out->length > 0 && !(list && frame->after_list)) {
        size_t end = strlen(frame->prefix);
        while (end > 0 && frame->prefix[end - 1] == ' ') end--;
        buffer_append(out, frame->prefix, end);
        buffer_text(out, "\n");
    }
    frame->after_list = list;
    if (!list) frame->number = 0;
}

static void put_line(struct notion_frame *frame, const char *before, const json_t *rich_text,
                     struct buffer *out)
{
    buffer_text(out, frame->prefix);
    buffer_text(out, before);
    notion_text_markdown(rich_text, frame->prefix, out);
    buffer_text(out, "\n");
}

static void go_inside(const struct notion_frame *frame, const char *more,
                      struct notion_frame *inside)
{
    const bool deep = strlen(frame->prefix) + strlen(more) > PREFIX_MOST;
    char *prefix = malloc(strlen(frame->prefix) + strlen(more) + 1);
    if (prefix == NULL) return;
    strcpy(prefix, frame->prefix);
    if (!deep) strcat(prefix, more);
    inside->prefix = prefix;
}

/* ---- Kinds of blocks ---- */

static void put_heading(struct notion_frame *frame, const char *type, const json_t *content,
                        struct buffer *out)
{
    static const char *const marks[] = {"## ", "### ", "#### "}; /* the page's title is the first */
    const int level = type[8] >= '1' && type[8] <= '3' ? type[8] - '1' : 2;
    struct buffer title = {0};
    notion_text_markdown(json_object_get(content, "rich_text"), "", &title);
    for (char *c = title.data; c != NULL && *c != '\0'; c++)
        if (*c == '\n') *c = ' '; /* a heading is one line */
    part(frame, false, out);
    buffer_format(out, "%s%s%s\n", frame->prefix, marks[level],
                  title.data != NULL ? title.data : "");
    buffer_free(&title);
}

/* Text as it is, each line of it where the frame has it. */
static void put_lines(const struct notion_frame *frame, const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        buffer_append(out, text, 1);
        if (*text == '\n') buffer_text(out, frame->prefix);
    }
}

static void put_code(struct notion_frame *frame, const json_t *content, struct buffer *out)
{
    struct buffer code = {0};
    const char *language = text_of(content, "language");
    notion_text_plain(json_object_get(content, "rich_text"), &code);
    const char *text = code.data != NULL ? code.data : "";
    char fence[64] = "```";
    /* Longer than what the code itself holds. */
    while (strlen(fence) + 1 < sizeof(fence) && strstr(text, fence) != NULL) strcat(fence, "`");
    part(frame, false, out);
    buffer_format(out, "%s%s%s\n%s", frame->prefix, fence,
                  strcmp(language, "plain text") == 0 ? "" : language, frame->prefix);
    put_lines(frame, text, out);
    buffer_format(out, "\n%s%s\n", frame->prefix, fence);
    buffer_free(&code);
    if (json_array_size(json_object_get(content, "caption")) > 0)
        put_line(frame, "", json_object_get(content, "caption"), out);
}

static void put_table_row(struct notion_frame *frame, const json_t *content, struct buffer *out)
{
    const json_t *cells = json_object_get(content, "cells"), *cell;
    size_t i;
    buffer_format(out, "%s|", frame->prefix);
    json_array_foreach(cells, i, cell)
    {
        struct buffer text = {0};
        notion_text_markdown(cell, "", &text);
        buffer_text(out, " ");
        for (const char *c = text.data; c != NULL && *c != '\0'; c++)
            buffer_text(out, *c == '\n' ? "<br>" : *c == '|' ? "\\|" : (char[]){*c, '\0'});
        buffer_text(out, " |");
        buffer_free(&text);
    }
    buffer_text(out, "\n");
    if (frame->table_rows++ > 0) return;
    buffer_format(out, "%s|", frame->prefix);
    for (i = 0; i < json_array_size(cells); i++) buffer_text(out, " --- |");
    buffer_text(out, "\n");
}

/* image, video, audio, file, pdf: a link, whose address Notion signs for an hour only where it
 * keeps the file itself; such an address is left out, since it would change the text at every sync.
 */
static void put_file(struct notion_frame *frame, const char *type, const json_t *content,
                     struct buffer *out)
{
    const char *url = text_of(json_object_get(content, "external"), "url");
    const char *name = text_of(content, "name");
    struct buffer caption = {0};
    notion_text_plain(json_object_get(content, "caption"), &caption);
    const char *label = caption.length > 0 ? caption.data : *name != '\0' ? name : type;
    part(frame, false, out);
    if (*url != '\0')
        buffer_format(out, "%s%s[%s](%s)\n", frame->prefix, strcmp(type, "image") == 0 ? "!" : "",
                      label, url);
    else
        buffer_format(out, "%s[%s: %s]\n", frame->prefix, type, label);
    buffer_free(&caption);
}

static void put_link(struct notion_frame *frame, const json_t *content, struct buffer *out)
{
    const char *url = text_of(content, "url");
    struct buffer caption = {0};
    notion_text_plain(json_object_get(content, "caption"), &caption);
    part(frame, false, out);
    if (caption.length > 0)
        buffer_format(out, "%s[%s](%s)\n", frame->prefix, caption.data, url);
    else
        buffer_format(out, "%s<%s>\n", frame->prefix, url);
    buffer_free(&caption);
}

static void put_page_link(struct notion_frame *frame, const char *title, const char *id,
                          struct buffer *out)
{
    part(frame, false, out);
    buffer_format(out, "%s[%s](https://www.notion.so/", frame->prefix,
                  *title != '\0' ? title : "a page");
    for (; *id != '\0'; id++)
        if (*id != '-') buffer_append(out, id, 1);
    buffer_text(out, ")\n");
}

static const char *linked_id(const json_t *content)
{
    static const char *const kinds[] = {"page_id", "database_id", "data_source_id", "comment_id"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (*text_of(content, kinds[i]) != '\0') return text_of(content, kinds[i]);
    return "";
}

/* What we do not know is kept as the text that it has. */
static void put_unknown(struct notion_frame *frame, const json_t *content, struct buffer *out)
{
    const json_t *text = json_object_get(content, "rich_text");
    if (json_array_size(text) == 0) text = json_object_get(content, "title");
    if (json_array_size(text) == 0) text = json_object_get(content, "caption");
    if (!json_is_array(text) || json_array_size(text) == 0) return;
    part(frame, false, out);
    put_line(frame, "", text, out);
}

static void put_callout(struct notion_frame *frame, const json_t *content, struct buffer *out)
{
    const char *emoji = text_of(json_object_get(content, "icon"), "emoji");
    char *own = frame->prefix;
    part(frame, false, out);
    buffer_format(out, "%s> %s%s", own, emoji, *emoji != '\0' ? " " : "");
    struct buffer prefix = {0};
    buffer_format(&prefix, "%s> ", own);
    notion_text_markdown(json_object_get(content, "rich_text"),
                         prefix.data != NULL ? prefix.data : "", out);
    buffer_free(&prefix);
    buffer_text(out, "\n");
}

static void put_item(struct notion_frame *frame, const char *type, const json_t *content,
                     struct buffer *out)
{
    char mark[32] = "- ";
    const bool numbered = strcmp(type, "numbered_list_item") == 0;
    if (!numbered) frame->number = 0;
    part(frame, true, out);
    if (numbered) snprintf(mark, sizeof(mark), "%zu. ", ++frame->number);
    if (strcmp(type, "to_do") == 0)
        strcpy(mark, json_is_true(json_object_get(content, "checked")) ? "- [x] " : "- [ ] ");
    put_line(frame, mark, json_object_get(content, "rich_text"), out);
}

/* ---- All of them ---- */

static bool is_one_of(const char *type, const char *const *kinds)
{
    while (*kinds != NULL && strcmp(*kinds, type) != 0) kinds++;
    return *kinds != NULL;
}

static bool has_children(const json_t *block)
{
    return json_is_true(json_object_get(block, "has_children"));
}

bool notion_block_write(const json_t *block, struct notion_frame *frame,
                        struct notion_frame *inside, struct buffer *out)
{
    static const char *const items[] = {"bulleted_list_item", "numbered_list_item", "to_do",
                                        "toggle", NULL};
    static const char *const files[] = {"image", "video", "audio", "file", "pdf", NULL};
    static const char *const links[] = {"bookmark", "embed", "link_preview", NULL};
    static const char *const silent[] = {"table_of_contents", "breadcrumb", "column_list", "column",
                                         "synced_block",      "tab",        NULL};
    const char *type = text_of(block, "type");
    const json_t *content = json_object_get(block, type);
    const char *more = "";
    *inside = (struct notion_frame){0};
    if (is_one_of(type, items)) {
        put_item(frame, type, content, out);
        more = "    ";
    } else if (strncmp(type, "heading_", 8) == 0) {
        put_heading(frame, type, content, out);
    } else if (strcmp(type, "paragraph") == 0) {
        if (json_array_size(json_object_get(content, "rich_text")) > 0) {
            part(frame, false, out);
            put_line(frame, "", json_object_get(content, "rich_text"), out);
        }
        more = "    ";
    } else if (strcmp(type, "quote") == 0 || strcmp(type, "callout") == 0) {
        put_callout(frame, content, out);
        more = "> ";
    } else if (strcmp(type, "code") == 0) {
        put_code(frame, content, out);
    } else if (strcmp(type, "equation") == 0) {
        part(frame, false, out);
        buffer_format(out, "%s$$", frame->prefix);
        put_lines(frame, text_of(content, "expression"), out);
        buffer_text(out, "$$\n");
    } else if (strcmp(type, "divider") == 0) {
        part(frame, false, out);
        buffer_format(out, "%s---\n", frame->prefix);
    } else if (strcmp(type, "table") == 0) {
        part(frame, false, out);
    } else if (strcmp(type, "table_row") == 0) {
        put_table_row(frame, content, out);
    } else if (is_one_of(type, files)) {
        put_file(frame, type, content, out);
    } else if (is_one_of(type, links)) {
        put_link(frame, content, out);
    } else if (strcmp(type, "child_page") == 0 || strcmp(type, "child_database") == 0) {
        put_page_link(frame, text_of(content, "title"), text_of(block, "id"), out);
        return false; /* a document of its own */
    } else if (strcmp(type, "link_to_page") == 0) {
        put_page_link(frame, "", linked_id(content), out);
    } else if (!is_one_of(type, silent)) {
        put_unknown(frame, content, out);
    }
    if (!has_children(block)) return false;
    go_inside(frame, more, inside);
    inside->after_list = is_one_of(type, items); /* its list goes on in the one below it */
    return inside->prefix != NULL;
}
