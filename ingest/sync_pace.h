/*
 * sync_pace.h: how fast a sync gets on, and how long it may take still.
 *
 * The speed of the last seconds counts most, so that it follows a source that becomes slower; the
 * time in which the sync only waits for a server's limit does not count. Not locked.
 */
#ifndef INGEST_SYNC_PACE_H
#define INGEST_SYNC_PACE_H

#include <stddef.h>

/* Starts as {0}. Times are of clock_now(). */
struct sync_pace {
    double noted; /* when it was looked at last; 0 before it begins */
    size_t done;  /* by then */
    double rate;  /* things done in a second, times weight */
    double weight;
    int waits; /* that are under way */
};

void sync_pace_begin(struct sync_pace *pace, double now);

/* So many things are done by now. To be called now and then, also when nothing has happened. */
void sync_pace_note(struct sync_pace *pace, double now, size_t done);

/* A wait begins or ends; there may be several at once. */
void sync_pace_wait(struct sync_pace *pace, double now, size_t done);
void sync_pace_go_on(struct sync_pace *pace, double now, size_t done);

/* How many seconds so many things will take; negative where nobody can tell yet. */
double sync_pace_left(const struct sync_pace *pace, size_t left);

#endif
