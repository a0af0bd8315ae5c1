/*
 * outline.h: the lines of a text and what a break before each of them is worth.
 *
 * Headings are those of Markdown (`# Title`, a line underlined with `===` or `---`), of
 * reStructuredText (underlined with any of `=-~^"'*+#`) and of HTML (`<h1` to `<h6`). Inside a
 * Markdown code fence (``` or ~~~) nothing is a heading, and a blank line does not end a
 * paragraph.
 */
#ifndef INGEST_OUTLINE_H
#define INGEST_OUTLINE_H

#include <stddef.h>

enum line_rank {
    LINE_PLAIN,
    LINE_PARAGRAPH, /* a blank line is before it */
    LINE_HEADING
};

struct outline_line {
    size_t start;
    enum line_rank rank;
};

struct outline {
    struct outline_line *lines; /* those that are not blank, in order */
    size_t count;
};

/* Lines end with \n, \r\n or \r. Returns 0, or -1 when memory ran out. */
int outline_read(const char *text, size_t length, struct outline *outline);
void outline_free(struct outline *outline);

/* How many lines start at or before `at`. */
size_t outline_after(const struct outline *outline, size_t at);

#endif
