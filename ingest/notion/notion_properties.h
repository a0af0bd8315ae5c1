/* notion_properties.h: the properties of a page (columns, where it is a database's row). */
#ifndef INGEST_NOTION_PROPERTIES_H
#define INGEST_NOTION_PROPERTIES_H

#include "storage/base/buffer.h"

#include <jansson.h>

/* The page's title, as plain text; nothing where it has none. */
void notion_title(const json_t *page, struct buffer *out);

/* What a document's metadata say of them: names and values in the simplest JSON that holds them,
 * without those that are empty. Rich text, titles, selects, people and the like are text; lists are
 * arrays; a date is {"start", "end"}. The caller calls json_decref. */
json_t *notion_properties(const json_t *page);

#endif
