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

/* The thread sanitizer does not look into kernels, where it would take most of the time of a test:
 * what they read are whole rows and lists, of which the callers read a part themselves. */
#define KERNEL __attribute__((no_sanitize_thread))

struct kernels {
    const char *name;
    bool (*usable)(void); /* whether this machine can run the table */

    /* The inner product of two arrays of n floats, of any alignment. Every kernel adds in an order
     * of its own, so results differ in the last bits between kernels, never between calls. */
    float (*dot)(const float *a, const float *b, size_t n);

    /* The sum of the squares of n floats, of any alignment, in double precision: finite unless one
     * of them is not. n may be any number. */
    double (*squares)(const float *x, size_t n);

    /* n floats, of any alignment, times `by`. n may be any number. */
    void (*scale)(const float *x, float by, size_t n, float *out);

    /* ---- Codes: how the index keeps vectors (code.h) and neighbours (links.h). In all of these n
     * is a multiple of 64. ---- */

    /* Turns around the sign of each component of x whose bit is set: bit i % 64 of bits[i / 64]. */
    void (*flip)(float *x, const uint64_t *bits, size_t n);

    /* The Walsh-Hadamard transform of x in place, times 1 / sqrt(n), so that lengths stay as they
     * are; n is a power of two, at least 64. */
    void (*hadamard)(float *x, size_t n);

    /* The largest magnitude of a component. */
    float (*largest)(const float *x, size_t n);

    /* x times `by` in whole numbers, to the nearest; none is beyond 32,767. */
    void (*round)(const float *x, float by, size_t n, int16_t *out);

    /* The inner product of two arrays of codes. n is at most 65,536. */
    int32_t (*dot_codes)(const int8_t *a, const int8_t *b, size_t n);

    /* The inner product of a query in 16 bits with codes. `ahead` is as in scan: n bytes. */
    int64_t (*dot_query)(const int16_t *query, const int8_t *codes, size_t n, const void *ahead);

    /* The same with the low nibbles of the codes less 8: of each run of 32 bytes the low nibbles
     * are components 0 to 31 of a run of 64, the high ones 32 to 63. */
    int64_t (*dot_nibbles)(const int16_t *query, const uint8_t *nibbles, size_t n);

    /* For a query, and each group of four components, the sixteen sums of the components with
     * either sign, in eight bits: tables[16 * group + m] * step + base summed over all groups is
     * the inner product of the query with a vector of signs, where bit i of a group's m says that
     * component i is positive. base is for all groups together. */
    void (*tables)(const float *query, size_t n, uint8_t *tables, float *step, float *base);

    /* Looks the signs of 32 neighbours up in the tables of a query and sums over the groups. signs
     * has n / 4 groups of 16 bytes in the order that `interleaved` says. Meanwhile the first 2 n of
     * the 4 n bytes at `ahead`, which will be read next, are asked for into the second-level cache,
     * a line for each two that are read: all at once they would fill the buffers that this needs
     * itself. It may be any address; nothing is read there. */
    void (*scan)(const uint8_t *signs, const uint8_t *tables, size_t n, uint32_t sums[32],
                 const void *ahead);
    bool interleaved;

    /* Which of 32 floats are greater than `floor`: bit i stands for x[i]. */
    uint32_t (*above)(const float x[32], float floor);

    /* The signs of other - own, where each is its codes times its scale: bit i of signs says that
     * component i is not negative. Sums of the components' magnitudes, of their squares, and of
     * own's components with those signs go to sums[0], [1] and [2]. */
    void (*difference)(const int8_t *own, float own_scale, const int8_t *other, float other_scale,
                       size_t n, uint16_t *signs, float sums[3]);

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
