/*
 * event_client.h: one client that is sent events: its stream, what it wants, and how far it is.
 *
 * Not locked: a client is the thread's that reads the feed (events.c).
 */
#ifndef TEKUPD_EVENT_CLIENT_H
#define TEKUPD_EVENT_CLIENT_H

#include "storage/base/buffer.h"
#include "storage/feed.h"
#include "tools/tekupd/events/event_id.h"
#include "tools/tekupd/events/event_text.h"
#include "tools/tekupd/http/http.h"

#include <stdbool.h>
#include <stddef.h>

struct event_client {
    struct event_client *next;
    struct http_stream *stream;
    char *source, *repository; /* NULL: any */
    char *last_id;             /* as it came; NULL once the client has its place */
    bool placed;
    struct event_place place;
    bool reading;             /* in the round that is under way */
    bool failed;              /* memory ran out for what it was to be sent: it has to come again */
    bool moved;               /* the place is another than the client was told last */
    double sent_s, taken_s;   /* when it was sent something; when the system last took some of it */
    unsigned long long taken; /* by then */
};

/* NULL when memory ran out. The stream is the caller's to set, and to end or cut. */
struct event_client *event_client_create(const char *source, const char *repository,
                                         const char *last_id);
void event_client_free(struct event_client *client);

/* Whether it is to be cut off, or is gone. */
bool event_client_is_over(struct event_client *client);

/* Whether it may be given more than the so many bytes that it is to have at most. */
bool event_client_has_room(const struct event_client *client, size_t most);

/* Sends where it begins: at the position, or (NULL) at its place as it is. `reset` where there is a
 * reason why it does not go on where it was, else `start`. Errors: ERR_INTERNAL. */
int event_client_begin(struct event_client *client, const char *feed, const char *position,
                       const char *reason, struct error *err);

/* Sends what it wants of the changes, and moves its place past them, as far as it has room; it ends
 * `reading` where that is not all. */
void event_client_give(struct event_client *client, const char *feed,
                       const struct feed_change *changes, size_t count,
                       const struct sync_rows *rows, size_t most);

/* Sends a sign of life where it was sent nothing for a while, with its place where that has moved.
 */
void event_client_keep_alive(struct event_client *client, const char *feed, size_t most);

#endif
