/*
 * chunk.c: cuts text into passages in two passes.
 *
 * The first pass lists the lines that are not blank, each with what a break before it is worth: a
 * heading, a paragraph, or just a line. The second walks through the text: from where a chunk
 * starts it looks for the best break that leaves the chunk between CHUNK_LEAST and CHUNK_TARGET
 * bytes long, and among equals takes the last. What is left at the end is one chunk if it is only a
 * little over the target, so that no scrap of a sentence becomes a chunk of its own.
 */
#include "ingest/chunk.h"

#include "ingest/outline.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { CHUNK_LEAST = CHUNK_TARGET / 3, CHUNK_SLACK = CHUNK_TARGET / 4 };

_Static_assert(CHUNK_TARGET + CHUNK_SLACK <= CHUNK_LIMIT, "the longest chunk is within the limit");
_Static_assert((int)CHUNK_OVERLAP < (int)CHUNK_LEAST, "a chunk is more than its overlap");

struct cutter {
    const char *text;
    size_t length; /* without the white space at the end */
    struct outline outline;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_space(const struct cutter *cutter, size_t at)
{
    while (at < cutter->length && is_space(cutter->text[at])) at++;
    return at;
}

/* The last break worth `rank` or more in (low, high], or 0. */
static size_t last_line_break(const struct cutter *cutter, size_t low, size_t high,
                              enum line_rank rank)
{
    size_t i = outline_after(&cutter->outline, high);
    while (i > 0 && cutter->outline.lines[i - 1].start > low) {
        i--;
        if (cutter->outline.lines[i].rank >= rank) return cutter->outline.lines[i].start;
    }
    return 0;
}

/* The last place in (low, high] that has white space before or after it, or 0. */
static size_t last_space_break(const struct cutter *cutter, size_t low, size_t high)
{
    for (size_t at = high; at > low; at--)
        if (is_space(cutter->text[at]) || is_space(cutter->text[at - 1])) return at;
    return 0;
}

/* The nearest place at or before `at` that is not inside a UTF-8 sequence. In text that is not
 * UTF-8 it may be `at` itself. */
static size_t character_start(const struct cutter *cutter, size_t at)
{
    for (size_t back = 0; back < 4 && back < at; back++)
        if (((unsigned char)cutter->text[at - back] & 0xc0) != 0x80) return at - back;
    return at;
}

/* Where the chunk that starts at `start` is cut. `fresh` is the first byte that no chunk before it
 * holds: the cut comes after it. */
static size_t find_cut(const struct cutter *cutter, size_t start, size_t fresh)
{
    if (cutter->length - start <= CHUNK_TARGET + CHUNK_SLACK) return cutter->length;

    const size_t high = start + CHUNK_TARGET;
    const size_t low = start + CHUNK_LEAST > fresh ? start + CHUNK_LEAST : fresh;
    size_t cut = 0;
    for (int rank = LINE_HEADING; cut == 0 && rank >= LINE_PLAIN; rank--)
        cut = last_line_break(cutter, low, high, (enum line_rank)rank);
    if (cut == 0) cut = last_space_break(cutter, low, high);
    /* Nothing but one long word from here on: better a short chunk than a word cut in two. */
    if (cut == 0) cut = last_line_break(cutter, fresh, low, LINE_PLAIN);
    if (cut == 0) cut = last_space_break(cutter, fresh, low);
    if (cut == 0) cut = character_start(cutter, high);
    return cut;
}

/* Where the next chunk starts when one that started at `start` was cut at `cut`. */
static size_t find_overlap(const struct cutter *cutter, size_t start, size_t cut)
{
    const struct outline_line *lines = cutter->outline.lines;
    const size_t next = skip_space(cutter, cut);
    size_t i = outline_after(&cutter->outline, next);
    if (next - cut > CHUNK_OVERLAP) return next;
    if (i > 0 && lines[i - 1].start >= cut && lines[i - 1].rank == LINE_HEADING) return next;

    const size_t low = cut > start + CHUNK_OVERLAP ? cut - CHUNK_OVERLAP : start + 1;
    size_t line = cut;
    for (; i > 0 && lines[i - 1].start >= low; i--) {
        if (lines[i - 1].start < cut) line = lines[i - 1].start;
        if (lines[i - 1].rank == LINE_HEADING) break;
    }
    if (line < cut) return skip_space(cutter, line);
    for (size_t at = low; at < cut; at++)
        if (is_space(cutter->text[at - 1]) && !is_space(cutter->text[at])) return at;
    if (is_space(cutter->text[cut]) || is_space(cutter->text[cut - 1])) return next;
    const size_t character = character_start(cutter, low);
    return character > start ? character : next;
}

static int append(struct chunk **chunks, size_t *count, size_t *room, struct chunk chunk)
{
    if (*count == *room) {
        const size_t wanted = *room < 8 ? 8 : *room * 2;
        struct chunk *grown = realloc(*chunks, wanted * sizeof(*grown));
        if (grown == NULL) return -1;
        *chunks = grown;
        *room = wanted;
    }
    (*chunks)[(*count)++] = chunk;
    return 0;
}

bool text_is_blank(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && is_space(text[at])) at++;
    return at == length;
}

int chunk_text(const char *text, size_t length, struct chunk **chunks, size_t *count)
{
    struct cutter cutter = {.text = text, .length = length};
    struct chunk *made = NULL;
    size_t made_count = 0;
    size_t room = 0;
    int result = -1;

    *chunks = NULL;
    *count = 0;
    while (cutter.length > 0 && is_space(text[cutter.length - 1])) cutter.length--;
    if (cutter.length == 0) return 0;
    if (outline_read(text, cutter.length, &cutter.outline) != 0) goto out;

    size_t start = skip_space(&cutter, 0);
    size_t fresh = start;
    while (fresh < cutter.length) {
        const size_t cut = find_cut(&cutter, start, fresh);
        size_t end = cut;
        while (is_space(text[end - 1])) end--;
        if (append(&made, &made_count, &room, (struct chunk){start, end}) != 0) goto out;
        fresh = skip_space(&cutter, cut);
        if (fresh < cutter.length) start = find_overlap(&cutter, start, cut);
    }
    *chunks = made;
    *count = made_count;
    made = NULL;
    result = 0;
out:
    free(made);
    outline_free(&cutter.outline);
    return result;
}
