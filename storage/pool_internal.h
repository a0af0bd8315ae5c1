/* pool_internal.h: what the pool gives to the other files of storage. */
#ifndef STORAGE_POOL_INTERNAL_H
#define STORAGE_POOL_INTERNAL_H

#include "storage/cuid.h"
#include "storage/pool.h"

/* A new id for a row; any thread. */
void pool_cuid(struct pool *pool, char out[CUID_SIZE]);

#endif
