/*
 * idmap.c: see idmap.h.
 */
#include "engine/idmap.h"

#include "engine/splitmix.h"

/* Values of an entry. EMPTY ends a probe; a REMOVED entry keeps its id. */
enum { EMPTY, REMOVED, RESERVED, FIRST_SLOT };

struct entry {
    _Atomic tk_id id;
    _Atomic uint32_t value;
};

struct idmap_table {
    struct garbage garbage;
    struct memory *memory;
    size_t mask;
    struct entry entries[];
};

#define TABLE_FIRST 16

static uint64_t hash(tk_id id)
{
    return tk_splitmix(&id);
}

static size_t table_size(size_t entries)
{
    return sizeof(struct idmap_table) + entries * sizeof(struct entry);
}

static void release_table(struct garbage *garbage, void *owner)
{
    (void)owner;
    struct idmap_table *table = (struct idmap_table *)garbage;
    tk_memory_free(table->memory, table, table_size(table->mask + 1));
}

void tk_idmap_init(struct idmap *map, struct memory *memory)
{
    map->memory = memory;
    for (size_t i = 0; i < IDMAP_SHARDS; i++) {
        struct idmap_shard *shard = &map->shards[i];
        atomic_init(&shard->table, NULL);
        pthread_mutex_init(&shard->lock, NULL);
        shard->entries = shard->present = 0;
    }
}

void tk_idmap_destroy(struct idmap *map)
{
    for (size_t i = 0; i < IDMAP_SHARDS; i++) {
        struct idmap_table *table = atomic_load(&map->shards[i].table);
        if (table) release_table(&table->garbage, NULL);
        pthread_mutex_destroy(&map->shards[i].lock);
    }
}

/* The entry of an id, or the empty one where it would go. A table always has empty entries. */
static struct entry *probe(struct idmap_table *table, uint64_t hashed, tk_id id, uint32_t *value)
{
    for (size_t i = hashed & table->mask;; i = (i + 1) & table->mask) {
        struct entry *entry = &table->entries[i];
        *value = atomic_load_explicit(&entry->value, memory_order_acquire);
        if (*value == EMPTY || atomic_load_explicit(&entry->id, memory_order_relaxed) == id)
            return entry;
    }
}

static struct idmap_shard *shard_of(const struct idmap *map, uint64_t hashed)
{
    return (struct idmap_shard *)&map->shards[hashed >> 58];
}

uint32_t tk_idmap_find(const struct idmap *map, tk_id id)
{
    uint64_t hashed = hash(id);
    struct idmap_table *table =
        atomic_load_explicit(&shard_of(map, hashed)->table, memory_order_acquire);
    if (!table) return NO_SLOT;
    uint32_t value;
    probe(table, hashed, id, &value);
    return value >= FIRST_SLOT ? value - FIRST_SLOT : NO_SLOT;
}

void tk_idmap_prefetch(const struct idmap *map, tk_id id)
{
    const uint64_t hashed = hash(id);
    const struct idmap_table *table =
        atomic_load_explicit(&shard_of(map, hashed)->table, memory_order_acquire);
    if (table) __builtin_prefetch(&table->entries[hashed & table->mask]);
}

/* A table with room for another entry beside those present. */
static tk_status rebuild(struct idmap *map, struct idmap_shard *shard, struct seat *seat)
{
    struct idmap_table *old = atomic_load_explicit(&shard->table, memory_order_relaxed);
    size_t size = TABLE_FIRST;
    while (size < (shard->present + 1) * 2) size *= 2;
    struct idmap_table *table = tk_memory_zalloc(map->memory, table_size(size));
    if (!table) return TK_ENOMEM;
    table->garbage.release = release_table;
    table->memory = map->memory;
    table->mask = size - 1;
    for (size_t i = 0; old && i <= old->mask; i++) {
        uint32_t value = atomic_load_explicit(&old->entries[i].value, memory_order_relaxed);
        if (value < RESERVED) continue;
        tk_id id = atomic_load_explicit(&old->entries[i].id, memory_order_relaxed);
        uint32_t unused;
        struct entry *entry = probe(table, hash(id), id, &unused);
        atomic_store_explicit(&entry->id, id, memory_order_relaxed);
        atomic_store_explicit(&entry->value, value, memory_order_relaxed);
    }
    shard->entries = shard->present;
    atomic_store_explicit(&shard->table, table, memory_order_release);
    if (old) tk_epoch_retire(seat, &old->garbage);
    return TK_OK;
}

tk_status tk_idmap_reserve(struct idmap *map, struct seat *seat, tk_id id)
{
    uint64_t hashed = hash(id);
    struct idmap_shard *shard = shard_of(map, hashed);
    tk_status status = TK_OK;
    pthread_mutex_lock(&shard->lock);
    struct idmap_table *table = atomic_load_explicit(&shard->table, memory_order_relaxed);
    struct entry *entry = NULL;
    uint32_t value = EMPTY;
    if (table) entry = probe(table, hashed, id, &value);
    if (value >= RESERVED) {
        status = TK_EEXISTS;
        goto out;
    }
    if (value == EMPTY && (!table || shard->entries + 1 > (table->mask + 1) / 5 * 4)) {
        status = rebuild(map, shard, seat);
        if (status != TK_OK) goto out;
        table = atomic_load_explicit(&shard->table, memory_order_relaxed);
        entry = probe(table, hashed, id, &value);
    }
    if (value == EMPTY) {
        atomic_store_explicit(&entry->id, id, memory_order_relaxed);
        shard->entries++;
    }
    atomic_store_explicit(&entry->value, RESERVED, memory_order_release);
    shard->present++;
out:
    pthread_mutex_unlock(&shard->lock);
    return status;
}

/* Gives the id another value if its present one is at least `least`; returns the present one. */
static uint32_t change(struct idmap *map, tk_id id, uint32_t least, uint32_t to)
{
    uint64_t hashed = hash(id);
    struct idmap_shard *shard = shard_of(map, hashed);
    uint32_t value = EMPTY;
    pthread_mutex_lock(&shard->lock);
    struct idmap_table *table = atomic_load_explicit(&shard->table, memory_order_relaxed);
    struct entry *entry = table ? probe(table, hashed, id, &value) : NULL;
    if (value >= least) {
        atomic_store_explicit(&entry->value, to, memory_order_release);
        if (to == REMOVED) shard->present--;
    }
    pthread_mutex_unlock(&shard->lock);
    return value;
}

void tk_idmap_publish(struct idmap *map, tk_id id, uint32_t slot)
{
    change(map, id, RESERVED, slot + FIRST_SLOT);
}

void tk_idmap_cancel(struct idmap *map, tk_id id)
{
    change(map, id, RESERVED, REMOVED);
}

uint32_t tk_idmap_move(struct idmap *map, tk_id id, uint32_t slot)
{
    uint32_t value = change(map, id, FIRST_SLOT, slot + FIRST_SLOT);
    return value >= FIRST_SLOT ? value - FIRST_SLOT : NO_SLOT;
}

uint32_t tk_idmap_remove(struct idmap *map, tk_id id)
{
    uint32_t value = change(map, id, FIRST_SLOT, REMOVED);
    return value >= FIRST_SLOT ? value - FIRST_SLOT : NO_SLOT;
}
