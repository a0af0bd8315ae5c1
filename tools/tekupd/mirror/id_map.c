#include "tools/tekupd/mirror/id_map.h"

#include <stdlib.h>
#include <string.h>

enum { SHARD_BITS = 6, SHARDS = 1 << SHARD_BITS, FIRST_SLOTS = 16, CACHE_LINE = 64 };

struct slot {
    int64_t id;
    void *value; /* NULL: free */
};

/* Open addressing with linear probing; at most three quarters are in use. */
struct shard {
    pthread_rwlock_t lock;
    struct slot *slots;
    size_t size, count; /* size is a power of two, or 0 */
} __attribute__((aligned(CACHE_LINE)));

struct id_map {
    struct shard shards[SHARDS];
};

static uint64_t hash_id(int64_t id)
{
    uint64_t hash = (uint64_t)id * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    return hash * 0xd6e8feb86659fd93u;
}

static struct shard *shard_of(const struct id_map *map, int64_t id)
{
    return (struct shard *)&map->shards[hash_id(id) >> (64 - SHARD_BITS)];
}

void id_map_init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

struct id_map *id_map_create(void)
{
    struct id_map *map = aligned_alloc(CACHE_LINE, sizeof(*map));
    if (map == NULL) return NULL;
    memset(map, 0, sizeof(*map));
    for (int i = 0; i < SHARDS; i++) id_map_init_lock(&map->shards[i].lock);
    return map;
}

void id_map_free(struct id_map *map)
{
    if (map == NULL) return;
    for (int i = 0; i < SHARDS; i++) {
        pthread_rwlock_destroy(&map->shards[i].lock);
        free(map->shards[i].slots);
    }
    free(map);
}

static struct slot *find(const struct shard *shard, int64_t id)
{
    if (shard->size == 0) return NULL;
    size_t at = hash_id(id) & (shard->size - 1);
    while (shard->slots[at].value != NULL) {
        if (shard->slots[at].id == id) return &shard->slots[at];
        at = (at + 1) & (shard->size - 1);
    }
    return NULL;
}

static void place(struct slot *slots, size_t size, struct slot slot)
{
    size_t at = hash_id(slot.id) & (size - 1);
    while (slots[at].value != NULL) at = (at + 1) & (size - 1);
    slots[at] = slot;
}

static int grow(struct shard *shard)
{
    const size_t size = shard->size > 0 ? shard->size * 2 : FIRST_SLOTS;
    struct slot *slots = calloc(size, sizeof(*slots));
    if (slots == NULL) return -1;
    for (size_t i = 0; i < shard->size; i++) {
        if (shard->slots[i].value != NULL) place(slots, size, shard->slots[i]);
    }
    free(shard->slots);
    shard->slots = slots;
    shard->size = size;
    return 0;
}

int id_map_put(struct id_map *map, int64_t id, void *value)
{
    struct shard *shard = shard_of(map, id);
    int rc = 0;
    pthread_rwlock_wrlock(&shard->lock);
    struct slot *slot = find(shard, id);
    if (slot != NULL) {
        slot->value = value;
    } else if (shard->count * 4 >= shard->size * 3 && grow(shard) != 0) {
        rc = -1;
    } else {
        place(shard->slots, shard->size, (struct slot){id, value});
        shard->count++;
    }
    pthread_rwlock_unlock(&shard->lock);
    return rc;
}

/* Later entries of the same run move up, so that finding never has to step over a gap. */
static void close_gap(struct shard *shard, size_t gap)
{
    const size_t mask = shard->size - 1;
    for (size_t at = (gap + 1) & mask; shard->slots[at].value != NULL; at = (at + 1) & mask) {
        const size_t home = hash_id(shard->slots[at].id) & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            shard->slots[gap] = shard->slots[at];
            gap = at;
        }
    }
    shard->slots[gap].value = NULL;
}

void id_map_remove(struct id_map *map, int64_t id)
{
    struct shard *shard = shard_of(map, id);
    pthread_rwlock_wrlock(&shard->lock);
    struct slot *slot = find(shard, id);
    if (slot != NULL) {
        close_gap(shard, (size_t)(slot - shard->slots));
        shard->count--;
    }
    pthread_rwlock_unlock(&shard->lock);
}

void *id_map_find(const struct id_map *map, int64_t id)
{
    const struct slot *slot = find(shard_of(map, id), id);
    return slot != NULL ? slot->value : NULL;
}

void id_map_prefetch(const struct id_map *map, int64_t id)
{
    const struct shard *shard = shard_of(map, id);
    if (shard->size > 0) __builtin_prefetch(&shard->slots[hash_id(id) & (shard->size - 1)]);
}

void *id_map_lock(const struct id_map *map, int64_t id)
{
    struct shard *shard = shard_of(map, id);
    pthread_rwlock_rdlock(&shard->lock);
    return id_map_find(map, id);
}

void id_map_unlock(const struct id_map *map, int64_t id)
{
    pthread_rwlock_unlock(&shard_of(map, id)->lock);
}
