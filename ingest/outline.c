/* outline.c: reads the lines of a text once, with the code fence that is open as its only state. */
#include "ingest/outline.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FENCE_LEAST = 3, UNDERLINE_LEAST = 3, INDENT_MOST = 3, HEADING_MOST = 6 };

/* A line without its end. */
struct span {
    const char *text;
    size_t length;
};

struct fence {
    char mark; /* 0 where none is open */
    size_t length;
};

static size_t run_length(struct span line, size_t from, char mark)
{
    size_t at = from;
    while (at < line.length && line.text[at] == mark) at++;
    return at - from;
}

static bool blank_from(struct span line, size_t from)
{
    for (size_t i = from; i < line.length; i++)
        if (line.text[i] != ' ' && (line.text[i] < '\t' || line.text[i] > '\r')) return false;
    return true;
}

/* Opens or closes a fence (CommonMark 0.31, section 4.5). Returns whether the line is part of one.
 */
static bool follow_fence(struct fence *fence, struct span line)
{
    const bool inside = fence->mark != 0;
    const size_t indent = run_length(line, 0, ' ');
    if (indent > INDENT_MOST || indent == line.length) return inside;
    const char mark = line.text[indent];
    if (mark != '`' && mark != '~') return inside;
    const size_t length = run_length(line, indent, mark);
    if (length < FENCE_LEAST) return inside;
    if (inside) {
        if (mark == fence->mark && length >= fence->length && blank_from(line, indent + length))
            *fence = (struct fence){0};
        return true;
    }
    const size_t info = indent + length;
    if (mark == '`' && memchr(line.text + info, '`', line.length - info) != NULL) return false;
    *fence = (struct fence){mark, length};
    return true;
}

static bool is_marked_heading(struct span line)
{
    const size_t indent = run_length(line, 0, ' ');
    if (indent > INDENT_MOST) return false;
    const size_t marks = run_length(line, indent, '#');
    const size_t after = indent + marks;
    if (marks >= 1 && marks <= HEADING_MOST)
        return after < line.length && (line.text[after] == ' ' || line.text[after] == '\t');
    return line.length >= indent + 3 && line.text[indent] == '<' &&
           (line.text[indent + 1] == 'h' || line.text[indent + 1] == 'H') &&
           line.text[indent + 2] >= '1' && line.text[indent + 2] <= '6';
}

/* A line of one punctuation mark, repeated. */
static bool is_rule(struct span line)
{
    static const char marks[] = {'=', '-', '~', '^', '"', '\'', '*', '+', '#'};
    if (line.length == 0 || memchr(marks, line.text[0], sizeof(marks)) == NULL) return false;
    const size_t run = run_length(line, 0, line.text[0]);
    return run >= UNDERLINE_LEAST && blank_from(line, run);
}

/* The line that starts at *at; *at moves to the start of the next. */
static struct span next_line(const char *text, size_t length, size_t *at)
{
    struct span line = {text + *at, 0};
    while (*at < length && text[*at] != '\n' && text[*at] != '\r') (*at)++;
    line.length = (size_t)(text + *at - line.text);
    if (*at < length && text[*at] == '\r') {
        (*at)++;
        if (*at < length && text[*at] == '\n') (*at)++;
    } else if (*at < length) {
        (*at)++;
    }
    return line;
}

static bool is_heading(const char *text, size_t length, struct span line, size_t next,
                       bool after_blank)
{
    if (is_marked_heading(line)) return true;
    if (!after_blank) return false;
    const struct span below = next_line(text, length, &next);
    if (!is_rule(line)) return is_rule(below);
    /* reStructuredText may rule a title above and below. */
    const struct span under = next_line(text, length, &next);
    return !blank_from(below, 0) && is_rule(under) && under.text[0] == line.text[0];
}

static int append(struct outline *outline, size_t *room, struct outline_line line)
{
    if (outline->count == *room) {
        const size_t wanted = *room < 64 ? 64 : *room * 2;
        struct outline_line *grown = realloc(outline->lines, wanted * sizeof(*grown));
        if (grown == NULL) return -1;
        outline->lines = grown;
        *room = wanted;
    }
    outline->lines[outline->count++] = line;
    return 0;
}

int outline_read(const char *text, size_t length, struct outline *outline)
{
    struct fence fence = {0};
    bool after_blank = true;
    size_t room = 0;
    size_t at = 0;

    *outline = (struct outline){0};
    while (at < length) {
        const size_t start = at;
        const struct span line = next_line(text, length, &at);
        if (blank_from(line, 0)) {
            after_blank = true;
            continue;
        }
        const bool was_inside = fence.mark != 0;
        enum line_rank rank = after_blank && !was_inside ? LINE_PARAGRAPH : LINE_PLAIN;
        if (!follow_fence(&fence, line) && is_heading(text, length, line, at, after_blank))
            rank = LINE_HEADING;
        if (append(outline, &room, (struct outline_line){start, rank}) != 0) {
            outline_free(outline);
            return -1;
        }
        after_blank = false;
    }
    return 0;
}

void outline_free(struct outline *outline)
{
    free(outline->lines);
    *outline = (struct outline){0};
}

size_t outline_after(const struct outline *outline, size_t at)
{
    size_t low = 0;
    size_t high = outline->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (outline->lines[middle].start <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
