/*
 * snippet.h: the few lines of a passage that show why it was found.
 *
 * The lines are taken from where most of the query's different words stand together, and the words
 * are marked. Works on any text: it is cleaned first (text.h).
 */
#ifndef TEKUP_SNIPPET_H
#define TEKUP_SNIPPET_H

#include "storage/base/buffer.h"

#include <stddef.h>

enum { TERMS_MAX = 32, TERM_LENGTH = 48 };

/* The words of a query, in lower case. */
struct terms {
    size_t count;
    size_t length[TERMS_MAX];
    unsigned code[TERMS_MAX][TERM_LENGTH];
};

/* Words of one character count only where the query has no longer one. */
void terms_parse(struct terms *terms, const char *query);

struct snippet_style {
    int width;           /* columns of a line, the indent included */
    int indent;          /* spaces before each line */
    int lines;           /* at most so many */
    const char *mark_on; /* before and after a word of the query; "" for none */
    const char *mark_off;
};

/* Appends the lines, each ended by '\n'; nothing where the text is all white space. */
void snippet_format(struct buffer *out, const struct terms *terms, const char *text, size_t length,
                    const struct snippet_style *style);

#endif
