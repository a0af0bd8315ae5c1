/*
 * memory.c: see memory.h.
 */
#include "engine/memory.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64

void tk_memory_init(struct memory *memory)
{
    atomic_init(&memory->bytes, 0);
    atomic_init(&memory->fail_after, -1);
}

bool tk_memory_is_to_fail(struct memory *memory)
{
    int64_t left = atomic_load_explicit(&memory->fail_after, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak(&memory->fail_after, &left, left - 1)) return false;
    return left == 0;
}

static void *counted(struct memory *memory, void *block, size_t size)
{
    if (block) atomic_fetch_add_explicit(&memory->bytes, size, memory_order_relaxed);
    return block;
}

void *tk_memory_alloc(struct memory *memory, size_t size)
{
    return tk_memory_is_to_fail(memory) ? NULL : counted(memory, malloc(size), size);
}

void *tk_memory_zalloc(struct memory *memory, size_t size)
{
    return tk_memory_is_to_fail(memory) ? NULL : counted(memory, calloc(1, size), size);
}

static size_t whole_lines(size_t size)
{
    return (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

void *tk_memory_lines(struct memory *memory, size_t size)
{
    if (tk_memory_is_to_fail(memory)) return NULL;
    return counted(memory, aligned_alloc(CACHE_LINE, whole_lines(size)), size);
}

void *tk_memory_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    if (tk_memory_is_to_fail(memory)) return NULL;
    void *resized = realloc(block, new_size);
    if (resized) {
        atomic_fetch_sub_explicit(&memory->bytes, old_size, memory_order_relaxed);
        counted(memory, resized, new_size);
    }
    return resized;
}

void tk_memory_free(struct memory *memory, void *block, size_t size)
{
    if (!block) return;
    free(block);
    atomic_fetch_sub_explicit(&memory->bytes, size, memory_order_relaxed);
}
