/*
 * arena.c: see arena.h.
 */
#include "engine/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define REGION_FIRST ((size_t)4 << 20)
#define REGION_MOST ((size_t)64 << 20)
#define LINE ((size_t)64)

struct region {
    struct region *next;
    void *start; /* as it is mapped, before alignment */
    size_t size;
};

void tk_arena_init(struct arena *arena, struct memory *memory)
{
    *arena = (struct arena){.memory = memory};
    pthread_mutex_init(&arena->lock, NULL);
}

void tk_arena_destroy(struct arena *arena)
{
    while (arena->regions) {
        struct region *region = arena->regions;
        arena->regions = region->next;
        munmap(region->start, region->size);
        free(region);
    }
    atomic_fetch_sub_explicit(&arena->memory->bytes, arena->taken, memory_order_relaxed);
    pthread_mutex_destroy(&arena->lock);
}

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Makes a region for a block of at least `size` bytes. What was left of the one before is kept for
 * smaller ones. */
static bool add_region(struct arena *arena, size_t size)
{
    size_t wanted = arena->reserved < REGION_FIRST  ? REGION_FIRST
                    : arena->reserved < REGION_MOST ? arena->reserved
                                                    : REGION_MOST;
    if (wanted < size) wanted = size;
    wanted = round_up(wanted, HUGE_PAGE);
    struct region *region = malloc(sizeof(*region));
    if (!region) return false;
    /* One page more than needed leaves room to begin at a whole one. */
    region->size = wanted + HUGE_PAGE;
    region->start =
        mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region->start == MAP_FAILED) {
        free(region);
        return false;
    }
    region->next = arena->regions;
    if (arena->newest.left > arena->rest.left) arena->rest = arena->newest;
    arena->newest = (struct run){(char *)round_up((size_t)region->start, HUGE_PAGE), wanted};
    /* A machine without huge pages says no, which costs nothing but the speed. */
    if (arena->reserved >= REGION_FIRST) madvise(arena->newest.at, wanted, MADV_HUGEPAGE);
    arena->regions = region;
    arena->reserved += wanted;
    return true;
}

static void *cut(struct run *run, size_t size)
{
    void *block = run->at;
    run->at += size;
    run->left -= size;
    return block;
}

void *tk_arena_take(struct arena *arena, size_t size)
{
    void *block = NULL;
    size = round_up(size, LINE);
    if (tk_memory_is_to_fail(arena->memory)) return NULL;
    pthread_mutex_lock(&arena->lock);
    if (arena->rest.left >= size)
        block = cut(&arena->rest, size);
    else if (arena->newest.left >= size || add_region(arena, size))
        block = cut(&arena->newest, size);
    if (block) {
        arena->taken += size;
        atomic_fetch_add_explicit(&arena->memory->bytes, size, memory_order_relaxed);
    }
    pthread_mutex_unlock(&arena->lock);
    return block;
}
