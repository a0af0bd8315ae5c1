/*
 * id_map.h: a table from embedding ids to whatever they belong to, for many searching threads.
 *
 * It is cut into shards with a lock each. What an id leads to may be looked at as long as the id's
 * shard is locked: whoever frees it takes it out of the table first.
 */
#ifndef TEKUPD_ID_MAP_H
#define TEKUPD_ID_MAP_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct id_map;

/* A lock that lets a writer in before the readers that come after it: with glibc's own order steady
 * readers keep writers out for ever. */
void id_map_init_lock(pthread_rwlock_t *lock);

struct id_map *id_map_create(void); /* NULL when memory ran out */
void id_map_free(struct id_map *map);

/* Adds the id, or leads the one that is there to this value (not NULL). Returns -1 when memory ran
 * out, which cannot happen for an id that is there. */
int id_map_put(struct id_map *map, int64_t id, void *value);

void id_map_remove(struct id_map *map, int64_t id);

/* The value of an id, NULL where there is none, with the id's shard locked for reading until
 * id_map_unlock(); other ids may share it, so that only one is locked at a time. */
void *id_map_lock(const struct id_map *map, int64_t id);
void id_map_unlock(const struct id_map *map, int64_t id);

/* The same without a lock, for who keeps writers out by another one; and a hint that an id is
 * looked for in a moment, so that the ways to memory of many are gone side by side. */
void *id_map_find(const struct id_map *map, int64_t id);
void id_map_prefetch(const struct id_map *map, int64_t id);

#endif
