/* sync_clock.c: reads the clocks. */
#include "ingest/sync_clock.h"

#include <math.h>

static double seconds_of(struct timespec time)
{
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double sync_clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return seconds_of(now);
}

struct timespec sync_clock_after(double seconds)
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

double sync_clock_age(const char *timestamp)
{
    struct tm utc = {0};
    struct timespec now;
    if (strptime(timestamp, "%Y-%m-%dT%H:%M:%S", &utc) == NULL) return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    const double age = seconds_of(now) - (double)timegm(&utc);
    return age > 0 ? age : 0;
}
