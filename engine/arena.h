/*
 * arena.h: memory for rows and lists, which are read at random.
 *
 * Blocks are cut off large regions, one after another, and are all freed together. Regions beyond
 * the first few megabytes are asked for in huge pages: a walk otherwise spends a quarter of its
 * time on finding out where in memory its next page is.
 *
 * Any number of threads may take blocks at once.
 */
#ifndef ENGINE_ARENA_H
#define ENGINE_ARENA_H

#include "engine/memory.h"

#include <pthread.h>

struct region;

/* Memory that has not been given out yet. */
struct run {
    char *at;
    size_t left;
};

struct arena {
    struct memory *memory; /* where blocks are counted, not regions */
    pthread_mutex_t lock;
    struct region *regions;
    struct run newest; /* what is left of the newest region */
    struct run rest;   /* what was left of an earlier one */
    size_t reserved;   /* bytes of all regions */
    size_t taken;      /* bytes of all blocks */
};

void tk_arena_init(struct arena *arena, struct memory *memory);
void tk_arena_destroy(struct arena *arena);

/* A block of zeros that starts on a cache line; NULL when memory ran out. */
void *tk_arena_take(struct arena *arena, size_t size);

#endif
