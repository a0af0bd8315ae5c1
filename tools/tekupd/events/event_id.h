/*
 * event_id.h: what stands behind `id:` of an event, and comes back as Last-Event-ID.
 *
 * It names the feed (8 hexadecimal digits of its identity) and how far it has been read: everything
 * that the position `after` saw, and of what `upto` saw beyond that the changes up to the number
 * `seq` (storage/feed.h). "FEED-AFTER" or "FEED-AFTER-UPTO-SEQ".
 */
#ifndef TEKUPD_EVENT_ID_H
#define TEKUPD_EVENT_ID_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <stdint.h>

enum { EVENT_FEED_SIZE = 9, EVENT_ID_MOST = 32 << 10 };

struct event_place {
    char *after;
    char *upto; /* NULL: all that `after` saw, and no more */
    int64_t seq;
};
void event_place_free(struct event_place *place);

/* The feed's name in ids. */
void event_feed(const char *identity, char feed[EVENT_FEED_SIZE]);

void event_id_put(struct buffer *out, const char *feed, const struct event_place *place);

/* Errors: ERR_INVALID (field "Last-Event-ID"). */
int event_id_parse(const char *text, char feed[EVENT_FEED_SIZE], struct event_place *place,
                   struct error *err);

#endif
