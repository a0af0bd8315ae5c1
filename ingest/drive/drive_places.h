/*
 * drive_places.h: where in the repository each file of the table is, which Drive itself leaves
 * open: names repeat within a folder, hold '/', a file has several parents or none to be seen, and
 * shortcuts lead elsewhere. The rules:
 *
 * - A path begins with the name of what was chosen: of the shared drive or of the folder; in My
 *   Drive with what lies at its top. What is shared with the account and in no folder that it can
 *   see is at the top too.
 * - Of several parents that are seen, the one whose id comes first counts: one file, one document.
 * - '/' and control characters in names become '_'; "." and ".." become "_" and "__".
 * - Of several of one name in a folder, the one that was there first keeps it, and each other gets
 *   eight digits of the hash of its id: "Plan (1f2e3d4c).md". It keeps them as long as it keeps
 *   name and folder, so that no path changes when another is deleted.
 * - A shortcut to what has a place of its own is nothing. One to something else stands for it, with
 *   the shortcut's name; of several the oldest. So nothing is there twice, and there is no cycle.
 */
#ifndef INGEST_DRIVE_PLACES_H
#define INGEST_DRIVE_PLACES_H

#include "ingest/drive/drive_node.h"

struct drive_place {
    char *path;
    struct drive_node *node; /* the file itself, not a shortcut to it; in the table */
};

/* Starts as {0}. */
struct drive_places {
    struct drive_place *list; /* in the order of their paths' bytes; no folders, no shortcuts */
    size_t count, room;
    /* Shortcuts that lead to nothing that is in the table, and paths that are too long. */
    struct drive_place *lost;
    size_t lost_count, lost_room;
};

/* Finds the place of everything in the table, sets `marked`, and marks as gone what has no place,
 * without sweeping it. whole_user: whatever is in no shared drive belongs to it. Returns -1 when
 * memory ran out. */
int drive_places_find(struct drive_nodes *nodes, bool whole_user, struct drive_places *places);

/* NULL where there is none. */
struct drive_node *drive_places_node(const struct drive_places *places, const char *path);

void drive_places_free(struct drive_places *places);

#endif
