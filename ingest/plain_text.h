/*
 * plain_text.h: the bytes of a file as the text of a document.
 *
 * Files have no note of how their text is written. It is taken for UTF-8 where it is that, for
 * UTF-16 where it begins with its byte order mark, for UTF-8 with some bytes damaged where most of
 * what is not ASCII is that, and otherwise, where it is mostly ASCII, for Windows-1252, of which
 * Latin-1 is a part. Other old encodings cannot be told from each other, nor from what is no text.
 */
#ifndef INGEST_PLAIN_TEXT_H
#define INGEST_PLAIN_TEXT_H

#include "ingest/source_kind.h"

#include <stddef.h>

/* Makes *text, from malloc, valid UTF-8 without NUL and byte order mark, with a NUL behind it that
 * *length does not count; it may be another block afterwards. Returns 0; 1 where it is no document,
 * with *reason SKIP_BINARY or SKIP_EMPTY; -1 when memory ran out. *text stays the caller's in any
 * case. Any thread may call. */
int plain_text_read(char **text, size_t *length, enum skip_reason *reason);

#endif
