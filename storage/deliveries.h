/*
 * deliveries.h: which deliveries of webhooks have been acted on (tekupdb."Delivery"). Same rules as
 * vault.h.
 *
 * A delivery is entered after what it asks for has been done: one whose daemon dies in between is
 * acted on twice rather than never.
 */
#ifndef STORAGE_DELIVERIES_H
#define STORAGE_DELIVERIES_H

#include "storage/pool.h"

#include <stdbool.h>

enum { DELIVERIES_KEPT_DAYS = 30 };

int delivery_is_known(struct pool *pool, const char *service, const char *id, bool *known,
                      struct error *err);

/* Enters it, and forgets those that are older than DELIVERIES_KEPT_DAYS. One that is there stays as
 * it is. */
int delivery_enter(struct pool *pool, const char *service, const char *id, struct error *err);

#endif
