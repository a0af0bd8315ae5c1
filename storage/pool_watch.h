/*
 * pool_watch.h: the thread that notices a server that hangs.
 *
 * A server that neither answers nor goes away (its processes are stopped, its disk is stuck, its
 * machine is paused) would hold whoever asks it, and the connection, for as long as that lasts:
 * statement_timeout is the server's to keep. So once a lease is older than a statement usually is,
 * the watch asks the server for any sign of life, and where there is none for some seconds it has
 * the pool cut what is leased and lease nothing. Then it asks on, until there is one.
 */
#ifndef STORAGE_POOL_WATCH_H
#define STORAGE_POOL_WATCH_H

#include "storage/pool.h"

struct pool_watch;

/* Watches the pool, which must stay until the watch is freed. NULL on failure: ERR_INTERNAL. */
struct pool_watch *pool_watch_create(struct pool *pool, struct error *err);

/* Joins the thread, which takes as long as the server may take to answer. NULL is allowed. */
void pool_watch_free(struct pool_watch *watch);

#endif
