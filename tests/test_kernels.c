#include "engine/kernels/kernels.h"

#include "tests/index_data.h"

#include <float.h>

#define LENGTH_MAX 1600

/* Fills both arrays with values that `make` gives. */
static void fill(float *a, float *b, float (*make)(uint64_t *state), uint64_t seed)
{
    for (size_t i = 0; i < LENGTH_MAX + 16; i++) {
        a[i] = make(&seed);
        b[i] = make(&seed);
    }
}

/* Holds every kernel against the sum in doubles, at every alignment and many lengths. Each of the
 * sums that a kernel may split the products into adds a rounding per step. */
static void compare_dots(const float *a, const float *b)
{
    for (size_t i = 0; tk_kernels_usable(i); i++) {
        const struct kernels *kernels = tk_kernels_usable(i);
        for (size_t n = 0; n <= LENGTH_MAX; n += n < 140 ? 1 : 73) {
            size_t shift = n % 16;
            double exact = 0, size = 0;
            for (size_t d = 0; d < n; d++) {
                exact += (double)a[d + shift] * b[d];
                size += fabs((double)a[d + shift] * b[d]);
            }
            double slack = size * FLT_EPSILON * (8 + (double)n / 8) + (double)n * FLT_TRUE_MIN;
            double got = (double)kernels->dot(a + shift, b, n);
            cr_assert(fabs(got - exact) <= slack, "%s, n = %zu: %g instead of %g", kernels->name, n,
                      got, exact);
        }
    }
}

static float make_large(uint64_t *state)
{
    return data_uniform(state) * 1e17f;
}

static float make_denormal(uint64_t *state)
{
    return data_uniform(state) * 1e-39f;
}

/* Products that reach from the smallest to the largest floats. */
static float make_mixed(uint64_t *state)
{
    int exponent = (int)(data_random(state) % 110) - 55;
    return ldexpf(data_uniform(state), exponent);
}

Test(kernels, dot_agrees_with_the_exact_sum)
{
    static float a[LENGTH_MAX + 16], b[LENGTH_MAX + 16];
    static float (*const makers[])(uint64_t *) = {data_uniform, make_large, make_denormal,
                                                  make_mixed};
    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++) {
        fill(a, b, makers[i], i + 1);
        compare_dots(a, b);
    }
}

Test(kernels, dot_keeps_denormal_products_apart_from_zero)
{
    float a[64], b[64];
    for (size_t d = 0; d < 64; d++) {
        a[d] = 1e-22f;
        b[d] = 1e-22f; /* products of 1e-44, which are denormal */
    }
    for (size_t i = 0; tk_kernels_usable(i); i++)
        cr_expect_gt(tk_kernels_usable(i)->dot(a, b, 64), 6e-43f, "%s", tk_kernels_usable(i)->name);
}

Test(kernels, dot_says_so_when_an_input_is_not_finite)
{
    float a[100] = {0}, b[100];
    for (size_t d = 0; d < 100; d++) b[d] = 1;
    for (size_t i = 0; tk_kernels_usable(i); i++) {
        const struct kernels *kernels = tk_kernels_usable(i);
        for (size_t d = 0; d < 100; d++) {
            a[d] = INFINITY;
            cr_expect(isinf(kernels->dot(a, b, 100)), "%s, position %zu", kernels->name, d);
            a[d] = NAN;
            cr_expect(isnan(kernels->dot(a, b, 100)), "%s, position %zu", kernels->name, d);
            a[d] = 0;
        }
    }
}

Test(kernels, dot_of_a_pair_is_the_same_whichever_comes_first_and_wherever_it_lies)
{
    static float a[LENGTH_MAX + 16], b[LENGTH_MAX + 16], moved[LENGTH_MAX + 16];
    fill(a, b, data_uniform, 9);
    for (size_t i = 0; tk_kernels_usable(i); i++) {
        const struct kernels *kernels = tk_kernels_usable(i);
        for (size_t n = 1; n < 200; n++) {
            memcpy(moved + n % 16, a, n * sizeof(float));
            float one = kernels->dot(a, b, n);
            cr_expect_eq(one, kernels->dot(b, a, n), "%s, n = %zu", kernels->name, n);
            cr_expect_eq(one, kernels->dot(moved + n % 16, b, n), "%s, n = %zu", kernels->name, n);
        }
    }
}

Test(kernels, crc32c_agrees_with_rfc_3720)
{
    unsigned char zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof(ones));
    for (unsigned char i = 0; i < 32; i++) rising[i] = i;
    for (size_t i = 0; tk_kernels_usable(i); i++) {
        const struct kernels *kernels = tk_kernels_usable(i);
        cr_expect_eq(kernels->crc32c(0, "123456789", 9), 0xe3069283u, "%s", kernels->name);
        cr_expect_eq(kernels->crc32c(0, zeros, 32), 0x8a9136aau, "%s", kernels->name);
        cr_expect_eq(kernels->crc32c(0, ones, 32), 0x62a8ab43u, "%s", kernels->name);
        cr_expect_eq(kernels->crc32c(0, rising, 32), 0x46dd794eu, "%s", kernels->name);
        cr_expect_eq(kernels->crc32c(0, NULL, 0), 0u, "%s", kernels->name);
    }
}

Test(kernels, crc32c_goes_on_from_any_split)
{
    unsigned char data[200];
    uint64_t state = 5;
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (unsigned char)data_random(&state);
    uint32_t whole = tk_crc32c_portable(0, data, sizeof(data));
    for (size_t i = 0; tk_kernels_usable(i); i++) {
        const struct kernels *kernels = tk_kernels_usable(i);
        for (size_t split = 0; split <= sizeof(data); split++) {
            uint32_t crc = kernels->crc32c(0, data, split);
            crc = kernels->crc32c(crc, data + split, sizeof(data) - split);
            cr_expect_eq(crc, whole, "%s, split at %zu", kernels->name, split);
        }
    }
}

Test(kernels, portable_is_always_there_and_comes_last)
{
    size_t count = 0;
    while (tk_kernels_usable(count)) count++;
    cr_assert_gt(count, 0);
    cr_expect_eq(tk_kernels_usable(count - 1), &tk_kernels_portable);
    cr_expect_eq(tk_kernels_best(), tk_kernels_usable(0));
}
