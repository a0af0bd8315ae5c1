/*
 * events.h: clients that are sent what happens to the vault, as it happens (GET /v1/events).
 *
 * One thread reads the change feed for all of them, on a connection of its own while there are any,
 * and writes into their streams (http.h), which take no threads. How much is kept for a client is
 * bounded: one that is behind is read for again when it has taken what it was given, and one that
 * takes nothing for a while is cut off.
 */
#ifndef TEKUPD_EVENTS_H
#define TEKUPD_EVENTS_H

#include "storage/base/error.h"
#include "storage/pool.h"
#include "tools/tekupd/http/http.h"

#include <stdbool.h>
#include <stddef.h>

struct events;

struct events_options {
    struct pool *pool;
    const char *data; /* DATA, which names the follower that keeps the feed */
    int clients;      /* at most */
    size_t buffer;    /* bytes kept for a client, about */
    int keep_s;       /* how far back a client may begin */
    bool trims;       /* nobody else in this daemon follows and trims the feed */
};

struct events *events_create(const struct events_options *options, struct error *err);

/* Makes the request a client's; source and repository (NULL: any) are what it is told of, last_id
 * (NULL: from now on) is where it goes on. By a handler, on its loop's thread. Returns -1, with the
 * request as it was, on ERR_INVALID (field "Last-Event-ID") and ERR_UNAVAILABLE (too many clients,
 * or stopping). */
int events_add(struct events *events, struct http_request *request, const char *source,
               const char *repository, const char *last_id, struct error *err);

size_t events_count(struct events *events);

/* Ends every stream and joins the thread; clients that come later are refused. NULL is allowed. */
void events_stop(struct events *events);

/* Stops it where that has not been done, and releases it. NULL is allowed. */
void events_free(struct events *events);

#endif
