/*
 * event_text.h: changes of the vault as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 */
#ifndef TEKUPD_EVENT_TEXT_H
#define TEKUPD_EVENT_TEXT_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/feed.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/* How the rows of VaultSyncStatus stand that some changes are about; {0} is none. */
struct sync_rows {
    PGresult *rows;
};

/* Reads those of the changes, in the transaction that reads the feed. */
int sync_rows_read(PGconn *conn, const struct feed_change *changes, size_t count,
                   struct sync_rows *rows, struct error *err);
void sync_rows_free(struct sync_rows *rows);

/* The lines "event:" and "data:" of a change; the id, and the empty line, are the caller's. */
void event_text_put(struct buffer *out, const struct feed_change *change,
                    const struct sync_rows *rows);

#endif
