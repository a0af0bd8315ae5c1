/*
 * churn.h: a writer that keeps removing and adding vectors while others search.
 *
 * CHURN_ABSENT vectors are out of the index at any time. At each step, `rate` times a second, a
 * random one is removed and the one that was longest out is added again, so the index keeps its
 * size and every vector its id.
 */
#ifndef BENCH_CHURN_H
#define BENCH_CHURN_H

#include "bench/exchange.h"
#include "bench/peer.h"

enum { CHURN_ABSENT = 32 };

struct churn;

/* Takes the first vectors out and starts the writer. The base must have more than 4 x CHURN_ABSENT
 * vectors. */
int churn_start(const struct peer *peer, void *index, const struct exchange *exchange,
                unsigned rate, struct churn **churn, tk_error *err);

/* Recall while the writer goes on, over one pass of the queries: against the nearest among those
 * that were in the index during the whole search. Fails on a hit that had been removed before the
 * search began. */
int churn_recall(struct churn *churn, double *recall, tk_error *err);

/* Stops the writer, puts back what is out, releases it. *per_second is how many removals and
 * additions each a second there were; less than the rate where the index could not keep up. */
int churn_stop(struct churn *churn, double *per_second, tk_error *err);

#endif
