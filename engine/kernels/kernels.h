/*
 * kernels.h: the inner loops that are written once per instruction set.
 *
 * portable.c is always there and is what the tests hold the others against. dispatch.c chooses, at
 * run time, the best table that this processor and its operating system can run.
 */
#ifndef ENGINE_KERNELS_KERNELS_H
#define ENGINE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernels {
    const char *name;
    bool (*usable)(void); /* whether this machine can run the table */

    /* The inner product of two arrays of n floats, of any alignment. Every kernel adds in an order
     * of its own, so results differ in the last bits between kernels, never between calls. */
    float (*dot)(const float *a, const float *b, size_t n);

    /* CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4) of data that goes on from crc; 0 to
     * start with. */
    uint32_t (*crc32c)(uint32_t crc, const void *data, size_t size);
};

extern const struct kernels tk_kernels_portable;
#if defined(__x86_64__)
extern const struct kernels tk_kernels_avx2;
extern const struct kernels tk_kernels_avx512;
#elif defined(__aarch64__)
extern const struct kernels tk_kernels_neon;
#endif

/* The best table for this machine. */
const struct kernels *tk_kernels_best(void);

/* The i-th table that this machine can run, best first; NULL past the last. */
const struct kernels *tk_kernels_usable(size_t i);

/* CRC-32C without special instructions, for tables whose machines may lack them. */
uint32_t tk_crc32c_portable(uint32_t crc, const void *data, size_t size);

#if defined(__x86_64__)
/* CRC-32C with the instruction of SSE 4.2, which every machine with AVX2 has. */
uint32_t tk_crc32c_sse42(uint32_t crc, const void *data, size_t size);
#endif

#endif
