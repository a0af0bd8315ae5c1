/*
 * follower_internal.h: a follower, for the files that it is made of.
 *
 * Locks: `lock` protects the tickets, the report and the flags. Everything else belongs to the
 * thread.
 */
#ifndef TEKUPD_FOLLOWER_INTERNAL_H
#define TEKUPD_FOLLOWER_INTERNAL_H

#include "tools/tekupd/mirror/follow.h"
#include "tools/tekupd/mirror/follower.h"

#include <pthread.h>
#include <stdatomic.h>

struct ticket_queue {
    struct ticket *first, **last;
};

/* Somebody who has another replica to follow with. */
struct adoption {
    struct follow *fresh;
    bool taken, done;
    int rc;
    struct error err;
};

struct follower {
    struct follower_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    int wake; /* an eventfd */
    bool begun, joined;
    atomic_bool stopping;
    atomic_bool anew; /* the database is another one */
    struct ticket_queue documents, everything;
    struct adoption *adoption;
    pthread_cond_t changed; /* adoption->done, fences */
    bool fence_wanted;
    unsigned long long fences;
    char *position;         /* a copy of the follow's fenced one */
    char *applied_position; /* of the last one that the mirror has caught up with */
    struct follower_report report;
    struct follow_progress progress;
    atomic_ullong applied;
    struct saver *saver;
    atomic_bool saved; /* since the last registration */
    /* The thread's own. */
    struct follow follow;
    struct ticket_queue reading; /* those that the reading of the feed that goes on will serve */
    char name[FEED_FOLLOWER_SIZE];
    double heartbeat_s, trimmed_s;
    double loading_s; /* when it began to read the vault */
    unsigned seed;
    bool let_in;    /* searches are answered from its replica */
    bool answering; /* from it or from one before */
    bool from_snapshot;
};

/* ---- follower_tickets.c ---- */

void ticket_queue_init(struct ticket_queue *queue);

/* Moves everything to the end of the other. */
void ticket_queue_move(struct ticket_queue *from, struct ticket_queue *to);

/* Tells those who wait, who are gone then. */
void ticket_queue_finish(struct ticket_queue *queue, bool applied);

/* Lets those go who have waited too long while there is no connection, or all of them. */
void follower_give_up(struct follower *follower, bool all);

/* Looks at the documents that somebody waits for. Returns -1 when the database could not be asked,
 * and they wait on. */
int follower_serve(struct follower *follower, struct error *err);

/* Wakes the thread. */
void follower_kick(struct follower *follower);

#endif
