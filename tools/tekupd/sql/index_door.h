/*
 * index_door.h: how the backends of PostgreSQL find this daemon: the row in tekupdb."Door" with the
 * secret that they show when they ask the index (storage/door.h).
 *
 * The keeper's thread writes the row; the secret may be compared from any thread.
 */
#ifndef TEKUPD_INDEX_DOOR_H
#define TEKUPD_INDEX_DOOR_H

#include "storage/door.h"

#include <pthread.h>
#include <stdbool.h>

struct daemon;

/* `lock` protects `secret`; the rest belongs to the keeper. */
struct index_door {
    pthread_mutex_t lock;
    char secret[DOOR_SECRET_SIZE];     /* empty as long as there is none */
    char identity[FEED_IDENTITY_SIZE]; /* of the database that has the row */
    double written_s;                  /* when it was written; 0: it has to be */
};

void index_door_init(struct index_door *door);
void index_door_destroy(struct index_door *door);

/* Sees to it that the database has the row: after a connection was lost (`doubtful`), and every
 * hour. Another database than the one before gets another secret, so that no backend of the old one
 * is answered any more. A failure is logged, and made good at the next call. */
void index_door_keep(struct daemon *daemon, bool doubtful);

/* Takes the row out, if that can be done at once. */
void index_door_leave(struct daemon *daemon);

/* Whether it is the secret; takes as long whatever it is. */
bool index_door_knows(struct index_door *door, const char *secret);

#endif
