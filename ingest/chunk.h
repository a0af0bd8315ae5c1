/*
 * chunk.h: cuts a document's text into the passages that are embedded.
 *
 * A chunk is at most CHUNK_LIMIT bytes: byte-level BPE never makes more tokens than bytes, so that
 * it stays within the 8,191 tokens of the embedding model without a tokenizer. Chunks aim at
 * CHUNK_TARGET bytes, break at headings, then blank lines, then line ends, then spaces, never
 * inside a UTF-8 sequence, and overlap by up to CHUNK_OVERLAP bytes where a break falls inside a
 * section.
 */
#ifndef INGEST_CHUNK_H
#define INGEST_CHUNK_H

#include <stdbool.h>
#include <stddef.h>

enum { CHUNK_LIMIT = 8191, CHUNK_TARGET = 1500, CHUNK_OVERLAP = 150 };

struct chunk {
    size_t start,
        end; /* byte range, end exclusive; start of the first is 0 or after leading space */
};

/* Covers every byte of text that is not white space. The same text always gives the same chunks.
 * *chunks is allocated and released by the caller with free(). Returns 0, or -1 when memory ran
 * out. Text that is all white space gives no chunks. */
int chunk_text(const char *text, size_t length, struct chunk **chunks, size_t *count);

/* Whether the text is all white space: the ASCII characters that isspace() knows. */
bool text_is_blank(const char *text, size_t length);

#endif
