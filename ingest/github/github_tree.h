/*
 * github_tree.h: the files of a branch, as its git tree has them.
 */
#ifndef INGEST_GITHUB_TREE_H
#define INGEST_GITHUB_TREE_H

#include "ingest/github/github_api.h"

enum { GITHUB_SHA_SIZE = 41 };

struct github_file {
    char *path; /* of the document: with the branch in front where there are several */
    char sha[GITHUB_SHA_SIZE]; /* of the blob, in hexadecimal */
    size_t size;
    size_t branch; /* its place among the source's branches */
    bool known;    /* the last sync had it at this path, with this content */
};

/* Starts as {0}. */
struct github_files {
    struct github_file *list;
    size_t count, room;
};

/* How a tree is read. */
struct github_walk {
    const struct github_api *api;
    const char *prefix; /* put before each path: "" or "BRANCH/" */
    size_t branch;
    source_skip_fn skip;
    void *arg;
};

/* Adds the files of a commit's or tree's sha that the settings take in, and tells of those that are
 * left out. A tree that is too large for one answer is read directory by directory. */
int github_tree_read(const struct github_walk *walk, const char *sha, struct github_files *files,
                     struct error *err);

/* Takes over what one answer of the API says of the directory `at` ("" or "docs/"). *truncated: it
 * is not all. Separate for tests. */
int github_tree_take(const struct github_walk *walk, const json_t *answer, const char *at,
                     struct github_files *files, bool *truncated, struct error *err);

/* By path, for github_files_find. */
void github_files_sort(struct github_files *files);
const struct github_file *github_files_find(const struct github_files *files, const char *path);
void github_files_free(struct github_files *files);

#endif
