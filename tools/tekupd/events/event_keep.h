/*
 * event_keep.h: sees to it that the feed reaches back far enough for clients that come again.
 *
 * What every follower has passed is trimmed, so this is a follower too (storage/feed.h): one that
 * stays behind, at the position that the feed had so many seconds ago. It outlives the daemon, so
 * that clients can go on after a restart. Not locked.
 */
#ifndef TEKUPD_EVENT_KEEP_H
#define TEKUPD_EVENT_KEEP_H

#include "storage/base/error.h"
#include "storage/feed.h"

#include <stdbool.h>

enum { EVENT_KEEP_MARKS = 16 };

struct event_keep {
    char follower[FEED_FOLLOWER_SIZE];
    int keep_s;
    /* Positions and when the feed had them, oldest first; a mark every keep_s / MARKS. */
    struct {
        double at_s;
        char *position;
    } marks[EVENT_KEEP_MARKS + 1];
    int count;
    double told_s;    /* when the follower was last moved; 0: not there */
    bool looked;      /* whether it is there from before this start */
    double inherit_s; /* until then it stays where it was found; 0: it was not there */
};

/* Finds out whether the follower is there from before. Cheap when that is known. */
int event_keep_look(struct event_keep *keep, PGconn *conn, double now_s, struct error *err);

/* Is told of the feed's position from time to time, and moves the follower along. now_s is the
 * caller's clock, which begins above 0. event_keep_look() comes first. */
int event_keep_move(struct event_keep *keep, PGconn *conn, const char *position, double now_s,
                    struct error *err);

/* Lets go of the feed. */
int event_keep_end(struct event_keep *keep, PGconn *conn, struct error *err);

void event_keep_free(struct event_keep *keep);

#endif
