/* utf8.h: what is valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
#ifndef STORAGE_BASE_UTF8_H
#define STORAGE_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the valid sequence that starts at text (1 to 4 bytes), or 0 if there is none in the
 * first `length` bytes. */
size_t utf8_sequence(const unsigned char *text, size_t length);

/* Offset of the first byte that is not part of valid UTF-8, or `length` if all of it is. NUL counts
 * as valid here; PostgreSQL's TEXT cannot hold it, so callers look for it themselves. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* The length without the beginning of a sequence that was cut off at the end, if there is one. */
size_t utf8_whole(const char *text, size_t length);

/* Writes a code point, and returns how many bytes it takes. */
size_t utf8_encode(uint32_t point, char out[4]);

/* Copies as much of a text as fits, in whole characters, as one line: control characters become
 * spaces. NULL is taken for "". */
void utf8_copy_line(char *out, size_t size, const char *text);

#endif
