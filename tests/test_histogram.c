#include "storage/base/histogram.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>

static struct histogram_values read_of(const struct histogram *histogram)
{
    struct histogram_values values;
    histogram_read(histogram, &values);
    return values;
}

Test(histogram, counts_in_buckets_that_hold_those_before)
{
    struct histogram histogram;
    histogram_init(&histogram, &histogram_calls);
    const double observed[] = {0, 0.0001, 0.00011, 0.3, 10, 11, 1e6};
    for (size_t i = 0; i < sizeof(observed) / sizeof(*observed); i++)
        histogram_observe(&histogram, observed[i]);
    const struct histogram_values values = read_of(&histogram);
    cr_assert_eq(values.count, 7);
    cr_assert_eq(values.buckets[0], 2, "a bound belongs to the bucket below it");
    cr_assert_eq(values.buckets[1], 3);
    cr_assert_eq(values.buckets[15], 5);
    cr_assert_eq(values.buckets[16], 7);
    cr_assert_float_eq(values.sum, 1000021.30021, 1e-6);
}

Test(histogram, takes_what_is_no_time_for_none)
{
    struct histogram histogram;
    histogram_init(&histogram, &histogram_jobs);
    histogram_observe(&histogram, -1);
    histogram_observe(&histogram, NAN);
    cr_assert_eq(read_of(&histogram).buckets[0], 2);
    cr_assert_eq(read_of(&histogram).sum, 0);
}

Test(histogram, has_ascending_bounds)
{
    const struct histogram_scale *const scales[] = {&histogram_calls, &histogram_jobs};
    for (size_t s = 0; s < 2; s++) {
        cr_assert_leq(scales[s]->count, HISTOGRAM_BOUNDS);
        for (size_t i = 1; i < scales[s]->count; i++)
            cr_assert_lt(scales[s]->bounds[i - 1], scales[s]->bounds[i]);
    }
}

enum { THREADS = 4, EACH = 20000 };
static struct histogram shared;

static void *observe_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) histogram_observe(&shared, i % 2 == 0 ? 0.001 : 2);
    return NULL;
}

Test(histogram, loses_nothing_between_threads)
{
    pthread_t threads[THREADS];
    histogram_init(&shared, &histogram_calls);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, observe_many, NULL);
    struct histogram_values values = read_of(&shared);
    cr_assert_eq(values.count, values.buckets[16]);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    values = read_of(&shared);
    cr_assert_eq(values.count, THREADS * EACH);
    cr_assert_eq(values.buckets[3], THREADS * EACH / 2);
    cr_assert_float_eq(values.sum, THREADS * EACH / 2 * 2.001, 1e-3);
}
