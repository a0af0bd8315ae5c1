/* Every table of kernels that this machine can run, against the portable one, for the kernels that
 * work on codes (kernels.h). Sums of integers are to be equal, sums of floats nearly. */
#include "engine/kernels/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t lengths[] = {64, 128, 192, 1024, 1536, 2048, 4160, 65536};
#define LENGTHS (sizeof(lengths) / sizeof(*lengths))
#define MOST 65536

static uint64_t state = 88172645463325252u;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* Random bytes, and in some rounds the largest and smallest that there are. */
static void fill(void *bytes, size_t size, int round)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = round == 0 ? 0x80 : round == 1 ? 0x7f : (uint8_t)draw();
}

/* The table at hand in the loop below, best first. */
static const struct kernels *k;

#define EACH_KERNEL for (size_t table_ = 0; (k = tk_kernels_usable(table_)) != NULL; table_++)

Test(code_kernels, inner_products_of_codes_are_equal)
{
    int8_t *a = malloc(MOST), *b = malloc(MOST);
    int16_t *query = malloc(MOST * 2);
    uint8_t *nibbles = malloc(MOST / 2);
    for (int round = 0; round < 20; round++)
        for (size_t l = 0; l < LENGTHS; l++) {
            const size_t n = lengths[l];
            fill(a, n, round);
            fill(b, n, round);
            /* Codes are -127 to 127, queries -32,767 to 32,767. */
            for (size_t i = 0; i < n; i++) {
                if (a[i] == -128) a[i] = -127;
                if (b[i] == -128) b[i] = -127;
                query[i] = round == 0   ? 32767
                           : round == 1 ? -32767
                                        : (int16_t)(draw() % 65535 - 32767);
            }
            fill(nibbles, n / 2, round == 0 ? 3 : round);
            if (round < 2) memset(nibbles, 0, n / 2);
            EACH_KERNEL
            {
                cr_assert_eq(k->dot_codes(a, b, n), tk_kernels_portable.dot_codes(a, b, n),
                             "%s dot_codes %zu", k->name, n);
                cr_assert_eq(k->dot_query(query, a, n, a),
                             tk_kernels_portable.dot_query(query, a, n, a), "%s dot_query %zu",
                             k->name, n);
                cr_assert_eq(k->dot_nibbles(query, nibbles, n),
                             tk_kernels_portable.dot_nibbles(query, nibbles, n),
                             "%s dot_nibbles %zu", k->name, n);
            }
        }
    free(a);
    free(b);
    free(query);
    free(nibbles);
}

Test(code_kernels, hadamard_keeps_lengths_and_undoes_itself)
{
    float *x = malloc(MOST * sizeof(float)), *y = malloc(MOST * sizeof(float));
    for (size_t n = 64; n <= MOST; n *= 4) EACH_KERNEL
        {
            for (size_t i = 0; i < n; i++) x[i] = y[i] = (float)(draw() % 2001) / 1000 - 1;
            k->hadamard(y, n);
            float *reference = malloc(n * sizeof(float));
            memcpy(reference, x, n * sizeof(float));
            tk_kernels_portable.hadamard(reference, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_float_eq(y[i], reference[i], 1e-4, "%s %zu", k->name, i);
            k->hadamard(y, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_float_eq(y[i], x[i], 1e-4, "%s %zu of %zu", k->name, i, n);
            free(reference);
        }
    free(x);
    free(y);
}

/* Where the sign of component i of neighbour j is, for a table's own order. */
static void put_sign(uint8_t *signs, size_t i, unsigned j, bool positive)
{
    const size_t group = i / 4;
    const size_t byte =
        k->interleaved ? group / 4 * 64 + (j & 15) * 4 + group % 4 : group * 16 + (j & 15);
    if (positive) signs[byte] |= (uint8_t)(1u << (i % 4 + (j >= 16 ? 4 : 0)));
}

Test(code_kernels, scanning_the_tables_gives_the_inner_product_with_the_signs)
{
    for (size_t l = 0; l < LENGTHS; l++) {
        const size_t n = lengths[l];
        float *query = malloc(n * sizeof(float));
        uint8_t *table = malloc(4 * n), *reference = malloc(4 * n);
        bool *positive = malloc(32 * n);
        for (size_t i = 0; i < n; i++) query[i] = (float)(draw() % 20001) / 10000 - 1;
        for (size_t i = 0; i < 32 * n; i++) positive[i] = draw() & 1;
        float step, base, other_step, other_base;
        tk_kernels_portable.tables(query, n, reference, &other_step, &other_base);
        EACH_KERNEL
        {
            uint8_t *signs = calloc(n / 4, 16);
            for (unsigned j = 0; j < 32; j++)
                for (size_t i = 0; i < n; i++) put_sign(signs, i, j, positive[j * n + i]);
            k->tables(query, n, table, &step, &base);
            cr_assert_float_eq(step, other_step, 1e-6 * other_step);
            cr_assert_float_eq(base, other_base, 1e-4 * -other_base);
            for (size_t i = 0; i < 4 * n; i++)
                cr_assert_leq(abs(table[i] - reference[i]), 1, "%s table %zu", k->name, i);
            uint32_t sums[32];
            k->scan(signs, table, n, sums, NULL); /* nothing is read at `ahead` */
            for (unsigned j = 0; j < 32; j++) {
                uint32_t sum = 0;
                double exact = 0;
                for (size_t i = 0; i < n; i += 4) {
                    unsigned m = 0;
                    for (unsigned bit = 0; bit < 4; bit++) {
                        m |= (unsigned)positive[j * n + i + bit] << bit;
                        exact += positive[j * n + i + bit] ? query[i + bit] : -query[i + bit];
                    }
                    sum += table[4 * i + m];
                }
                cr_assert_eq(sums[j], sum, "%s neighbour %u of %zu", k->name, j, n);
                /* each of n / 4 groups is off by half a step at most, and mostly they cancel */
                cr_assert_float_eq((double)sum * step + base, exact, 4 * step * sqrt((double)n / 4),
                                   "%s %zu", k->name, n);
            }
            free(signs);
        }
        free(query);
        free(table);
        free(reference);
        free(positive);
    }
}

Test(code_kernels, tables_of_nothing_and_of_extremes_stay_in_range)
{
    float query[64] = {0}, step, base;
    uint8_t table[256];
    EACH_KERNEL
    {
        k->tables(query, 64, table, &step, &base);
        cr_assert(isfinite(step) && step > 0 && base == 0, "%s", k->name);
        static const float extremes[] = {1e-38f, 1e-41f, 1e30f, -1e30f};
        for (size_t e = 0; e < 4; e++) {
            query[5] = extremes[e];
            k->tables(query, 64, table, &step, &base);
            cr_assert(isfinite(step) && isfinite(base), "%s %g", k->name, (double)extremes[e]);
        }
        query[5] = 0;
    }
}

Test(code_kernels, differences_have_the_same_signs_and_sums)
{
    int8_t *a = malloc(MOST), *b = malloc(MOST);
    uint16_t *signs = malloc(MOST / 8), *reference = malloc(MOST / 8);
    for (int round = 0; round < 6; round++)
        for (size_t l = 0; l < LENGTHS; l++) {
            const size_t n = lengths[l];
            fill(a, n, round);
            fill(b, n, round == 0 ? 1 : 2);
            float sums[3], expected[3];
            tk_kernels_portable.difference(a, 0.25f, b, 0.5f, n, reference, expected);
            EACH_KERNEL
            {
                k->difference(a, 0.25f, b, 0.5f, n, signs, sums);
                cr_assert_arr_eq(signs, reference, n / 8, "%s %zu", k->name, n);
                for (int i = 0; i < 3; i++)
                    cr_assert_float_eq(sums[i], expected[i], 1e-4f * fabsf(expected[1]) + 1e-3f,
                                       "%s sum %d of %zu", k->name, i, n);
            }
        }
    free(a);
    free(b);
    free(signs);
    free(reference);
}

Test(code_kernels, flips_turn_round_what_is_marked_and_nothing_else)
{
    float *x = malloc(MOST * sizeof(float)), *y = malloc(MOST * sizeof(float));
    uint64_t *bits = malloc(MOST / 8);
    for (size_t l = 0; l < LENGTHS; l++) {
        const size_t n = lengths[l];
        fill(bits, n / 8, 2);
        for (size_t i = 0; i < n; i++) x[i] = i % 7 == 0 ? 0 : (float)(draw() % 2001) / 1000 - 1;
        EACH_KERNEL
        {
            memcpy(y, x, n * sizeof(float));
            k->flip(y, bits, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(y[i], bits[i / 64] >> (i % 64) & 1 ? -x[i] : x[i], "%s %zu of %zu",
                             k->name, i, n);
        }
    }
    free(x);
    free(y);
    free(bits);
}

Test(code_kernels, the_largest_magnitude_is_found_wherever_it_is)
{
    float *x = malloc(MOST * sizeof(float));
    for (size_t l = 0; l < LENGTHS; l++) {
        const size_t n = lengths[l];
        for (size_t i = 0; i < n; i++) x[i] = (float)(draw() % 2001) / 1000 - 1;
        for (int round = 0; round < 40; round++) {
            const size_t at = draw() % n;
            const float before = x[at];
            x[at] = round & 1 ? 2.5f : -2.5f;
            EACH_KERNEL cr_assert_eq(k->largest(x, n), 2.5f, "%s %zu of %zu", k->name, at, n);
            x[at] = before;
        }
        memset(x, 0, n * sizeof(float));
        EACH_KERNEL cr_assert_eq(k->largest(x, n), 0);
    }
    free(x);
}

Test(code_kernels, those_above_a_floor_are_marked)
{
    const float special[] = {0, -0.f, INFINITY, -INFINITY, NAN, 0.5f};
    float x[32];
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 32; i++)
            x[i] = draw() % 8 == 0 ? special[draw() % 6] : (float)(draw() % 5) / 4 - 0.5f;
        const float floor = round % 4 == 0 ? special[draw() % 6] : x[draw() % 32];
        uint32_t expected = 0;
        for (int i = 0; i < 32; i++)
            if (x[i] > floor) expected |= UINT32_C(1) << i;
        EACH_KERNEL cr_assert_eq(k->above(x, floor), expected, "%s %d", k->name, round);
    }
}

Test(code_kernels, rounding_goes_to_the_nearest_whole_number)
{
    float *x = malloc(MOST * sizeof(float));
    int16_t *whole = malloc(MOST * sizeof(int16_t)), *reference = malloc(MOST * sizeof(int16_t));
    for (size_t l = 0; l < LENGTHS; l++) {
        const size_t n = lengths[l];
        for (size_t i = 0; i < n; i++) x[i] = (float)(draw() % 65535) / 32767 - 1;
        x[0] = 1;
        x[1] = -1;
        x[2] = 0;
        x[3] = 1e-41f;
        tk_kernels_portable.round(x, 32767, n, reference);
        EACH_KERNEL
        {
            k->round(x, 32767, n, whole);
            for (size_t i = 0; i < n; i++) {
                cr_assert_eq(whole[i], reference[i], "%s %zu of %zu", k->name, i, n);
                cr_assert_leq(fabs(whole[i] - 32767.0 * x[i]), 0.502, "%s %g", k->name,
                              (double)x[i]);
            }
        }
    }
    free(x);
    free(whole);
    free(reference);
}

Test(code_kernels, scaling_is_a_multiplication_of_each)
{
    enum { ROOM = 101 };
    float x[ROOM], out[ROOM + 1];
    for (size_t i = 0; i < ROOM; i++) x[i] = (float)(draw() % 2001) / 1000 - 1;
    for (size_t n = 0; n <= ROOM; n++) EACH_KERNEL
        {
            out[n] = 77;
            k->scale(x, 0.3f, n, out);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(out[i], x[i] * 0.3f, "%s %zu of %zu", k->name, i, n);
            cr_assert_eq(out[n], 77, "%s: nothing behind %zu", k->name, n);
        }
}

Test(code_kernels, squares_are_summed_in_double_precision)
{
    float *x = malloc(MOST * sizeof(float));
    static const float scales[] = {1, 1e-44f, 1e-20f, 1e18f, 1e38f};
    for (size_t n = 1; n <= 200; n += n < 70 ? 1 : 13)
        for (size_t s = 0; s < sizeof(scales) / sizeof(*scales); s++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                x[i] = ((float)(draw() % 2001) / 1000 - 1) * scales[s];
                sum += (double)x[i] * x[i];
            }
            EACH_KERNEL cr_assert_float_eq(k->squares(x, n), sum, 1e-12 * sum, "%s %zu at %g",
                                           k->name, n, (double)scales[s]);
        }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 1; n <= 70; n++)
        for (size_t b = 0; b < 3; b++) {
            for (size_t i = 0; i < n; i++) x[i] = 1;
            x[draw() % n] = bad[b];
            EACH_KERNEL cr_assert(!isfinite(k->squares(x, n)), "%s %zu", k->name, n);
        }
    for (size_t i = 0; i < MOST; i++) x[i] = 3.4e38f;
    EACH_KERNEL cr_assert(isfinite(k->squares(x, MOST)));
    free(x);
}
