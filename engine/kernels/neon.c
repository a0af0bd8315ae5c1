/*
 * neon.c: kernels for 64-bit ARM. Advanced SIMD is part of the base instruction set there; the CRC
 * instructions are only since ARMv8.1, so the processor is asked for them.
 */
#include "engine/kernels/kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>
#include <sys/auxv.h>

#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#ifndef HWCAP_ASIMD
#define HWCAP_ASIMD (1 << 1)
#endif

static bool usable(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMD;
}

/* Cores with four 128-bit FMA pipes of four cycles' latency would take sixteen sums; eight are what
 * the loads can feed. */
KERNEL static float dot(const float *a, const float *b, size_t n)
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

KERNEL static double squares(const float *x, size_t n)
{
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        const float64x2_t a = vcvt_f64_f32(vget_low_f32(v)), b = vcvt_high_f64_f32(v);
        s0 = vfmaq_f64(s0, a, a);
        s1 = vfmaq_f64(s1, b, b);
    }
    double total = vaddvq_f64(vaddq_f64(s0, s1));
    for (; i < n; i++) total += (double)x[i] * x[i];
    return total;
}

KERNEL static void scale(const float *x, float by, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = x[i] * by;
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

/* ---- Codes ----------------------------------------------------------------------------------- */

KERNEL static void flip(float *x, const uint64_t *bits, size_t n)
{
    static const uint32_t lanes[4] = {1, 2, 4, 8};
    for (size_t i = 0; i < n; i += 4) {
        const uint32x4_t four = vdupq_n_u32((uint32_t)(bits[i / 64] >> (i % 64)) & 15);
        const uint32x4_t sign = vshlq_n_u32(vtstq_u32(four, vld1q_u32(lanes)), 31);
        const uint32x4_t v = vreinterpretq_u32_f32(vld1q_f32(x + i));
        vst1q_f32(x + i, vreinterpretq_f32_u32(veorq_u32(v, sign)));
    }
}

/* The last two rounds stay within a register. */
KERNEL static void hadamard(float *x, size_t n)
{
    const float norm = 1 / sqrtf((float)n);
    static const uint32_t odd[4] = {0, UINT32_MAX, 0, UINT32_MAX};
    static const uint32_t upper[4] = {0, 0, UINT32_MAX, UINT32_MAX};
    for (size_t half = n / 2; half >= 4; half /= 2)
        for (size_t start = 0; start < n; start += 2 * half)
            for (size_t i = start; i < start + half; i += 4) {
                const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + half);
                vst1q_f32(x + i, vaddq_f32(a, b));
                vst1q_f32(x + i + half, vsubq_f32(a, b));
            }
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        float32x4_t turned = vextq_f32(v, v, 2);
        v = vbslq_f32(vld1q_u32(upper), vsubq_f32(turned, v), vaddq_f32(v, turned));
        turned = vrev64q_f32(v);
        v = vbslq_f32(vld1q_u32(odd), vsubq_f32(turned, v), vaddq_f32(v, turned));
        vst1q_f32(x + i, vmulq_n_f32(v, norm));
    }
}

KERNEL static float largest(const float *x, size_t n)
{
    float32x4_t most = vdupq_n_f32(0);
    for (size_t i = 0; i < n; i += 4) most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + i)));
    return vmaxvq_f32(most);
}

KERNEL static uint32_t above(const float x[32], float floor)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    const uint32x4_t each = vld1q_u32(bits);
    const float32x4_t least = vdupq_n_f32(floor);
    uint32_t mask = 0;
    for (int i = 0; i < 32; i += 4)
        mask |= vaddvq_u32(vandq_u32(vcgtq_f32(vld1q_f32(x + i), least), each)) << i;
    return mask;
}

KERNEL static void round_to(const float *x, float by, size_t n, int16_t *out)
{
    for (size_t i = 0; i < n; i += 8) {
        const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), by));
        const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), by));
        vst1q_s16(out + i, vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
    }
}

KERNEL static int32_t dot_codes(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t s0 = vdupq_n_s32(0), s1 = s0;
    for (size_t i = 0; i < n; i += 16) {
        const int8x16_t left = vld1q_s8(a + i), right = vld1q_s8(b + i);
        s0 = vpadalq_s16(s0, vmull_s8(vget_low_s8(left), vget_low_s8(right)));
        s1 = vpadalq_s16(s1, vmull_high_s8(left, right));
    }
    return vaddvq_s32(vaddq_s32(s0, s1));
}

/* Adds the products of eight components to sums of 32 bits. */
static int32x4_t add_products(int32x4_t sum, const int16_t *query, int16x8_t codes)
{
    const int16x8_t q = vld1q_s16(query);
    sum = vmlal_s16(sum, vget_low_s16(q), vget_low_s16(codes));
    return vmlal_high_s16(sum, q, codes);
}

/* Products of 16 and 8 bits fit 512 to a lane of 32 bits. */
#define QUERY_RUN ((size_t)1024)

KERNEL static int64_t dot_query(const int16_t *query, const int8_t *codes, size_t n,
                                const void *ahead)
{
    const char *next = ahead;
    int64_t total = 0;
    for (size_t run = 0; run < n; run += QUERY_RUN) {
        const size_t end = n - run < QUERY_RUN ? n : run + QUERY_RUN;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0;
        for (size_t i = run; i < end; i += 16) {
            if (i % 64 == 0) __builtin_prefetch(next + i, 0, 2);
            const int8x16_t c = vld1q_s8(codes + i);
            s0 = add_products(s0, query + i, vmovl_s8(vget_low_s8(c)));
            s1 = add_products(s1, query + i + 8, vmovl_high_s8(c));
        }
        total += vaddlvq_s32(s0) + vaddlvq_s32(s1);
    }
    return total;
}

KERNEL static int64_t dot_nibbles(const int16_t *query, const uint8_t *nibbles, size_t n)
{
    const uint8x16_t low = vdupq_n_u8(15);
    const int8x16_t eight = vdupq_n_s8(8);
    int64_t total = 0;
    for (size_t run = 0; run < n; run += 4 * QUERY_RUN) {
        const size_t end = n - run < 4 * QUERY_RUN ? n : run + 4 * QUERY_RUN;
        int32x4_t sum = vdupq_n_s32(0);
        for (size_t i = run; i < end; i += 64)
            for (size_t half = 0; half < 32; half += 16) {
                const uint8x16_t both = vld1q_u8(nibbles + i / 2 + half);
                const int8x16_t left = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(both, low)), eight);
                const int8x16_t right = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), eight);
                const int16_t *q = query + i + half;
                sum = add_products(sum, q, vmovl_s8(vget_low_s8(left)));
                sum = add_products(sum, q + 8, vmovl_high_s8(left));
                sum = add_products(sum, q + 32, vmovl_s8(vget_low_s8(right)));
                sum = add_products(sum, q + 40, vmovl_high_s8(right));
            }
        total += vaddlvq_s32(sum);
    }
    return total;
}

KERNEL static void tables(const float *query, size_t n, uint8_t *out, float *step, float *base)
{
    static const float signs[2][4] = {{-1, 1, -1, 1}, {-1, -1, 1, 1}};
    float most = 0, all = 0;
    for (size_t i = 0; i < n; i += 4) {
        const float sum = vaddvq_f32(vabsq_f32(vld1q_f32(query + i)));
        if (sum > most) most = sum;
        all += sum;
    }
    *step = most > 0 ? 2 * most / 255 : 1;
    *base = -all;
    const float inverse = 1 / *step;
    for (size_t i = 0; i < n; i += 4, out += 16) {
        const float *q = query + i;
        float32x4_t v = vdupq_n_f32(vaddvq_f32(vabsq_f32(vld1q_f32(q))));
        v = vfmaq_n_f32(v, vld1q_f32(signs[0]), q[0]);
        v = vfmaq_n_f32(v, vld1q_f32(signs[1]), q[1]);
        uint16x4_t quarters[4];
        for (int m = 0; m < 4; m++) {
            const float rest = (m & 1 ? q[2] : -q[2]) + (m & 2 ? q[3] : -q[3]);
            const float32x4_t value = vmulq_n_f32(vaddq_f32(v, vdupq_n_f32(rest)), inverse);
            quarters[m] = vqmovn_u32(vcvtnq_u32_f32(value));
        }
        vst1_u8(out, vqmovn_u16(vcombine_u16(quarters[0], quarters[1])));
        vst1_u8(out + 8, vqmovn_u16(vcombine_u16(quarters[2], quarters[3])));
    }
}

/* 256 bytes fit in a sum of 16 bits. */
#define SCAN_RUN ((size_t)1024)

KERNEL static void scan(const uint8_t *signs, const uint8_t *table, size_t n, uint32_t sums[32],
                        const void *ahead)
{
    const char *next = ahead;
    const uint8x16_t nibble = vdupq_n_u8(15);
    uint32x4_t total[8];
    for (int i = 0; i < 8; i++) total[i] = vdupq_n_u32(0);
    for (size_t run = 0; run < n; run += SCAN_RUN) {
        const size_t end = n - run < SCAN_RUN ? n : run + SCAN_RUN;
        uint16x8_t part[4];
        for (int i = 0; i < 4; i++) part[i] = vdupq_n_u16(0);
        for (size_t i = run; i < end; i += 4) {
            if (i % 32 == 0) __builtin_prefetch(next + 2 * i, 0, 2);
            const uint8x16_t both = vld1q_u8(signs + 4 * i), sixteen = vld1q_u8(table + 4 * i);
            const uint8x16_t low = vqtbl1q_u8(sixteen, vandq_u8(both, nibble));
            const uint8x16_t high = vqtbl1q_u8(sixteen, vshrq_n_u8(both, 4));
            part[0] = vaddw_u8(part[0], vget_low_u8(low));
            part[1] = vaddw_high_u8(part[1], low);
            part[2] = vaddw_u8(part[2], vget_low_u8(high));
            part[3] = vaddw_high_u8(part[3], high);
        }
        for (int i = 0; i < 4; i++) {
            total[2 * i] = vaddw_u16(total[2 * i], vget_low_u16(part[i]));
            total[2 * i + 1] = vaddw_high_u16(total[2 * i + 1], part[i]);
        }
    }
    for (int i = 0; i < 8; i++) vst1q_u32(sums + 4 * i, total[i]);
}

KERNEL static void difference(const int8_t *own, float own_scale, const int8_t *other,
                              float other_scale, size_t n, uint16_t *signs, float sums[3])
{
    static const uint32_t weights[4] = {1, 2, 4, 8};
    float32x4_t magnitudes = vdupq_n_f32(0), squares = magnitudes, signed_own = magnitudes;
    for (size_t i = 0; i < n; i += 16) {
        unsigned bits = 0;
        for (size_t quarter = 0; quarter < 16; quarter += 4) {
            float a[4], b[4];
            for (size_t lane = 0; lane < 4; lane++) {
                a[lane] = own[i + quarter + lane];
                b[lane] = other[i + quarter + lane];
            }
            const float32x4_t from = vmulq_n_f32(vld1q_f32(a), own_scale);
            const float32x4_t r = vsubq_f32(vmulq_n_f32(vld1q_f32(b), other_scale), from);
            const uint32x4_t positive = vcgezq_f32(r);
            bits |= vaddvq_u32(vandq_u32(positive, vld1q_u32(weights))) << quarter;
            magnitudes = vaddq_f32(magnitudes, vabsq_f32(r));
            squares = vfmaq_f32(squares, r, r);
            signed_own = vaddq_f32(signed_own, vbslq_f32(positive, from, vnegq_f32(from)));
        }
        signs[i / 16] = (uint16_t)bits;
    }
    sums[0] = vaddvq_f32(magnitudes);
    sums[1] = vaddvq_f32(squares);
    sums[2] = vaddvq_f32(signed_own);
}

const struct kernels tk_kernels_neon = {.name = "neon",
                                        .usable = usable,
                                        .dot = dot,
                                        .squares = squares,
                                        .scale = scale,
                                        .flip = flip,
                                        .hadamard = hadamard,
                                        .largest = largest,
                                        .above = above,
                                        .round = round_to,
                                        .dot_codes = dot_codes,
                                        .dot_query = dot_query,
                                        .dot_nibbles = dot_nibbles,
                                        .tables = tables,
                                        .scan = scan,
                                        .interleaved = false,
                                        .difference = difference,
                                        .crc32c = crc32c};
#else
typedef int engine_kernels_neon_unused; /* an empty translation unit is not C */
#endif
