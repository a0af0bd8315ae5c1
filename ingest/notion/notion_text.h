/* notion_text.h: Notion's rich text as Markdown, and as it is. */
#ifndef INGEST_NOTION_TEXT_H
#define INGEST_NOTION_TEXT_H

#include "storage/base/buffer.h"

#include <jansson.h>

/* With bold, italics, code, strikethrough, links, mentions and equations. Line ends within it stay,
 * with `prefix` after each. */
void notion_text_markdown(const json_t *rich_text, const char *prefix, struct buffer *out);

/* The words alone. */
void notion_text_plain(const json_t *rich_text, struct buffer *out);

#endif
