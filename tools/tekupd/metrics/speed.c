/* speed.c: `lock` is for beginning an interval; everything else is atomic. */
#include "tools/tekupd/metrics/speed.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* From 1 microsecond on, sixteen steps to the double; the last one is of all that took longer. */
enum { STEPS_PER_DOUBLE = 16, STEPS = 26 * STEPS_PER_DOUBLE };

/* One more than is kept is being filled, and one more may still be noted in by a late thread. */
enum { SLOTS = SPEED_KEPT + 2 };

struct interval {
    _Atomic int64_t number; /* which one it is; -1: none yet */
    _Atomic uint32_t steps[STEPS];
};

struct speed {
    int64_t first; /* the number of the interval in which it began */
    pthread_mutex_t lock;
    struct interval intervals[SLOTS];
};

static int64_t number_at(double now)
{
    return (int64_t)floor(now / SPEED_INTERVAL);
}

struct speed *speed_create(double now)
{
    struct speed *speed = calloc(1, sizeof(*speed));
    if (speed == NULL) return NULL;
    speed->first = number_at(now);
    pthread_mutex_init(&speed->lock, NULL);
    for (size_t i = 0; i < SLOTS; i++) atomic_init(&speed->intervals[i].number, -1);
    return speed;
}

void speed_free(struct speed *speed)
{
    if (speed == NULL) return;
    pthread_mutex_destroy(&speed->lock);
    free(speed);
}

static struct interval *interval_of(struct speed *speed, int64_t number)
{
    return &speed->intervals[number % SLOTS];
}

static void begin(struct speed *speed, struct interval *interval, int64_t number)
{
    pthread_mutex_lock(&speed->lock);
    if (atomic_load_explicit(&interval->number, memory_order_relaxed) < number) {
        for (size_t i = 0; i < STEPS; i++)
            atomic_store_explicit(&interval->steps[i], 0, memory_order_relaxed);
        atomic_store_explicit(&interval->number, number, memory_order_release);
    }
    pthread_mutex_unlock(&speed->lock);
}

void speed_note(struct speed *speed, double now, double seconds)
{
    const int64_t number = number_at(now);
    struct interval *interval = interval_of(speed, number);
    const double step = seconds > 1e-6 ? log2(seconds * 1e6) * STEPS_PER_DOUBLE : 0;
    if (atomic_load_explicit(&interval->number, memory_order_acquire) != number)
        begin(speed, interval, number);
    atomic_fetch_add_explicit(&interval->steps[step < STEPS - 1 ? (size_t)step : STEPS - 1], 1,
                              memory_order_relaxed);
}

/* The middle of the step in which the search is that so many were not slower than. */
static double quantile_ms(const uint32_t steps[STEPS], uint64_t rank)
{
    uint64_t passed = 0;
    size_t step = 0;
    while (step < STEPS - 1 && (passed += steps[step]) < rank) step++;
    return exp2(((double)step + 0.5) / STEPS_PER_DOUBLE) * 1e-3;
}

static void read_interval(struct interval *interval, int64_t number, struct speed_point *point)
{
    uint32_t steps[STEPS];
    if (atomic_load_explicit(&interval->number, memory_order_acquire) != number) return;
    for (size_t i = 0; i < STEPS; i++) {
        steps[i] = atomic_load_explicit(&interval->steps[i], memory_order_relaxed);
        point->searches += steps[i];
    }
    if (point->searches == 0) return;
    point->p50_ms = quantile_ms(steps, (point->searches + 1) / 2);
    point->p99_ms = quantile_ms(steps, point->searches - point->searches / 100);
}

size_t speed_get(struct speed *speed, double now, struct speed_point points[SPEED_KEPT])
{
    const int64_t current = number_at(now);
    int64_t number = current - SPEED_KEPT > speed->first ? current - SPEED_KEPT : speed->first;
    size_t count = 0;
    for (; number < current; number++) {
        points[count] = (struct speed_point){.ago = now - (double)number * SPEED_INTERVAL};
        read_interval(interval_of(speed, number), number, &points[count++]);
    }
    return count;
}
