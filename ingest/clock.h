/* clock.h: seconds of the monotonic clock, which nobody sets, and waiting by it. */
#ifndef INGEST_CLOCK_H
#define INGEST_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

double clock_now(void);

/* The time so many seconds from now, for pthread_cond_timedwait() on a condition of
 * clock_condition. */
struct timespec clock_after(double seconds);

/* Makes a condition whose waits are by this clock; pthread_cond_destroy undoes it. */
void clock_condition(pthread_cond_t *condition);

/* Sleeps until clock_now() would be `until`, or one of the flags, which may be NULL, becomes true;
 * then it returns within a tenth of a second. */
void clock_sleep_until(double until, const atomic_bool *stop, const atomic_bool *other);

#endif
