/*
 * portable.c: the kernels in plain C, the reference for all others.
 */
#include "engine/kernels/kernels.h"

static bool always(void)
{
    return true;
}

/* Sixteen sums side by side: short chains keep the rounding error small, and a compiler can put
 * them into whatever vector registers the machine has without being allowed to reorder. */
static float dot(const float *a, const float *b, size_t n)
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

/* The remainders of the sixteen values of a nibble: two look-ups per byte in one cache line. */
static const uint32_t crc_of_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

uint32_t tk_crc32c_portable(uint32_t crc, const void *data, size_t size)
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

const struct kernels tk_kernels_portable = {
    .name = "portable", .usable = always, .dot = dot, .crc32c = tk_crc32c_portable};
