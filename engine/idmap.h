/*
 * idmap.h: which slot an id is in.
 *
 * A hash table that any number of threads look things up in without a lock while others change it.
 * An id is absent, reserved (a writer is adding it; readers do not see it yet) or in a slot, and
 * every change from one to another is a single atomic store: that store is the moment at which an
 * add, a replace or a remove happens for everybody else.
 *
 * The table is split into shards by hash, each with a lock among its writers. A shard is an open
 * table with linear probing. An entry's id is written once, before its value first becomes
 * non-empty, and never changes; removed ids leave their entry behind until the shard is rebuilt
 * into a new table, which is published whole while the old one is retired (epoch.h).
 */
#ifndef ENGINE_IDMAP_H
#define ENGINE_IDMAP_H

#include "engine/store.h"

#define IDMAP_SHARDS 64

struct idmap_table;

struct idmap_shard {
    _Atomic(struct idmap_table *) table;
    pthread_mutex_t lock;
    size_t entries; /* ever used in this table */
    size_t present; /* of those, reserved or in a slot */
};

struct idmap {
    struct memory *memory;
    struct idmap_shard shards[IDMAP_SHARDS];
};

void tk_idmap_init(struct idmap *map, struct memory *memory);
void tk_idmap_destroy(struct idmap *map);

/* The id's slot, or NO_SLOT where it is absent or only reserved. */
uint32_t tk_idmap_find(const struct idmap *map, tk_id id);

/* Asks for the memory that finding an id will read. */
void tk_idmap_prefetch(const struct idmap *map, tk_id id);

/* Reserves an id. TK_EEXISTS where it is present or reserved, TK_ENOMEM. */
tk_status tk_idmap_reserve(struct idmap *map, struct seat *seat, tk_id id);
/* What becomes of a reserved id. */
void tk_idmap_publish(struct idmap *map, tk_id id, uint32_t slot);
void tk_idmap_cancel(struct idmap *map, tk_id id);

/* Moves an id to another slot and returns the one it was in; NO_SLOT, and no change, where it is
 * absent or reserved. */
uint32_t tk_idmap_move(struct idmap *map, tk_id id, uint32_t slot);
/* Removes an id and returns the slot it was in; NO_SLOT where it is absent or reserved. */
uint32_t tk_idmap_remove(struct idmap *map, tk_id id);

#endif
