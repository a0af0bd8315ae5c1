/* clock.c: reads the clock, and waits by it. */
#include "ingest/clock.h"

#include <math.h>
#include <unistd.h>

#define LOOK_EACH_S 0.1 /* whether to stop */

double clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct timespec clock_after(double seconds)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const double whole = floor(seconds);
    time.tv_sec += (time_t)whole;
    time.tv_nsec += (long)((seconds - whole) * 1e9);
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

void clock_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static bool is_set(const atomic_bool *flag)
{
    return flag != NULL && atomic_load(flag);
}

void clock_sleep_until(double until, const atomic_bool *stop, const atomic_bool *other)
{
    for (double left; (left = until - clock_now()) > 0 && !is_set(stop) && !is_set(other);)
        usleep((useconds_t)(fmin(left, LOOK_EACH_S) * 1e6) + 1);
}
