/*
 * sync_plan.h: what a repository's source lists and what the vault holds of it, side by side.
 */
#ifndef INGEST_SYNC_PLAN_H
#define INGEST_SYNC_PLAN_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A document that the vault holds. */
struct plan_version {
    char *id, *path;
    char *sha;    /* NULL where it has none */
    uint64_t url; /* a hash of where people find it; 0: it says nothing of that */
    bool current; /* embedded by the model in use */
    bool gone;    /* its source has it no more */
};

/* An item of the listing. */
struct plan_item {
    char *path;
    char *sha;                    /* NULL where only fetching tells */
    uint64_t url;                 /* as of a version; 0 where only fetching tells */
    struct plan_version *version; /* NULL: it is new */
};

/* Starts as {0}. Both lists are in the order of their paths' bytes once they are matched. */
struct sync_plan {
    struct plan_item *items;
    size_t item_count, item_room;
    struct plan_version *versions;
    size_t version_count, version_room;
    char **kept; /* paths that are there but cannot be read */
    size_t kept_count, kept_room;
};

/* Each copies its strings and returns 0, or -1 when memory ran out. */
int plan_add_item(struct sync_plan *plan, const char *path, const char *sha, const char *url);
int plan_add_version(struct sync_plan *plan, const char *id, const char *path, const char *sha,
                     const char *url, bool current);
/* Documents at this path or below it are not gone, although they are not listed. */
int plan_keep(struct sync_plan *plan, const char *path);

/* Finds for each item its version, and for each version whether it is gone. An item that was listed
 * twice stays once. */
void plan_match(struct sync_plan *plan);

void plan_free(struct sync_plan *plan);

#endif
