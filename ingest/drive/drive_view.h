/*
 * drive_view.h: what a source sees of Drive: the table of files and, for each corpus that it looks
 * at (what belongs to the user, and each shared drive), from where its feed of changes goes on.
 * Made by listing, brought up to date by the feeds, kept in the source's cursor. One thread.
 */
#ifndef INGEST_DRIVE_VIEW_H
#define INGEST_DRIVE_VIEW_H

#include "ingest/drive/drive_api.h"
#include "ingest/drive/drive_node.h"

struct drive_feed {
    char *drive; /* a shared drive's id, or "": the user's */
    char *token; /* of the page to ask for next */
};

/* Starts as {.api = ...}. */
struct drive_view {
    const struct drive_api *api;
    struct drive_nodes nodes;
    struct drive_feed *feeds;
    size_t feed_count;
};

/* From the cursor's text. Returns -1, with an empty view, where it cannot be read. */
int drive_view_load(struct drive_view *view, const char *cursor);
/* NULL: out of memory. The caller frees it. */
char *drive_view_save(const struct drive_view *view);

/* Lists everything anew. What is kept of the old table is only what names were marked. */
int drive_view_list(struct drive_view *view, struct error *err);

enum { DRIVE_CHANGED = 0, DRIVE_UNCHANGED = 1, DRIVE_STALE = 2 };

/* Reads the feeds. DRIVE_UNCHANGED: nothing that concerns us, and so little at all that it may be
 * read once more by the next sync. DRIVE_STALE: a feed has forgotten where we were, or what it says
 * does not tell enough: list anew. */
int drive_view_catch_up(struct drive_view *view, struct error *err);

/* Brings in what shortcuts lead to, if it is not in the table. */
int drive_view_follow(struct drive_view *view, struct error *err);

/* The feed that tells of a node: its shared drive's, or where there is none, the user's. */
const struct drive_feed *drive_view_feed(const struct drive_view *view, const char *drive);

void drive_view_free(struct drive_view *view);

/* ---- Between the files of the view ---- */

/* Adds what `file` describes, if it is a valid one that is not in the trash. *node is it, or NULL
 * where it was left out. */
int drive_view_add(struct drive_view *view, const json_t *file, bool outside,
                   struct drive_node **node, struct error *err);
/* Opens the feed of a shared drive ("" or NULL: the user's) where there is none yet. A drive that
 * the account is no member of has none of its own: the user's stands for it. */
int drive_view_open_feed(struct drive_view *view, const char *drive, struct error *err);
/* Lists all that is below these folders. */
int drive_view_list_below(struct drive_view *view, char **folders, size_t count, bool outside,
                          struct error *err);
/* One file by its id. Returns 1 where it is not to be seen or in the trash. */
int drive_view_get(struct drive_view *view, const char *id, bool outside, struct drive_node **node,
                   struct error *err);
/* The shared drives that the account is a member of: {id: name}. */
int drive_view_drives(const struct drive_api *api, json_t **drives, struct error *err);

#endif
