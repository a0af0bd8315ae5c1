/* pool_internal.h: what the pool gives to the other files of storage. */
#ifndef STORAGE_POOL_INTERNAL_H
#define STORAGE_POOL_INTERNAL_H

#include "storage/cuid.h"
#include "storage/pool.h"

#include <stdbool.h>

/* A new id for a row; any thread. */
void pool_cuid(struct pool *pool, char out[CUID_SIZE]);

/* For how many seconds an answer is waited for (libpq takes it as text). */
#define POOL_PING_S "3"

/* Whether the server says anything to somebody who wants to connect, be it that it does not let
 * anybody in. Waits up to POOL_PING_S for each of its addresses. */
bool pool_answers(struct pool *pool);

/* For how many milliseconds the oldest of the leases that there are has been one; 0 without any. */
int pool_longest_lease(struct pool *pool);

/* Cuts the connections that are leased, so that what waits on them fails with ERR_UNAVAILABLE, and
 * leases none until it is said that the server answers again. */
void pool_silence(struct pool *pool, bool silent);

#endif
