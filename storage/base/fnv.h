/* fnv.h: FNV-1a (Fowler, Noll, Vo), a quick hash of 64 bits for tables, and for telling whether
 * something is as it was. Nothing secret, and nobody's who wants two to be the same. */
#ifndef STORAGE_BASE_FNV_H
#define STORAGE_BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

/* The hash of nothing. */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

/* Goes on from the hash of what stands before. */
static inline uint64_t fnv_add(uint64_t hash, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
