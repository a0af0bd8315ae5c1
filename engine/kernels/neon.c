/*
 * neon.c: kernels for 64-bit ARM. Advanced SIMD is part of the base instruction set there; the CRC
 * instructions are only since ARMv8.1, so the processor is asked for them.
 */
#include "engine/kernels/kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>
#include <sys/auxv.h>

#ifndef HWCAP_ASIMD
#define HWCAP_ASIMD (1 << 1)
#endif
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif

static bool usable(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMD;
}

/* Cores with four 128-bit FMA pipes of four cycles' latency would take sixteen sums; eight are what
 * the loads can feed. */
static float dot(const float *a, const float *b, size_t n)
{
    float32x4_t sums[8];
    for (int s = 0; s < 8; s++) sums[s] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int s = 0; s < 8; s++)
            sums[s] = vfmaq_f32(sums[s], vld1q_f32(a + i + 4 * s), vld1q_f32(b + i + 4 * s));
    for (; i + 4 <= n; i += 4) sums[0] = vfmaq_f32(sums[0], vld1q_f32(a + i), vld1q_f32(b + i));
    for (int width = 4; width > 0; width /= 2)
        for (int s = 0; s < width; s++) sums[s] = vaddq_f32(sums[s], sums[s + width]);
    float total = vaddvq_f32(sums[0]);
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

/* In assembler because compilers differ in how they let one function have an extension. */
static uint32_t crc_of_word(uint32_t crc, uint64_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    return crc;
}

static uint32_t crc_of_byte(uint32_t crc, unsigned char byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
    return crc;
}

static uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *byte = data;
    if (!(getauxval(AT_HWCAP) & HWCAP_CRC32)) return tk_crc32c_portable(crc, data, size);
    crc = ~crc;
    for (; size >= 8; byte += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, byte, sizeof(word));
        crc = crc_of_word(crc, word);
    }
    for (; size > 0; byte++, size--) crc = crc_of_byte(crc, *byte);
    return ~crc;
}

const struct kernels tk_kernels_neon = {
    .name = "neon", .usable = usable, .dot = dot, .crc32c = crc32c};
#else
typedef int engine_kernels_neon_unused; /* an empty translation unit is not C */
#endif
