/*
 * sources.h: which repositories are to be synced (tekupdb."Source"), and how each of them stands
 * (vault."VaultSyncStatus"). Same rules as vault.h.
 */
#ifndef STORAGE_SOURCES_H
#define STORAGE_SOURCES_H

#include "storage/pool.h"
#include "storage/vault/vault.h"

struct source {
    char *source; /* kind: "local", later "github", "notion", "gdrive" */
    char *repository;
    char *config;   /* JSON object: the kind's own settings, {"path": "/srv/docs"} for local */
    int interval_s; /* seconds between syncs; 0: only on demand */
    char created_at[TIMESTAMP_SIZE];
    /* How it stands, in lists only: as in VaultSyncStatus, and when its interval will have passed
     * ("" without one). */
    char status[16], last_sync_at[TIMESTAMP_SIZE], next_sync_at[TIMESTAMP_SIZE];
    int document_count;
};
void source_free(struct source *source);

/* Adds it, or changes config and interval of the one that is there; its status becomes `pending`
 * when it is new. */
int sources_put(struct pool *pool, const char *source, const char *repository, const char *config,
                int interval_s, bool *created, struct error *err);
int sources_get(struct pool *pool, const char *source, const char *repository, struct source *out,
                struct error *err);
/* Removes it, its cursor and its status; its documents stay. Errors: ERR_NOT_FOUND. */
int sources_delete(struct pool *pool, const char *source, const char *repository,
                   struct error *err);
int sources_list(struct pool *pool, struct source **sources, size_t *count, struct error *err);

/* ---- VaultSyncStatus ---- */

struct sync_status {
    char id[DOCUMENT_ID_SIZE];
    char *source, *repository;
    char last_sync_at[TIMESTAMP_SIZE];
    char status[16];     /* pending, in_progress, success, error */
    char *error_message; /* NULL where there is none */
    int document_count;
    /* JSON objects' texts (sync_state.h), or NULL: of the sync that runs, as it was told last,
     * where status is in_progress; and of the last one that has ended. */
    char *progress, *last;
};
void sync_status_free(struct sync_status *status);

/* Writes the row, making it where it is missing. lastSyncAt becomes now. documentCount is counted
 * from the vault's rows when status is success or error, and stays as it is otherwise. */
int sync_status_set(struct pool *pool, const char *source, const char *repository,
                    const char *status, const char *error_message, struct error *err);

/* Whether the row is there and has this status. */
int sync_status_is(struct pool *pool, const char *source, const char *repository,
                   const char *status, bool *same, struct error *err);

/* Newest first. */
int sync_status_list(struct pool *pool, struct sync_status **rows, size_t *count,
                     struct error *err);

/* A row that says in_progress, and whose repository no daemon has claimed (claims.h), belongs to a
 * daemon that died. It becomes `error` with a message that says so; *recovered counts them. Those
 * of sources with an interval are left to sources_due. */
int sync_status_recover(struct pool *pool, size_t *recovered, struct error *err);

/* ---- The schedule ---- */

/* Calls `due` for each source whose interval has passed since its last sync, by the database's
 * clock; and for each with an interval whose sync was asked for and has not ended, so that one that
 * a daemon left behind is taken up (one that is under way turns out to be claimed); and for each
 * that is wanted once more (sync_state.h). *wait_s: when the next one may be due, at most what it
 * is at the call. */
typedef void (*source_due_fn)(void *arg, const char *source, const char *repository);
int sources_due(struct pool *pool, source_due_fn due, void *arg, double *wait_s, struct error *err);

/* ---- Cursors: where a source's last complete sync ended; opaque to storage ---- */

int cursor_get(struct pool *pool, const char *source, const char *repository, char **cursor,
               struct error *err); /* *cursor NULL where there is none; the caller frees it */
int cursor_set(struct pool *pool, const char *source, const char *repository, const char *cursor,
               struct error *err);

#endif
