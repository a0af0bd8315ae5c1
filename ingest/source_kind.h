/*
 * source_kind.h: what every kind of source (local, github, notion, gdrive) does.
 *
 * A kind lists the items that a repository has now and fetches the content of one. It knows nothing
 * of the database: sync.c compares the listing with what the vault holds and decides what to fetch.
 */
#ifndef INGEST_SOURCE_KIND_H
#define INGEST_SOURCE_KIND_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Why an item is not taken in. */
enum skip_reason {
    SKIP_NONE,
    SKIP_IGNORED, /* .gitignore, or a place no one keeps documents in, such as .git */
    SKIP_BINARY,  /* a NUL byte, or not UTF-8 */
    SKIP_TOO_LARGE,
    SKIP_EMPTY,    /* nothing but white space */
    SKIP_NOT_FILE, /* symbolic link, socket, device */
    SKIP_UNREADABLE,
    SKIP_REASONS
};
const char *skip_reason_name(enum skip_reason reason); /* "ignored", "binary", ... */

/* The longest path of a document, in bytes. */
enum { SOURCE_PATH_MAX = 4096 };

struct source_item {
    const char *path; /* within the repository, '/' between parts, no leading '/', valid UTF-8 */
    const char *sha;  /* identifies the content; NULL where only fetching tells */
    size_t size;      /* bytes, a hint */
};

struct source_content {
    char *text; /* valid UTF-8 without NUL, NUL-terminated; the caller frees it */
    size_t length;
    char sha[80];
    char *metadata; /* JSON text or NULL; the caller frees it */
};

/* Called for each item; a nonzero return ends the listing. */
typedef int (*source_item_fn)(void *arg, const struct source_item *item);
/* Called for each thing that is left out. A path that ends with '/' stands for everything below it.
 * The path may hold any bytes but NUL. */
typedef void (*source_skip_fn)(void *arg, const char *path, enum skip_reason reason);

struct source_kind {
    const char *name;
    /* Whether config (a JSON object's text) is right for this kind. ERR_INVALID names the field. */
    int (*check)(const char *repository, const char *config, struct error *err);
    int (*open)(const char *repository, const char *config, void **state, struct error *err);
    /* Lists everything, or fails. A listing that fails half way says nothing about what is gone.
     * What is skipped as SKIP_UNREADABLE is there, so that it is not gone either. */
    int (*list)(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                struct error *err);
    /* Returns 0 with the content, 1 when it is to be skipped (with *reason), -1 on failure.
     * ERR_NOT_FOUND: it went away since it was listed. ERR_UNAVAILABLE: the source as a whole
     * cannot be read now; any other error is about this item. May be called from several threads at
     * once.
     */
    int (*fetch)(void *state, const char *path, struct source_content *content,
                 enum skip_reason *reason, struct error *err);
    /* Whether the source is still the one that was opened; asked before anything is deleted that
     * the listing did not hold. NULL where listing and fetching cannot miss it. */
    int (*verify)(void *state, struct error *err);
    void (*close)(void *state);
};

extern const struct source_kind source_local;

/* NULL for a name that is none. */
const struct source_kind *source_kind_find(const char *name);

#endif
