/*
 * mirror.h: the replica that searches are answered from, which another one may take the place of.
 */
#ifndef TEKUPD_MIRROR_H
#define TEKUPD_MIRROR_H

#include "tools/tekupd/mirror/replica.h"

#include <pthread.h>

/* `lock` protects `current`. */
struct mirror {
    pthread_mutex_t lock;
    struct replica *current; /* NULL as long as no search can be answered */
};

void mirror_init(struct mirror *mirror);
void mirror_destroy(struct mirror *mirror);

/* The replica to search in, for the caller to release; NULL as long as there is none. */
struct replica *mirror_use(struct mirror *mirror);

/* Puts this one in the place of the one before (NULL: none); the caller keeps its own reference. */
void mirror_switch(struct mirror *mirror, struct replica *replica);

#endif
