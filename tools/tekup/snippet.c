#include "tools/tekup/snippet.h"

#include "tools/tekup/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    MATCHES_MAX = 1024, /* of one passage; a chunk has at most a few thousand words */
    RULE_LENGTH = 3,
    TERM_PREFIX = 4 /* "install" marks "installed" as well; shorter words match whole */
};
#define ELLIPSIS "\xe2\x80\xa6"

/* ---- The query's words ---- */

/* Reads the word that starts at or after `at`: its byte range and its first lower-case code points.
 * Returns the number of code points, 0 where there is none. */
static size_t next_word(const char *text, size_t length, size_t at, size_t *start, size_t *end,
                        unsigned code[TERM_LENGTH])
{
    size_t codes = 0, size = 0;
    *start = at;
    for (; at < length; at += size) {
        const unsigned next = text_decode(text + at, length - at, &size);
        if (text_is_word(next)) {
            if (codes == 0) *start = at;
            if (codes < TERM_LENGTH) code[codes] = text_lower(next);
            codes++;
        } else if (codes > 0) {
            break;
        }
    }
    *end = at;
    return codes;
}

static void add_terms(struct terms *terms, const char *query, size_t least)
{
    const size_t length = strlen(query);
    size_t start, end, codes;
    unsigned code[TERM_LENGTH];
    for (size_t at = 0; (codes = next_word(query, length, at, &start, &end, code)) > 0; at = end) {
        if (codes < least || codes > TERM_LENGTH || terms->count == TERMS_MAX) continue;
        terms->length[terms->count] = codes;
        memcpy(terms->code[terms->count], code, codes * sizeof(*code));
        terms->count++;
    }
}

void terms_parse(struct terms *terms, const char *query)
{
    terms->count = 0;
    add_terms(terms, query, 2);
    if (terms->count == 0) add_terms(terms, query, 1);
}

/* The term that a word matches, or -1. */
static int find_term(const struct terms *terms, const unsigned *code, size_t codes)
{
    for (size_t i = 0; i < terms->count; i++) {
        const size_t length = terms->length[i];
        const int fits = codes == length || (codes > length && length >= TERM_PREFIX);
        if (fits && memcmp(code, terms->code[i], length * sizeof(*code)) == 0) return (int)i;
    }
    return -1;
}

/* ---- The place in the passage ---- */

struct match {
    size_t start, end;
    int term;
};

static size_t find_matches(const struct terms *terms, const char *text, size_t length,
                           struct match *matches)
{
    size_t count = 0, start, end, codes;
    unsigned code[TERM_LENGTH];
    for (size_t at = 0;
         count < MATCHES_MAX && (codes = next_word(text, length, at, &start, &end, code)) > 0;
         at = end) {
        const int term = find_term(terms, code, codes < TERM_LENGTH ? codes : TERM_LENGTH);
        if (term >= 0) matches[count++] = (struct match){start, end, term};
    }
    return count;
}

/* Where `room` bytes of text hold the most different terms: the first match of the best run. */
static size_t best_run(const struct match *matches, size_t count, size_t room)
{
    size_t best = 0;
    int most = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned seen = 0; /* a bit for each of the TERMS_MAX terms */
        int different = 0;
        for (size_t j = i; j < count && matches[j].end - matches[i].start <= room; j++) {
            const unsigned bit = 1u << matches[j].term;
            if ((seen & bit) == 0) different++;
            seen |= bit;
        }
        if (different > most) {
            most = different;
            best = i;
        }
    }
    return best;
}

/* The first byte to show: the best run with a little before it, from the start of a word. */
static size_t choose_start(const struct match *matches, size_t count, const char *text,
                           size_t length, size_t room)
{
    if (count == 0 || length <= room) return 0;
    size_t start = matches[best_run(matches, count, room - room / 4)].start;
    const size_t lead = room / 4;
    if (start <= lead) return 0;
    const size_t earliest = start - lead;
    while (start > earliest && text[start - 1] != ' ') start--;
    for (size_t at = start; at > earliest; at--)
        if (text[at - 1] == ' ') start = at;
    return start;
}

/* ---- Writing ---- */

/* White space becomes single spaces, and rules of one character ("=====") are shortened. */
static void collapse(struct buffer *out, const char *text, size_t length)
{
    struct buffer clean = {0};
    size_t run = 0;
    text_clean(&clean, text, length, TEXT_ONE_LINE);
    for (size_t i = 0; i < clean.length; i++) {
        const char byte = clean.data[i];
        const char last = out->length > 0 ? out->data[out->length - 1] : ' ';
        run = byte == last ? run + 1 : 1;
        if (byte == ' ' && last == ' ') continue;
        if (run > RULE_LENGTH && ispunct((unsigned char)byte)) continue;
        buffer_append(out, &byte, 1);
    }
    if (out->length > 0 && out->data[out->length - 1] == ' ') out->data[--out->length] = '\0';
    out->failed = out->failed || clean.failed;
    buffer_free(&clean);
}

/* Appends text[start, end) with the matches in it marked. *next is the first match not passed. */
static void append_marked(struct buffer *out, const char *text, size_t start, size_t end,
                          const struct match *matches, size_t count, size_t *next,
                          const struct snippet_style *style)
{
    while (start < end) {
        while (*next < count && matches[*next].end <= start) (*next)++;
        size_t stop = end;
        int marked = 0;
        if (*next < count && matches[*next].start <= start) {
            stop = matches[*next].end < end ? matches[*next].end : end;
            marked = 1;
        } else if (*next < count && matches[*next].start < end) {
            stop = matches[*next].start;
        }
        if (marked) buffer_text(out, style->mark_on);
        buffer_append(out, text + start, stop - start);
        if (marked) buffer_text(out, style->mark_off);
        start = stop;
    }
}

/* One line's worth of text from `start`: up to the last space that fits. */
static size_t line_end(const char *text, size_t start, size_t length, int columns)
{
    const size_t fit = start + text_fit(text + start, length - start, columns);
    if (fit == length) return length;
    size_t end = fit;
    while (end > start && text[end] != ' ') end--;
    if (end > start) return end;
    if (fit > start) return fit; /* a word longer than a line is cut */
    size_t size;                 /* a character wider than the line goes alone */
    text_decode(text + start, length - start, &size);
    return start + size;
}

void snippet_format(struct buffer *out, const struct terms *terms, const char *text, size_t length,
                    const struct snippet_style *style)
{
    struct buffer flat = {0};
    struct match *matches = malloc(MATCHES_MAX * sizeof(*matches));
    collapse(&flat, text, length);
    if (matches == NULL || flat.failed) {
        out->failed = true;
        goto out;
    }
    if (flat.length == 0) goto out;

    const int columns = style->width - style->indent - 2; /* room for an ellipsis at each end */
    const size_t room = (size_t)(columns > 8 ? columns : 8) * (size_t)style->lines;
    const size_t count = find_matches(terms, flat.data, flat.length, matches);
    size_t at = choose_start(matches, count, flat.data, flat.length, room);
    size_t next = 0;
    const char *lead = at > 0 ? ELLIPSIS : "";
    for (int line = 0; line < style->lines && at < flat.length; line++) {
        const size_t end = line_end(flat.data, at, flat.length, columns > 8 ? columns : 8);
        buffer_format(out, "%*s%s", style->indent, "", lead);
        append_marked(out, flat.data, at, end, matches, count, &next, style);
        if (line + 1 == style->lines && end < flat.length) buffer_text(out, ELLIPSIS);
        buffer_text(out, "\n");
        at = end < flat.length && flat.data[end] == ' ' ? end + 1 : end;
        lead = "";
    }
out:
    free(matches);
    buffer_free(&flat);
}
