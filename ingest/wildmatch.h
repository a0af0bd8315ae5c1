/*
 * wildmatch.h: whether a path matches a pattern of .gitignore.
 *
 * `*` and `?` match within one part of a path, `[...]` one byte of a set (ranges, negation, POSIX
 * classes) that is never '/', `\` takes the next byte literally, and `**` between slashes or the
 * ends of the pattern matches any number of parts. Bytes are compared, not characters.
 */
#ifndef INGEST_WILDMATCH_H
#define INGEST_WILDMATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Takes time at most in proportion to pattern_length * text_length^2. A pattern that is malformed
 * (an open bracket, a class that does not exist, a `\` at the end) matches nothing. */
bool wildmatch(const char *pattern, size_t pattern_length, const char *text, size_t text_length);

#endif
