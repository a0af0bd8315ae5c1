#include "tools/tekupd/metrics/speed.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct speed_point points[SPEED_KEPT];

static bool is_near(double value, double wanted)
{
    return value > wanted * 0.95 && value < wanted * 1.05;
}

Test(speed, an_interval_is_reported_when_it_has_ended)
{
    struct speed *speed = speed_create(1000);
    cr_assert_eq(speed_get(speed, 1009.9, points), 0);
    for (int i = 1; i <= 1000; i++) speed_note(speed, 1000 + i / 101.0, i * 1e-5);
    cr_assert_eq(speed_get(speed, 1009.9, points), 0);
    cr_assert_eq(speed_get(speed, 1012, points), 1);
    cr_expect_eq(points[0].searches, 1000);
    cr_expect(is_near(points[0].p50_ms, 5), "%g", points[0].p50_ms);
    cr_expect(is_near(points[0].p99_ms, 9.9), "%g", points[0].p99_ms);
    cr_expect_eq(points[0].ago, 12);
    speed_free(speed);
}

Test(speed, intervals_without_a_search_are_there)
{
    struct speed *speed = speed_create(7);
    speed_note(speed, 25, 0.25);
    cr_assert_eq(speed_get(speed, 50, points), 5);
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(points[i].ago, 50 - (double)i * SPEED_INTERVAL);
        cr_expect_eq(points[i].searches, i == 2);
        if (i == 2)
            cr_expect(is_near(points[i].p50_ms, 250) && is_near(points[i].p99_ms, 250));
        else
            cr_expect(points[i].p50_ms == 0 && points[i].p99_ms == 0);
    }
    speed_free(speed);
}

Test(speed, the_last_hour_is_kept)
{
    struct speed *speed = speed_create(0);
    for (int i = 0; i < 10000; i++)
        for (int j = 0; j <= i % 3; j++) speed_note(speed, i * 10 + j, 1e-3 * (1 + i % 7));
    cr_assert_eq(speed_get(speed, 99995, points), SPEED_KEPT);
    for (int i = 0; i < SPEED_KEPT; i++) {
        const unsigned number = 9999 - SPEED_KEPT + i;
        cr_expect_eq(points[i].searches, 1 + number % 3);
        cr_expect(is_near(points[i].p50_ms, 1 + number % 7), "%g", points[i].p50_ms);
    }
    /* After a long silence nothing of it is left. */
    cr_assert_eq(speed_get(speed, 1e6, points), SPEED_KEPT);
    for (int i = 0; i < SPEED_KEPT; i++) cr_expect_eq(points[i].searches, 0);
    speed_free(speed);
}

Test(speed, the_shortest_and_the_longest)
{
    struct speed *speed = speed_create(0);
    speed_note(speed, 1, 0);
    speed_note(speed, 1, -1);
    speed_note(speed, 1, 1e9);
    cr_assert_eq(speed_get(speed, 10, points), 1);
    cr_expect_eq(points[0].searches, 3);
    cr_expect(points[0].p50_ms < 0.0011);
    cr_expect(points[0].p99_ms > 60000);
    speed_free(speed);
}

static void *note_many(void *arg)
{
    for (int i = 0; i < 20000; i++) speed_note(arg, i / 200.0, 1e-4);
    return NULL;
}

Test(speed, many_threads_note_at_once)
{
    enum { THREADS = 4 };
    struct speed *speed = speed_create(0);
    pthread_t threads[THREADS];
    uint64_t all = 0;
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, note_many, speed), 0);
    for (int i = 0; i < 100; i++) speed_get(speed, i, points);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    const size_t count = speed_get(speed, 101, points);
    for (size_t i = 0; i < count; i++) all += points[i].searches;
    cr_expect_eq(all, (uint64_t)20000 * THREADS);
    speed_free(speed);
}
