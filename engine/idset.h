/*
 * idset.h: what the engine itself needs of id sets.
 */
#ifndef ENGINE_IDSET_H
#define ENGINE_IDSET_H

#include <tekup/index.h>

/* Calls visit for every id, ascending, until it returns false. */
void tk_idset_each(const tk_idset *set, bool (*visit)(tk_id id, void *arg), void *arg);

#endif
