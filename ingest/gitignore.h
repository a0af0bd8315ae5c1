/*
 * gitignore.h: the patterns of one .gitignore file, as gitignore(5) describes them and git 2.39
 * reads them.
 *
 * A caller that walks a tree keeps one of these for each directory that has such a file, asks the
 * innermost first, and does not enter a directory that is ignored: so nothing below it can be
 * included again.
 */
#ifndef INGEST_GITIGNORE_H
#define INGEST_GITIGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct gitignore;

enum gitignore_verdict {
    GITIGNORE_NONE,    /* no pattern matches: ask the file of the directory above */
    GITIGNORE_IGNORED, /* the last pattern that matches ignores it */
    GITIGNORE_INCLUDED /* the last pattern that matches begins with `!` */
};

/* Reads patterns, one a line. The text may hold anything; it is not kept. NULL when memory ran out.
 */
struct gitignore *gitignore_parse(const char *text, size_t length);
void gitignore_free(struct gitignore *rules); /* NULL is allowed */

/* path is relative to the directory of the file, without '/' at either end. */
enum gitignore_verdict gitignore_check(const struct gitignore *rules, const char *path,
                                       bool is_directory);

#endif
