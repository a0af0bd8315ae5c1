/* memory.h: what a process keeps in memory. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include "bench/failure.h"

#include <stddef.h>

/* A run of addresses that is not to be counted. */
struct range {
    const void *start;
    size_t bytes;
};

/* The bytes of this process that are in memory, after giving freed memory back to the system: all
 * mappings (anonymous, files, shared, huge pages) but those that overlap an excluded range. Linux
 * only (/proc/self/smaps). */
int memory_resident(const struct range *excluded, size_t ranges, size_t *bytes, tk_error *err);

#endif
