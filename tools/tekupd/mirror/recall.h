/*
 * recall.h: how many of the true neighbours searches find, measured on the vectors that are there.
 *
 * Some of the vectors, chosen at random, are looked for as a search would, and by comparing with
 * every vector; each is left out of its own answer. What counts is similarity: among equally
 * similar ones any will do.
 */
#ifndef TEKUPD_RECALL_H
#define TEKUPD_RECALL_H

#include "tools/tekupd/mirror/replica.h"

#include <stdatomic.h>

struct recall_wanted {
    size_t sample; /* vectors to look for */
    size_t limit;  /* neighbours of each */
    size_t ef;     /* effort, as of the searches; 0: the index's own */
};

struct recall {
    double recall;     /* of all neighbours that were to be found; NAN where there was none */
    size_t sample;     /* vectors that were looked for: less where there are fewer */
    size_t neighbours; /* that were to be found in all */
};

/* Takes a time in proportion to sample and vectors. The seed says which are chosen. Errors:
 * ERR_CANCELLED soon after *stop (may be NULL) is set. */
int recall_measure(struct replica *replica, const struct recall_wanted *wanted, uint64_t seed,
                   const atomic_bool *stop, struct recall *recall, struct error *err);

#endif
