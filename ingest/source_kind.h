/*
 * source_kind.h: what every kind of source (local, github, notion, gdrive) does.
 *
 * A kind lists the items that a repository has now and fetches the content of one. It knows nothing
 * of the database: sync.c compares the listing with what the vault holds and decides what to fetch.
 */
#ifndef INGEST_SOURCE_KIND_H
#define INGEST_SOURCE_KIND_H

#include "storage/base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct http_client;

/* Why an item is not taken in. */
enum skip_reason {
    SKIP_NONE,
    SKIP_IGNORED, /* .gitignore, or a place no one keeps documents in, such as .git */
    SKIP_BINARY,  /* no text (plain_text.h), or a name that is none */
    SKIP_TOO_LARGE,
    SKIP_EMPTY,    /* nothing but white space */
    SKIP_NOT_FILE, /* symbolic link, socket, device */
    SKIP_UNREADABLE,
    SKIP_SUBMODULE,   /* another repository's place in this one */
    SKIP_LFS,         /* a pointer of Git LFS: the content is elsewhere */
    SKIP_UNSUPPORTED, /* a kind of file whose text cannot be had */
    SKIP_REASONS
};
const char *skip_reason_name(enum skip_reason reason); /* "ignored", "binary", ... */
/* SKIP_REASONS where there is no such name. */
enum skip_reason skip_reason_find(const char *name);

/* Why a text of these bytes is no document: SKIP_EMPTY, SKIP_BINARY, or SKIP_NONE. */
enum skip_reason skip_reason_of_text(const char *text, size_t length);

/* The longest path of a document, in bytes. */
enum { SOURCE_PATH_MAX = 4096 };

struct source_item {
    const char *path; /* within the repository, '/' between parts, no leading '/', valid UTF-8 */
    const char *sha;  /* identifies the content; NULL where only fetching tells */
    size_t size;      /* bytes, a hint */
    /* Where people find it, as `url` of its metadata: a document that has another one is written
     * again although its content is the same. NULL: only fetching tells, and it is not compared. */
    const char *url;
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

/* What a kind is given for one sync; all of it outlives the state that `open` makes. */
struct source_context {
    const char *repository;
    const char *config; /* a JSON object's text */
    /* What `cursor` gave at the end of the last complete sync with the same config; NULL: none. */
    const char *cursor;
    struct http_client *http;
    const atomic_bool *stop; /* ends whatever waits, with ERR_CANCELLED; NULL: nothing does */
    /* Told when the source makes the sync wait ("GitHub's rate limit"), with why NULL when it goes
     * on. May be called from several threads. NULL: nobody wants to know. */
    void (*waiting)(void *arg, const char *why, time_t until);
    void *arg;
};

enum { SOURCE_LISTED = 0, SOURCE_UNCHANGED = 1 };

struct source_kind {
    const char *name;
    /* Whether config is right for this kind. ERR_INVALID names the field. */
    int (*check)(const char *repository, const char *config, struct error *err);
    int (*open)(const struct source_context *context, void **state, struct error *err);
    /* Lists everything and returns SOURCE_LISTED, or fails. A listing that fails half way says
     * nothing about what is gone. What is skipped as SKIP_UNREADABLE is there, so that it is not
     * gone either. Where there is a cursor it may list nothing and return SOURCE_UNCHANGED:
     * everything is as it was then. */
    int (*list)(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                struct error *err);
    /* Returns 0 with the content, 1 when it is to be skipped (with *reason), -1 on failure.
     * ERR_NOT_FOUND: it went away since it was listed. ERR_UNAVAILABLE: the source as a whole
     * cannot be read now; any other error is about this item. May be called from several threads at
     * once. An item that was listed with its sha and turned out to be skipped (but for
     * SKIP_UNREADABLE) is not asked for again while its sha stays.
     */
    int (*fetch)(void *state, const char *path, struct source_content *content,
                 enum skip_reason *reason, struct error *err);
    /* Whether the source is still the one that was opened; asked before anything is deleted that
     * the listing did not hold. NULL where listing and fetching cannot miss it. */
    int (*verify)(void *state, struct error *err);
    /* After a complete sync: from where the next may start, as text in UTF-8 of the kind's own,
     * which the caller frees. NULL where a kind always lists anew. */
    int (*cursor)(void *state, char **text, struct error *err);
    /* For who sets a source up: shows with the fewest calls that it can be read. *report is a
     * sentence or two about what was found, which the caller frees. On failure err says in words
     * what is wrong, with the token, the name, the permission, and what to do. NULL: it is enough
     * that the listing begins and its first item can be fetched. */
    int (*test)(const struct source_context *context, char **report, struct error *err);
    void (*close)(void *state);
};

extern const struct source_kind source_local;
extern const struct source_kind source_github;
extern const struct source_kind source_notion;
extern const struct source_kind source_gdrive;

/* NULL for a name that is none. */
const struct source_kind *source_kind_find(const char *name);

/* All of them, by number. */
enum { SOURCE_KINDS = 4 };
const struct source_kind *source_kind_at(size_t number);

#endif
