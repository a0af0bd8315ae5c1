/* gitignore.c: splits a .gitignore file into patterns and finds the last one that matches. */
#include "ingest/gitignore.h"

#include "ingest/wildmatch.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    const char *text; /* in gitignore.text; without `!`, the first '/' and the last '/' */
    size_t length;
    size_t literal;      /* how many of its first bytes are no wildcards */
    bool negated;        /* `!` */
    bool directory_only; /* ends with '/' */
    bool anchored;       /* has another '/': matched with the whole path, not with its last part */
};

struct gitignore {
    char *text;
    struct pattern *patterns;
    size_t count;
};

/* The length of a line without the spaces at its end; one after a backslash stays. */
static size_t trim_spaces(const char *line, size_t length)
{
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == ' ') continue;
        if (line[i] == '\\') i++;
        kept = i < length ? i + 1 : length;
    }
    return kept;
}

static size_t literal_length(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && memchr("*?[\\", text[at], 4) == NULL) at++;
    return at;
}

/* Returns false where the line holds no pattern. */
static bool parse_line(const char *line, size_t length, struct pattern *pattern)
{
    if (length > 0 && line[length - 1] == '\r') length--;
    if (length > 0 && line[0] == '#') return false;
    /* A NUL ends the line for git. */
    const char *nul = memchr(line, '\0', length);
    if (nul != NULL) length = (size_t)(nul - line);
    length = trim_spaces(line, length);

    *pattern = (struct pattern){0};
    if (length > 0 && line[0] == '!') {
        pattern->negated = true;
        line++;
        length--;
    }
    if (length > 0 && line[length - 1] == '/') {
        pattern->directory_only = true;
        length--;
    }
    if (length == 0) return false;
    pattern->anchored = memchr(line, '/', length) != NULL;
    if (line[0] == '/') {
        line++;
        length--;
    }
    pattern->text = line;
    pattern->length = length;
    pattern->literal = literal_length(line, length);
    return true;
}

struct gitignore *gitignore_parse(const char *text, size_t length)
{
    static const char mark[] = {'\xef', '\xbb', '\xbf'};
    struct gitignore *rules = calloc(1, sizeof(*rules));
    if (rules == NULL) return NULL;

    size_t lines = 1;
    for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
    rules->text = malloc(length + 1);
    rules->patterns = calloc(lines, sizeof(*rules->patterns));
    if (rules->text == NULL || rules->patterns == NULL) {
        gitignore_free(rules);
        return NULL;
    }
    if (length > 0) memcpy(rules->text, text, length);
    rules->text[length] = '\n';

    const char *end = rules->text + length;
    const char *line = rules->text;
    if (length >= sizeof(mark) && memcmp(line, mark, sizeof(mark)) == 0) line += sizeof(mark);
    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end + 1 - line));
        if (parse_line(line, (size_t)(stop - line), &rules->patterns[rules->count])) rules->count++;
        line = stop + 1;
    }
    return rules;
}

void gitignore_free(struct gitignore *rules)
{
    if (rules == NULL) return;
    free(rules->patterns);
    free(rules->text);
    free(rules);
}

/* git compares the part before the first wildcard by itself, so that `ab**` followed by a slash
 * matches like a leading `**` although the manual calls it two ordinary stars; so do we. */
static bool matches(const struct pattern *pattern, const char *text)
{
    const size_t length = strlen(text);
    const size_t literal = pattern->anchored ? pattern->literal : 0;
    if (literal > length || memcmp(pattern->text, text, literal) != 0) return false;
    return wildmatch(pattern->text + literal, pattern->length - literal, text + literal,
                     length - literal);
}

enum gitignore_verdict gitignore_check(const struct gitignore *rules, const char *path,
                                       bool is_directory)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t i = rules->count; i > 0; i--) {
        const struct pattern *pattern = &rules->patterns[i - 1];
        if (pattern->directory_only && !is_directory) continue;
        if (matches(pattern, pattern->anchored ? path : name))
            return pattern->negated ? GITIGNORE_INCLUDED : GITIGNORE_IGNORED;
    }
    return GITIGNORE_NONE;
}
