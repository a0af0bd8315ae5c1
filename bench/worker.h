/*
 * worker.h: a process of its own for every index that is measured.
 *
 * So the memory of one is told from that of another, and none profits from what another left in the
 * allocator. The processes are forked before any of them starts a thread, live until the run is
 * over, and work only when asked, one at a time. Each reads the vectors from the shared mapping.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "bench/exchange.h"
#include "bench/peer.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum task {
    TASK_BUILD,       /* of the first `count` vectors; replies seconds, resident, own, kernel */
    TASK_LOAD,        /* of `path`; the same */
    TASK_SAVE,        /* to `path`; replies seconds */
    TASK_ANSWER,      /* every query once, the answers into the exchange; replies seconds */
    TASK_TIME,        /* `count` searches, latencies into the exchange; replies count, seconds */
    TASK_CHURN,       /* starts a writer at `rate` */
    TASK_CHURN_CHECK, /* replies recall */
    TASK_CHURN_END,   /* replies rate */
    TASK_GROW,        /* adds the vectors from `count` on; replies count of searches, seconds */
    TASK_TRUTH,       /* finds the true neighbours; needs no index; replies lid */
    TASK_TRUTH_WITHIN /* the same for the filter `bits`, into `truth` */
};

struct request {
    enum task task;
    size_t ef;
    unsigned threads;
    enum filter filter;
    uint8_t bits;
    size_t count;
    double most_seconds;
    bool cpu_time; /* seconds are of processor time, where the index is in the process */
    unsigned rate;
    struct neighbours truth; /* in shared memory */
    char path[PATH_MAX];
};

struct reply {
    int result; /* 0, or -1 and the error */
    tk_error error;
    double seconds;
    double ready; /* of the first pass over the queries after a build or load */
    size_t count;
    size_t resident; /* bytes that the index added to the process */
    size_t own;      /* bytes by the index's own account, or 0 */
    double recall, rate, lid;
    char kernel[16];
};

struct worker {
    const struct peer *peer; /* NULL in one that computes truths */
    pid_t process;
    int socket; /* -1: not running */
    bool busy;  /* it has been asked and has not answered */
};

/* Forks. The setup's count is what the process's index holds at most. peer may be NULL. */
int worker_start(struct worker *worker, const struct peer *peer, const struct peer_setup *setup,
                 const struct exchange *exchange, tk_error *err);

/* Has a task done and waits for it. */
int worker_ask(struct worker *worker, const struct request *request, struct reply *reply,
               tk_error *err);

/* Ends the process. Where its index is in another server it is let to clean up there, unless it is
 * busy. */
void worker_stop(struct worker *worker);

/* Has SIGINT and SIGTERM end the run at the next worker_ask, instead of the process at once. */
void worker_catch_interrupts(void);

#endif
