/*
 * speed.h: how many searches the index has answered over the last hour, and how fast.
 *
 * Time is cut into intervals of SPEED_INTERVAL seconds by the monotonic clock. Each has a histogram
 * of durations, by which those that are reported are right to 3 %. Noting a duration takes no lock
 * but for the first of an interval. All functions may be called from any thread.
 */
#ifndef TEKUPD_SPEED_H
#define TEKUPD_SPEED_H

#include "storage/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { SPEED_INTERVAL = 10, SPEED_KEPT = 360 };

struct speed;

/* It begins at `now`, seconds of the monotonic clock. NULL when memory ran out. */
struct speed *speed_create(double now);
void speed_free(struct speed *speed); /* NULL is allowed */

/* One search that took so long and ended at `now`. */
void speed_note(struct speed *speed, double now, double seconds);

struct speed_point {
    double ago; /* seconds from its beginning to `now` */
    uint64_t searches;
    double p50_ms, p99_ms; /* 0 where there was no search */
};

/* The intervals that have ended since it began, oldest first, SPEED_KEPT at most; returns how many.
 */
size_t speed_get(struct speed *speed, double now, struct speed_point points[SPEED_KEPT]);

#endif
