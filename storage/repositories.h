/*
 * repositories.h: what there is in the vault, repository by repository: those of the sources, those
 * that documents were put into, and how each stands. Same rules as vault.h.
 */
#ifndef STORAGE_REPOSITORIES_H
#define STORAGE_REPOSITORIES_H

#include "storage/pool.h"
#include "storage/vault/vault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct repository {
    char *source, *repository;
    int64_t documents;
    char updated_at[TIMESTAMP_SIZE]; /* of its youngest document; "" without any */
    bool registered;                 /* there is a source that syncs it */
    int interval_s;                  /* of that source; 0: only on demand */
    /* As in VaultSyncStatus; "" where it has no such row, last_sync_at also where it was never
     * synced, next_sync_at also where nothing is planned. */
    char status[16], last_sync_at[TIMESTAMP_SIZE], next_sync_at[TIMESTAMP_SIZE];
    char *error_message; /* NULL where there is none */
};
void repository_free(struct repository *repository);

/* In order of source and repository (compared as bytes). Both may be NULL: all. The caller frees
 * each row and the array. */
int repositories_list(struct pool *pool, const char *source, const char *repository,
                      struct repository **rows, size_t *count, struct error *err);

/* Counts what a repository holds. */
struct repository_part {
    char *name; /* "md", or "docs"; "" for files without an extension, or in no folder */
    int64_t documents;
};
struct repository_content {
    int64_t bytes, passages;
    char oldest[TIMESTAMP_SIZE];             /* when its first document came; "" without any */
    struct repository_part *types, *folders; /* most documents first, REPOSITORY_PARTS at most */
    size_t type_count, folder_count;
};
enum { REPOSITORY_PARTS = 20 };
int repository_look(struct pool *pool, const char *source, const char *repository,
                    struct repository_content *content, struct error *err);
void repository_content_free(struct repository_content *content);

#endif
