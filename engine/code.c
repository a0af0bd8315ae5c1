/*
 * code.c: see code.h.
 */
#include "engine/code.h"

#include "engine/splitmix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 4
#define ROTATION_SEED UINT64_C(0x726f746174696f6e)
#define COARSE_MOST 127
#define QUERY_MOST 32767
/* Codes of one vector that was normalised twice differ by one unit of the fine code at most, and in
 * few components. */
#define SAME_UNITS 8
#define SAME_SCALE 1e-5f

bool tk_coder_init(struct coder *coder, uint32_t dim, const struct kernels *kernels)
{
    uint32_t n = (dim + CODE_STEP - 1) / CODE_STEP * CODE_STEP;
    if (n < CODE_LEAST) n = CODE_LEAST;
    *coder = (struct coder){.kernels = kernels, .dim = dim, .n = n, .half = CODE_LEAST};
    while (coder->half * 2 <= n) coder->half *= 2;
    coder->flips = malloc((size_t)ROUNDS * n / 8);
    if (!coder->flips) return false;
    uint64_t state = ROTATION_SEED ^ dim;
    for (size_t i = 0; i < (size_t)ROUNDS * n / 64; i++) coder->flips[i] = tk_splitmix(&state);
    return true;
}

void tk_coder_destroy(struct coder *coder)
{
    free(coder->flips);
    coder->flips = NULL;
}

static void flip(const struct coder *coder, unsigned round, float *x)
{
    coder->kernels->flip(x, coder->flips + (size_t)round * (coder->n / 64), coder->n);
}

/* Rounds take the first and the last `half` components in turn. */
static void transform(const struct coder *coder, unsigned round, float *x)
{
    coder->kernels->hadamard(round % 2 == 0 ? x : x + (coder->n - coder->half), coder->half);
}

void tk_code_rotate(const struct coder *coder, const float *from, float *to)
{
    memcpy(to, from, coder->dim * sizeof(float));
    memset(to + coder->dim, 0, (coder->n - coder->dim) * sizeof(float));
    for (unsigned round = 0; round < ROUNDS; round++) {
        flip(coder, round, to);
        transform(coder, round, to);
    }
}

void tk_code_unrotate(const struct coder *coder, float *rotated)
{
    for (unsigned round = ROUNDS; round-- > 0;) {
        transform(coder, round, rotated);
        flip(coder, round, rotated);
    }
}

struct row tk_code_encode(const struct coder *coder, const float *rotated, int8_t *codes)
{
    const float largest = coder->kernels->largest(rotated, coder->n);
    uint8_t *fine = (uint8_t *)(codes + coder->n);
    struct row row = {codes, largest > 0 ? largest / COARSE_MOST : 1};
    memset(fine, 0, coder->n / 2);
    const float inverse = 16 / row.scale;
    double square = 0, along = 0;
    for (uint32_t i = 0; i < coder->n; i++) {
        long units = lrintf(rotated[i] * inverse);
        long coarse = (units + 8) >> 4;
        if (coarse > COARSE_MOST) coarse = COARSE_MOST;
        if (coarse < -COARSE_MOST) coarse = -COARSE_MOST;
        long nibble = units - 16 * coarse + 8;
        if (nibble < 0) nibble = 0;
        if (nibble > 15) nibble = 15;
        codes[i] = (int8_t)coarse;
        fine[i / 64 * 32 + i % 32] |= (uint8_t)(nibble << (i & 32 ? 4 : 0));
        square += (double)rotated[i] * rotated[i];
        along += (double)rotated[i] * (double)(16 * coarse + nibble - 8);
    }
    /* With this scale the vector's inner product with its own codes is what it is with itself. */
    if (along > 0) row.scale = (float)(16 * square / along);
    return row;
}

/* Component i in units of scale / 16. */
static int units_of(struct row row, const uint8_t *fine, uint32_t i)
{
    const int nibble = fine[i / 64 * 32 + i % 32] >> (i & 32 ? 4 : 0) & 15;
    return 16 * row.coarse[i] + nibble - 8;
}

void tk_code_decode(const struct coder *coder, struct row row, float *rotated)
{
    const uint8_t *fine = tk_row_fine(coder, row);
    const float unit = row.scale / 16;
    for (uint32_t run = 0; run < coder->n; run += 64, fine += 32)
        for (uint32_t i = 0; i < 32; i++) {
            const int low = 16 * row.coarse[run + i] + (fine[i] & 15) - 8;
            const int high = 16 * row.coarse[run + 32 + i] + (fine[i] >> 4) - 8;
            rotated[run + i] = (float)low * unit;
            rotated[run + 32 + i] = (float)high * unit;
        }
}

bool tk_code_same(const struct coder *coder, struct row a, struct row b)
{
    const uint8_t *fine_a = tk_row_fine(coder, a), *fine_b = tk_row_fine(coder, b);
    if (fabsf(a.scale - b.scale) > SAME_SCALE * a.scale) return false;
    if (memcmp(a.coarse, b.coarse, tk_row_size(coder)) == 0) return true;
    int units = 0;
    for (uint32_t i = 0; i < coder->n && units <= SAME_UNITS; i++)
        units += abs(units_of(a, fine_a, i) - units_of(b, fine_b, i));
    return units <= SAME_UNITS;
}

/* ---- Queries --------------------------------------------------------------------------------- */

size_t tk_query_size(const struct coder *coder)
{
    return coder->n * (sizeof(float) + sizeof(int16_t) + 4);
}

void tk_query_place(const struct coder *coder, struct query *query, void *memory)
{
    query->rotated = memory;
    query->rounded = (int16_t *)(query->rotated + coder->n);
    query->tables = (uint8_t *)(query->rounded + coder->n);
}

void tk_query_prepare(const struct coder *coder, struct query *query)
{
    const float largest = coder->kernels->largest(query->rotated, coder->n);
    query->unit = largest > 0 ? largest / QUERY_MOST : 1;
    coder->kernels->round(query->rotated, 1 / query->unit, coder->n, query->rounded);
    coder->kernels->tables(query->rotated, coder->n, query->tables, &query->step, &query->base);
}
