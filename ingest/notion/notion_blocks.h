/*
 * notion_blocks.h: one block of Notion as Markdown. What is inside a block is written by whoever
 * walks the tree, in the frame that this gives for it.
 */
#ifndef INGEST_NOTION_BLOCKS_H
#define INGEST_NOTION_BLOCKS_H

#include "storage/base/buffer.h"

#include <jansson.h>
#include <stdbool.h>

/* Where blocks stand: all children of one block, or of the page. */
struct notion_frame {
    char *prefix;      /* before each line: "    " within a list, "> " within a quote */
    size_t number;     /* of the next item of a numbered list */
    size_t table_rows; /* written of a table; columns are known from its first row */
    bool after_list;   /* the last block was an item of a list */
};

/* Writes the block itself, and says in *inside (whose prefix the caller frees) how its children are
 * to be written. Returns whether they are to be asked for. */
bool notion_block_write(const json_t *block, struct notion_frame *frame,
                        struct notion_frame *inside, struct buffer *out);

#endif
