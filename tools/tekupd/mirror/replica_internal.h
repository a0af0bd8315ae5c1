/* replica_internal.h: how a replica is kept, for replica.c and replica_intake.c. */
#ifndef TEKUPD_REPLICA_INTERNAL_H
#define TEKUPD_REPLICA_INTERNAL_H

#include "tools/tekupd/mirror/replica.h"

#include <pthread.h>

/* `writing` is held by the writer while it changes catalog and index, and by whoever wants them to
 * stand still; searches do not take it. */
struct replica {
    tk_index *index;
    struct catalog *catalog;
    char *model;
    pthread_mutex_t writing;
    atomic_int references;
    _Atomic uint64_t own_searches; /* that nobody asked for */
};

struct removal {
    struct replica *replica;
    const int64_t *embeddings;
};

/* Calls step for each number below count, on this thread and as many others as there are
 * processors, in any order. Where no thread can be started this one does it all. */
void replica_share_out(void (*step)(void *arg, size_t i), void *arg, size_t count);

#endif
