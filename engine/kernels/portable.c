/*
 * portable.c: the kernels in plain C, the reference for all others.
 */
#include "engine/kernels/kernels.h"

#include <math.h>

static bool always(void)
{
    return true;
}

/* Sixteen sums side by side: short chains keep the rounding error small, and a compiler can put
 * them into whatever vector registers the machine has without being allowed to reorder. */
KERNEL static float dot(const float *a, const float *b, size_t n)
{
    float sums[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t lane = 0; lane < 16; lane++) sums[lane] += a[i + lane] * b[i + lane];
    for (size_t lane = 0; i < n; i++, lane++) sums[lane] += a[i] * b[i];
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++) sums[lane] += sums[lane + width];
    return sums[0];
}

KERNEL static double squares(const float *x, size_t n)
{
    double sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t lane = 0; lane < 8; lane++) sums[lane] += (double)x[i + lane] * x[i + lane];
    for (size_t lane = 0; i < n; i++, lane++) sums[lane] += (double)x[i] * x[i];
    for (size_t width = 4; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++) sums[lane] += sums[lane + width];
    return sums[0];
}

KERNEL static void scale(const float *x, float by, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = x[i] * by;
}

/* The remainders of the sixteen values of a nibble: two look-ups per byte in one cache line. */
static const uint32_t crc_of_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

KERNEL uint32_t tk_crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *byte = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15];
    }
    return ~crc;
}

/* ---- Codes ----------------------------------------------------------------------------------- */

KERNEL static void flip(float *x, const uint64_t *bits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bits[i / 64] >> (i % 64) & 1) x[i] = -x[i];
}

KERNEL static void hadamard(float *x, size_t n)
{
    const float norm = 1 / sqrtf((float)n);
    for (size_t half = n / 2; half > 0; half /= 2)
        for (size_t start = 0; start < n; start += 2 * half)
            for (size_t i = start; i < start + half; i++) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
    for (size_t i = 0; i < n; i++) x[i] *= norm;
}

static float magnitude(float x)
{
    return x < 0 ? -x : x;
}

KERNEL static float largest(const float *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        if (magnitude(x[i]) > most) most = magnitude(x[i]);
    return most;
}

KERNEL static uint32_t above(const float x[32], float floor)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 32; i++) mask |= (uint32_t)(x[i] > floor) << i;
    return mask;
}

KERNEL static void round_to(const float *x, float by, size_t n, int16_t *out)
{
    for (size_t i = 0; i < n; i++) out[i] = (int16_t)lrintf(x[i] * by);
}

KERNEL static int32_t dot_codes(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Runs of 64 products of 16 and 8 bits fit in 32. */
KERNEL static int64_t dot_query(const int16_t *query, const int8_t *codes, size_t n,
                                const void *ahead)
{
    const char *next = ahead;
    int64_t total = 0;
    for (size_t run = 0; run < n; run += 64) {
        int32_t sum = 0;
        __builtin_prefetch(next + run, 0, 2);
        for (size_t i = run; i < run + 64; i++) sum += query[i] * codes[i];
        total += sum;
    }
    return total;
}

KERNEL static int64_t dot_nibbles(const int16_t *query, const uint8_t *nibbles, size_t n)
{
    int64_t total = 0;
    for (size_t run = 0; run < n; run += 64, query += 64, nibbles += 32) {
        int32_t sum = 0;
        for (size_t i = 0; i < 32; i++)
            sum += query[i] * ((nibbles[i] & 15) - 8) + query[i + 32] * ((nibbles[i] >> 4) - 8);
        total += sum;
    }
    return total;
}

KERNEL static void tables(const float *query, size_t n, uint8_t *out, float *step, float *base)
{
    float most = 0, all = 0;
    for (size_t i = 0; i < n; i += 4) {
        const float sum = magnitude(query[i]) + magnitude(query[i + 1]) + magnitude(query[i + 2]) +
                          magnitude(query[i + 3]);
        if (sum > most) most = sum;
        all += sum;
    }
    *step = most > 0 ? 2 * most / 255 : 1;
    *base = -all;
    const float inverse = 1 / *step;
    for (size_t i = 0; i < n; i += 4) {
        const float *q = query + i;
        const float sum = magnitude(q[0]) + magnitude(q[1]) + magnitude(q[2]) + magnitude(q[3]);
        for (unsigned m = 0; m < 16; m++) {
            float value = sum;
            for (unsigned bit = 0; bit < 4; bit++) value += m >> bit & 1 ? q[bit] : -q[bit];
            value = value * inverse + 0.5f;
            *out++ = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
        }
    }
}

KERNEL static void scan(const uint8_t *signs, const uint8_t *table, size_t n, uint32_t sums[32],
                        const void *ahead)
{
    const char *next = ahead;
    for (unsigned i = 0; i < 32; i++) sums[i] = 0;
    for (size_t group = 0; group < n / 4; group++, signs += 16, table += 16) {
        if (group % 8 == 0) __builtin_prefetch(next + 8 * group, 0, 2);
        for (unsigned i = 0; i < 16; i++) {
            sums[i] += table[signs[i] & 15];
            sums[i + 16] += table[signs[i] >> 4];
        }
    }
}

KERNEL static void difference(const int8_t *own, float own_scale, const int8_t *other,
                              float other_scale, size_t n, uint16_t *signs, float sums[3])
{
    float magnitudes[16] = {0}, squares[16] = {0}, signed_own[16] = {0};
    for (size_t run = 0; run < n; run += 16) {
        unsigned bits = 0;
        for (unsigned lane = 0; lane < 16; lane++) {
            const float a = own[run + lane] * own_scale;
            const float r = other[run + lane] * other_scale - a;
            const bool positive = r >= 0;
            bits |= (unsigned)positive << lane;
            magnitudes[lane] += magnitude(r);
            squares[lane] += r * r;
            signed_own[lane] += positive ? a : -a;
        }
        signs[run / 16] = (uint16_t)bits;
    }
    sums[0] = sums[1] = sums[2] = 0;
    for (unsigned lane = 0; lane < 16; lane++) {
        sums[0] += magnitudes[lane];
        sums[1] += squares[lane];
        sums[2] += signed_own[lane];
    }
}

const struct kernels tk_kernels_portable = {.name = "portable",
                                            .usable = always,
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
                                            .crc32c = tk_crc32c_portable};
