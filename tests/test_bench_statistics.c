#include "bench/memory.h"
#include "bench/statistics.h"
#include "bench/vectors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Test(median, is_the_middle_or_the_mean_of_the_two)
{
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    cr_expect_float_eq(median(odd, 3), 3, 0);
    cr_expect_float_eq(median(even, 4), 2.5, 0);
    cr_expect_float_eq(median(one, 1), 7, 0);
    cr_expect(isnan(median(one, 0)));
}

Test(median, is_not_moved_by_one_wild_value)
{
    double values[] = {10, 11, 1e9, 9, 10};
    cr_expect_float_eq(median(values, 5), 10, 0);
}

Test(percentile, is_by_nearest_rank)
{
    uint32_t samples[100];
    for (uint32_t i = 0; i < 100; i++) samples[i] = 100 - i;
    sort_samples(samples, 100);
    cr_expect_eq(percentile(samples, 100, 0.50), 50);
    cr_expect_eq(percentile(samples, 100, 0.95), 95);
    cr_expect_eq(percentile(samples, 100, 0.99), 99);
    cr_expect_eq(percentile(samples, 100, 0.991), 100);
    cr_expect_eq(percentile(samples, 100, 1), 100);
    cr_expect_eq(percentile(samples, 100, 0), 1);
}

Test(percentile, of_few_samples_is_one_of_them)
{
    uint32_t two[] = {10, 20};
    cr_expect_eq(percentile(two, 2, 0.5), 10);
    cr_expect_eq(percentile(two, 2, 0.99), 20);
    cr_expect_eq(percentile(two, 1, 0.01), 10);
    cr_expect_eq(percentile(two, 0, 0.5), 0);
}

Test(percentile, sorts_large_samples_without_overflow)
{
    uint32_t samples[] = {UINT32_MAX, 0, 3000000000U, 1};
    sort_samples(samples, 4);
    cr_expect_eq(samples[0], 0);
    cr_expect_eq(samples[2], 3000000000U);
    cr_expect_eq(samples[3], UINT32_MAX);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

enum { MEGABYTES = 64, BYTES = MEGABYTES << 20 };

static size_t resident(const struct range *excluded, size_t n)
{
    size_t bytes = 0;
    tk_error error = {0};
    cr_assert_eq(memory_resident(excluded, n, &bytes, &error), 0, "%s", error.message);
    return bytes;
}

Test(memory, counts_what_was_touched_until_it_is_given_back)
{
    size_t before = resident(NULL, 0);
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    cr_expect_lt(resident(NULL, 0), before + BYTES / 8);
    memset(memory, 1, BYTES);
    size_t held = resident(NULL, 0);
    cr_expect_geq(held, before + BYTES);
    cr_expect_lt(held, before + BYTES + BYTES / 8);
    cr_expect_eq(memory[BYTES - 1], 1);
    munmap(memory, BYTES);
    cr_expect_lt(resident(NULL, 0), before + BYTES / 8);
}

Test(memory, leaves_out_the_mappings_it_is_told_to)
{
    char *shared = shared_allocate(BYTES);
    cr_assert_not_null(shared);
    const struct range range = {shared, BYTES};
    size_t before = resident(&range, 1);
    memset(shared, 1, BYTES);
    size_t after = resident(&range, 1);
    cr_expect_lt(after, before + BYTES / 8);
    cr_expect_geq(resident(NULL, 0), after + BYTES);
    shared_free(shared, BYTES);
}
