/*
 * saver.h: the thread that writes snapshots, while the follower and the searches go on.
 *
 * The follower tells it after every reading of the feed where it stands; the saver decides when it
 * is time: at once where there is none, else after so many changes of the index, or when the oldest
 * that is not in a snapshot has waited for so long. One that fails (disk full) leaves the last one
 * in place and is tried again.
 *
 * Up to saver_last the functions are for the follower's thread, the rest for any.
 */
#ifndef TEKUPD_SAVER_H
#define TEKUPD_SAVER_H

#include "storage/base/error.h"
#include "tools/tekupd/mirror/replica.h"

#include <stdbool.h>

struct saver;

struct saver_options {
    const char *data;        /* outlives it */
    long changes;            /* 0: snapshots are written when asked for and at the end only */
    int minutes;             /* 0: the same */
    void (*done)(void *arg); /* after each; saver_position may have moved */
    void *arg;
};

struct saver *saver_create(const struct saver_options *options, struct error *err);

/* A snapshot was opened at the start, or (NULL) there is none, whatever was before. */
void saver_restart(struct saver *saver, const char *position);

/* Whether there is no snapshot, and one is to be written as soon as it can be. */
bool saver_waits_for_the_first(struct saver *saver);

/* The replica is at least as new as this position of this feed. touched counts the changes of the
 * index since the start of the daemon. */
void saver_offer(struct saver *saver, struct replica *replica, const char *identity,
                 const char *position, unsigned long long touched);

/* The feed has come to this position; where nothing has touched the index since the last snapshot,
 * that stands for it too. */
void saver_move(struct saver *saver, const char *position, unsigned long long touched);

/* Where a start would go on from: that of the last snapshot, or NULL where there is none. Lives
 * until the next call on this thread. */
const char *saver_position(struct saver *saver);

/* Writes the last snapshot, where something has changed since the one before, and waits for it. */
void saver_last(struct saver *saver, struct replica *replica, const char *identity,
                const char *position, unsigned long long touched);

/* Asks for one with the next offer, due or not. done is called with what became of it (NULL: it is
 * written), on the saver's thread. Errors: ERR_CONFLICT where one is asked for already. */
int saver_request(struct saver *saver, void (*done)(void *arg, const struct error *failure),
                  void *arg, struct error *err);

struct saver_report {
    bool saving;
    double saved_at;            /* seconds since 1970; 0: not since the start */
    double took_s;              /* the last one */
    unsigned long long touched; /* changes of the index that are in no snapshot, as of the offer */
    char error[512];            /* of the last try, where it failed */
};
void saver_get(struct saver *saver, struct saver_report *report);

/* Joins the thread, which ends the snapshot it is at. NULL is allowed. */
void saver_free(struct saver *saver);

#endif
