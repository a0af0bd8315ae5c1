/* notion_page.h: the content of a page: its tree of blocks, of any depth, as Markdown. */
#ifndef INGEST_NOTION_PAGE_H
#define INGEST_NOTION_PAGE_H

#include "ingest/notion/notion_api.h"
#include "storage/base/buffer.h"

/* Appends what is in the page to out. A call for each hundred blocks of each block that has some
 * inside. Errors: those of notion_call; ERR_TOO_LARGE where out passes the setting maxBytes. */
int notion_page_read(struct notion_api *api, const char *id, struct buffer *out, struct error *err);

#endif
