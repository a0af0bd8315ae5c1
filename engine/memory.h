/*
 * memory.h: the memory of one index, counted.
 *
 * Every block is released with the size it was asked for, so that the count needs no headers. The
 * count is what tk_index_stats reports. A test can make the n-th allocation from now on fail.
 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory {
    _Atomic size_t bytes;
    _Atomic int64_t fail_after; /* allocations that succeed before all fail; negative: never fail */
};

void tk_memory_init(struct memory *memory);
void *tk_memory_alloc(struct memory *memory, size_t size);
void *tk_memory_zalloc(struct memory *memory, size_t size);
/* A block that starts on a cache line; its content is undefined. */
void *tk_memory_lines(struct memory *memory, size_t size);
/* As realloc: where it fails the old block is as it was. */
void *tk_memory_resize(struct memory *memory, void *block, size_t old_size, size_t new_size);
void tk_memory_free(struct memory *memory, void *block, size_t size);

/* Whether an allocation that is made elsewhere (arena.h) is one of those that a test wants to fail.
 */
bool tk_memory_is_to_fail(struct memory *memory);

#endif
