/*
 * shared_set.h: a set of ids that searches read while the vault changes it.
 *
 * Whoever reads keeps the set as it was at that moment; the writer changes it in place as long as
 * nobody does, and a copy otherwise. What keeps readers from taking hold of a set while it is being
 * changed is the caller's lock; letting go needs none.
 */
#ifndef TEKUPD_SHARED_SET_H
#define TEKUPD_SHARED_SET_H

#include <tekup/index.h>

struct shared_set;

struct shared_set *shared_set_create(void); /* NULL when memory ran out */

/* Another hold on the same; not while it is being changed. */
struct shared_set *shared_set_keep(struct shared_set *set);
void shared_set_release(struct shared_set *set); /* NULL is allowed; from any thread, at any time */

const tk_idset *shared_set_ids(const struct shared_set *set);

/* The ids for the writer to change, until somebody takes hold of the set: *set becomes a copy where
 * others hold it. NULL, and nothing has changed, when memory ran out. */
tk_idset *shared_set_change(struct shared_set **set);

#endif
