/*
 * tree.h: reads files and directories beneath a root without ever leaving it.
 *
 * Every path is opened part by part from the root, and no symbolic link on the way is followed, so
 * that a tree that changes while it is read cannot lead anywhere else. Only the root itself may be
 * a symbolic link. Only one directory is held open at a time, however deep the tree is.
 *
 * Functions that return an int return 0 or an errno value unless they say otherwise.
 */
#ifndef INGEST_TREE_H
#define INGEST_TREE_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tree {
    const char *path; /* of the root, kept by the caller */
    int fd;
    dev_t device;
    ino_t inode;
};

int tree_open(struct tree *tree, const char *path);
void tree_close(struct tree *tree);

/* Whether the root's path still leads to the directory that was opened: 0, or -1 with
 * ERR_UNAVAILABLE. */
int tree_check(const struct tree *tree, struct error *err);

enum entry_type { ENTRY_FILE, ENTRY_DIRECTORY, ENTRY_OTHER, ENTRY_UNREADABLE };

struct tree_entry {
    char *name;
    enum entry_type type;
    size_t size; /* of a file */
};

struct tree_directory {
    struct tree_entry *entries; /* in the order of their names' bytes */
    size_t count;
    char *ignore; /* the text of its .gitignore, NULL where it has none */
    size_t ignore_length;
};

enum { TREE_IGNORE_MOST = 4 << 20 };

/* path is relative to the root, "" for the root itself. ENOENT, ENOTDIR, ELOOP: it is no directory
 * now. EFBIG: its .gitignore has more than TREE_IGNORE_MOST bytes. *at names what failed:
 * ".gitignore" or "". */
int tree_read_directory(const struct tree *tree, const char *path, struct tree_directory *out,
                        const char **at);
void tree_directory_free(struct tree_directory *directory);

/* Reads a regular file of at most `most` bytes; the text has a NUL after it. EFBIG where it is
 * longer, EINVAL where it is no regular file. */
int tree_read_file(const struct tree *tree, const char *path, size_t most, char **text,
                   size_t *length);

#endif
