/*
 * sync_pace.c: a moving average whose weight halves every few seconds. At the beginning it is
 * divided by what it weighs so far, so that the first second does not count as a slow one.
 */
#include "ingest/sync_pace.h"

#include <math.h>

static const double MEMORY_S = 15;
static const double GLANCE_S = 0.2; /* shorter ones tell nothing */
static const double LEAST_S = 0.5;  /* of work before anything is told */
static const double MOST_S = 3.2e7; /* a year: it stands still */

void sync_pace_begin(struct sync_pace *pace, double now)
{
    *pace = (struct sync_pace){.noted = now, .waits = pace->waits};
}

static void look(struct sync_pace *pace, double now, size_t done)
{
    const double passed = now - pace->noted;
    if (pace->waits == 0 && passed > 0) {
        const double share = 1 - exp(-passed / MEMORY_S);
        const double rate = (double)(done - pace->done) / passed;
        pace->rate = pace->rate * (1 - share) + rate * share;
        pace->weight = pace->weight * (1 - share) + share;
    }
    pace->noted = now;
    pace->done = done;
}

void sync_pace_note(struct sync_pace *pace, double now, size_t done)
{
    if (pace->noted > 0 && done >= pace->done && now - pace->noted >= GLANCE_S)
        look(pace, now, done);
}

void sync_pace_wait(struct sync_pace *pace, double now, size_t done)
{
    if (pace->noted > 0 && pace->waits == 0) look(pace, now, done);
    pace->waits++;
}

void sync_pace_go_on(struct sync_pace *pace, double now, size_t done)
{
    if (pace->noted > 0 && pace->waits == 1) look(pace, now, done);
    if (pace->waits > 0) pace->waits--;
}

double sync_pace_left(const struct sync_pace *pace, size_t left)
{
    if (left == 0) return 0;
    if (pace->weight < 1 - exp(-LEAST_S / MEMORY_S) || pace->rate <= 0) return -1;
    const double seconds = (double)left * pace->weight / pace->rate;
    return seconds < MOST_S ? seconds : -1;
}
