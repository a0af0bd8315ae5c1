/*
 * wildmatch.c: matches without recursion.
 *
 * A wildcard that is passed is first taken to match nothing. Where the match fails later, the last
 * `*` takes one byte more, unless that byte is '/'; then the last `**` takes more. Going back to an
 * earlier `*` could not help: it cannot pass the '/' either, and whatever it could leave over the
 * later one has tried. `**` followed by a slash gives up whole parts of the path.
 */
#include "ingest/wildmatch.h"

#include <string.h>

struct cursor {
    const char *pattern;
    size_t pattern_length;
    const char *text;
    size_t text_length;
    size_t p, t;
};

/* A wildcard to come back to: where the pattern goes on after it, and where in the text it is taken
 * to end. */
struct resume {
    bool set;
    bool parts; /* `**` before a slash: ends only after a '/' */
    size_t p, t;
};

/* Whether isalpha() or its kin hold for c in the C locale, whatever locale the program is in; -1
 * where there is no such class. */
static int in_class(const char *name, size_t length, unsigned char c)
{
    const bool upper = c >= 'A' && c <= 'Z';
    const bool lower = c >= 'a' && c <= 'z';
    const bool digit = c >= '0' && c <= '9';
    const bool graph = c > ' ' && c < 0x7f;
    const struct {
        const char *name;
        bool holds;
    } classes[] = {
        {"alnum", upper || lower || digit},
        {"alpha", upper || lower},
        {"blank", c == ' ' || c == '\t'},
        {"cntrl", c < ' ' || c == 0x7f},
        {"digit", digit},
        {"graph", graph},
        {"lower", lower},
        {"print", graph || c == ' '},
        {"punct", graph && !upper && !lower && !digit},
        {"space", c == ' ' || (c >= '\t' && c <= '\r')},
        {"upper", upper},
        {"xdigit", digit || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f')},
    };
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        if (strlen(classes[i].name) == length && memcmp(classes[i].name, name, length) == 0)
            return classes[i].holds;
    return -1;
}

/* Reads `[:name:]` at `at`, the '['. Returns the index of its ']', or 0 where there is none before
 * the next ']', which makes the '[' an ordinary one. */
static size_t class_end(const char *pattern, size_t length, size_t at)
{
    if (at + 1 >= length || pattern[at + 1] != ':') return 0;
    const char *close = memchr(pattern + at + 2, ']', length - at - 2);
    if (close == NULL) return 0;
    const size_t end = (size_t)(close - pattern);
    return end > at + 2 && pattern[end - 1] == ':' ? end : 0;
}

/* Matches c with the set that begins at pattern[at], after the '['. Returns the index after its
 * ']', or 0 where the set is malformed. */
static size_t match_set(const char *pattern, size_t length, size_t at, unsigned char c, bool *match)
{
    const bool negated = at < length && (pattern[at] == '!' || pattern[at] == '^');
    bool found = false;
    int before = 0; /* what a '-' makes a range from, 0 where nothing */

    if (negated) at++;
    for (bool first = true;; first = false, at++) {
        if (at >= length) return 0;
        unsigned char low = (unsigned char)pattern[at];
        if (low == ']' && !first) break;
        if (low == '-' && before != 0 && at + 1 < length && pattern[at + 1] != ']') {
            if (pattern[++at] == '\\' && ++at >= length) return 0;
            const unsigned char high = (unsigned char)pattern[at];
            if (c >= before && c <= high) found = true;
            before = 0;
            continue;
        }
        if (low == '[') {
            const size_t end = class_end(pattern, length, at);
            if (end != 0) {
                const int holds = in_class(pattern + at + 2, end - 1 - (at + 2), c);
                if (holds < 0) return 0;
                found = found || holds != 0;
                at = end;
                before = 0;
                continue;
            }
        }
        if (low == '\\') {
            if (++at >= length) return 0;
            low = (unsigned char)pattern[at];
        }
        if (c == low) found = true;
        before = low;
    }
    *match = found != negated && c != '/';
    return at + 1;
}

/* Matches one byte of text with whatever is at the pattern, and steps over both. */
static bool match_one(struct cursor *at)
{
    if (at->p >= at->pattern_length || at->t >= at->text_length) return false;
    const unsigned char c = (unsigned char)at->text[at->t];
    size_t next = at->p + 1;
    bool match = false;
    switch (at->pattern[at->p]) {
    case '?':
        match = c != '/';
        break;
    case '[':
        next = match_set(at->pattern, at->pattern_length, next, c, &match);
        if (next == 0) return false;
        break;
    case '\\':
        match = next < at->pattern_length && (unsigned char)at->pattern[next] == c;
        next++;
        break;
    default:
        match = (unsigned char)at->pattern[at->p] == c;
    }
    if (!match) return false;
    at->p = next;
    at->t++;
    return true;
}

/* Steps over the stars at the pattern and remembers where to go on. */
static void pass_stars(struct cursor *at, struct resume *star, struct resume *deep)
{
    const size_t begin = at->p;
    while (at->p < at->pattern_length && at->pattern[at->p] == '*') at->p++;
    const char *rest = at->pattern + at->p;
    const size_t left = at->pattern_length - at->p;
    const bool slash = left > 0 && rest[0] == '/';
    const bool bounded = (begin == 0 || at->pattern[begin - 1] == '/') &&
                         (left == 0 || slash || (left > 1 && rest[0] == '\\' && rest[1] == '/'));
    if (at->p - begin < 2 || !bounded) {
        *star = (struct resume){true, false, at->p, at->t};
        return;
    }
    if (slash) at->p++;
    *deep = (struct resume){true, slash, at->p, at->t};
    star->set = false;
}

/* Lets the last wildcard that can take more do so. */
static bool go_back(struct cursor *at, struct resume *star, struct resume *deep)
{
    if (star->set && star->t < at->text_length && at->text[star->t] != '/') {
        star->t++;
        at->p = star->p;
        at->t = star->t;
        return true;
    }
    star->set = false;
    if (!deep->set) return false;
    do {
        if (deep->t >= at->text_length) return false;
        deep->t++;
    } while (deep->parts && at->text[deep->t - 1] != '/');
    at->p = deep->p;
    at->t = deep->t;
    return true;
}

bool wildmatch(const char *pattern, size_t pattern_length, const char *text, size_t text_length)
{
    struct cursor at = {pattern, pattern_length, text, text_length, 0, 0};
    struct resume star = {0};
    struct resume deep = {0};
    while (at.p < pattern_length || at.t < text_length) {
        if (at.p < pattern_length && pattern[at.p] == '*')
            pass_stars(&at, &star, &deep);
        else if (!match_one(&at) && !go_back(&at, &star, &deep))
            return false;
    }
    return true;
}
