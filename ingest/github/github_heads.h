/*
 * github_heads.h: where the branches of a repository stand, and what is remembered of that from one
 * sync to the next: the source's cursor.
 */
#ifndef INGEST_GITHUB_HEADS_H
#define INGEST_GITHUB_HEADS_H

#include "ingest/github/github_tree.h"

#include <stdint.h>

struct github_head {
    char *branch;
    char commit[GITHUB_SHA_SIZE]; /* "": the branch has none, the repository is empty */
    char *etag;                   /* NULL: none */
};

/* Starts as {0}. */
struct github_heads {
    struct github_head *list;
    size_t count;
    char *default_branch, *etag; /* of the repository itself */
    /* The files that there were at the last sync: hashes of repository, branch, path and sha,
     * sorted. */
    uint64_t *files;
    size_t file_count;
};

/* Asks GitHub, which answers with 304 where `before` knows it already. *changed: a branch is
 * elsewhere, or others are asked for than before. Follows a repository that was renamed. */
int github_heads_ask(struct github_api *api, const struct github_heads *before,
                     struct github_heads *heads, bool *changed, struct error *err);

/* From and to the cursor's text. Load gives {0} where it cannot be read; save NULL when memory ran
 * out, and remembers the files. */
void github_heads_load(struct github_heads *heads, const char *cursor);
char *github_heads_save(const struct github_heads *heads, const char *repository,
                        const struct github_files *files);

/* Marks the files that were there at the last sync, at the same place with the same content. */
void github_heads_mark(const struct github_heads *before, const struct github_heads *heads,
                       const char *repository, struct github_files *files);

void github_heads_free(struct github_heads *heads);

#endif
