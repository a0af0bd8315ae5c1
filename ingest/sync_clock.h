/* sync_clock.h: seconds as intervals and figures of syncs count them. */
#ifndef INGEST_SYNC_CLOCK_H
#define INGEST_SYNC_CLOCK_H

#include <time.h>

/* Of the monotonic clock, which nobody sets. */
double sync_clock_now(void);

/* The monotonic clock's time so many seconds from now, for pthread_cond_timedwait(). */
struct timespec sync_clock_after(double seconds);

#endif
