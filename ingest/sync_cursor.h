/*
 * sync_cursor.h: what a complete sync leaves for the next one (tekupdb."Cursor"), as JSON:
 *
 *     {"listedAt": "2026-11-28T07:00:00Z", "config": "<SHA-256>", "vault": "<SHA-256>",
 *      "source": "...", "skipped": [["logo.png", "<sha>", "binary"], ...]}
 *
 * config: of the source's config, since under another one nothing of this holds. vault: of what the
 * vault had of the repository, so that it is seen when it has become something else, by another's
 * hand or by a sync that came half way; missing where it is to be looked at in any case.
 * source: the kind's own (source_kind.h). skipped: what fetching found to be no document.
 */
#ifndef INGEST_SYNC_CURSOR_H
#define INGEST_SYNC_CURSOR_H

#include "ingest/source_kind.h"
#include "storage/base/digest.h"
#include "storage/pool.h"

#include <stdint.h>

/* The paths and shas of documents, in whatever order. {.known = true} is that of none. */
struct vault_state {
    bool known;               /* set by who has added them all */
    uint8_t sum[SHA256_SIZE]; /* of the hashes of each, by exclusive or */
};
void vault_state_add(struct vault_state *state, const char *path,
                     const char *sha); /* sha or NULL */
/* false where one of them is not known. */
bool vault_state_same(const struct vault_state *one, const struct vault_state *other);

struct skipped_item {
    char *path, *sha;
    enum skip_reason reason;
};

/* Starts as {0}. */
struct sync_cursor {
    char *source; /* NULL where there is none */
    struct vault_state vault;
    struct skipped_item *skipped;
    size_t skipped_count, skipped_room;
};

/* {0} where there is none, or where it is of another config or cannot be read. */
int sync_cursor_read(struct pool *pool, const char *source, const char *repository,
                     const char *config, struct sync_cursor *cursor, struct error *err);
int sync_cursor_write(struct pool *pool, const char *source, const char *repository,
                      const char *config, time_t listed, const struct sync_cursor *cursor,
                      struct error *err);

/* Copies the strings and returns 0, or -1 when memory ran out. */
int sync_cursor_add_skipped(struct sync_cursor *cursor, const char *path, const char *sha,
                            enum skip_reason reason);
/* Why an item of this path and sha was skipped, in a cursor that was read; SKIP_NONE: it was not.
 */
enum skip_reason sync_cursor_skipped(const struct sync_cursor *cursor, const char *path,
                                     const char *sha);

void sync_cursor_free(struct sync_cursor *cursor);

#endif
