/*
 * splitmix.h: Steele, Lea and Flood's splitmix64 (OOPSLA 2014), for draws that are to be the same
 * on every machine and for hashes: every bit of the state moves every bit of the result.
 */
#ifndef ENGINE_SPLITMIX_H
#define ENGINE_SPLITMIX_H

#include <stdint.h>

static inline uint64_t tk_splitmix(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
