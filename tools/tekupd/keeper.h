/*
 * keeper.h: the thread that sees to it that the database is there.
 *
 * First it brings the database to this version's schema, starts the syncs and lets the follower
 * begin, waiting for PostgreSQL as long as that takes. From then on it looks every few seconds
 * whether the connection works, and starts the private cluster again when it is gone.
 */
#ifndef TEKUPD_KEEPER_H
#define TEKUPD_KEEPER_H

#include "storage/base/error.h"

struct daemon;
struct keeper;

struct keeper *keeper_create(struct daemon *daemon, struct error *err);

/* Something found PostgreSQL away: look now. */
void keeper_wake(struct keeper *keeper);

/* Joins the thread; the daemon's syncer, which it made, stays. It may still be woken, to no effect.
 * NULL is allowed. */
void keeper_stop(struct keeper *keeper);

/* Releases it; stops it first where that has not been done. NULL is allowed. */
void keeper_free(struct keeper *keeper);

#endif
