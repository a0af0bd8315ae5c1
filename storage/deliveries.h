/*
 * deliveries.h: which deliveries of webhooks have been acted on (tekupdb."Delivery"). Same rules as
 * vault.h.
 *
 * A delivery is entered after what it asks for has been done: one whose daemon dies in between is
 * acted on twice rather than never.
 *
 * It is known by two names, its id and its body: what is signed is the body alone, so that somebody
 * who has seen a delivery could send it again under another id.
 */
#ifndef STORAGE_DELIVERIES_H
#define STORAGE_DELIVERIES_H

#include "storage/pool.h"

#include <stdbool.h>
#include <stddef.h>

enum { DELIVERIES_KEPT_DAYS = 30 };

struct delivery_names {
    const char *id;        /* as the service names it */
    char body[7 + 64 + 1]; /* "sha256:" and the hash of its bytes; see delivery_name_body */
};

void delivery_name_body(struct delivery_names *names, const void *body, size_t length);

/* By either of its names. */
int delivery_is_known(struct pool *pool, const char *service, const struct delivery_names *names,
                      bool *known, struct error *err);

/* Enters it, and forgets those that are older than DELIVERIES_KEPT_DAYS. One that is there stays as
 * it is. */
int delivery_enter(struct pool *pool, const char *service, const struct delivery_names *names,
                   struct error *err);

#endif
