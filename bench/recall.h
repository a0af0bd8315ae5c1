/*
 * recall.h: how much of the truth an engine found.
 *
 * A hit counts when its true similarity, computed here and not by the engine, is at least that of
 * the true k-th neighbour less 1e-6, so that vectors that tie for the last place are all right. An
 * id that is answered twice counts once.
 */
#ifndef BENCH_RECALL_H
#define BENCH_RECALL_H

#include "bench/exact.h"

#include <stdbool.h>

#define RECALL_TOLERANCE 1e-6

/* What an engine answered to all queries. */
struct answers {
    size_t k;
    const tk_hit *hits;  /* queries x k */
    const size_t *found; /* per query */
};

struct recall {
    double value;            /* mean over the queries, 0 to 1 */
    double similarity_error; /* largest difference of an answered similarity to the true one */
};

/* The hits of one query that count. least is the similarity of the true k-th neighbour. *error is
 * raised to the largest difference of a similarity, NULL is allowed. Ids past the base are no hits.
 */
size_t recall_count(const struct vectors *base, const float *query, double least,
                    const tk_hit *hits, size_t found, double *error);

/* The recall of answers against truth (of depth k or more). Where keep is not NULL, an answer
 * outside of the filter that keep and bits stand for fails. So does an id that the base does not
 * have, and a similarity that is not finite. */
int recall_measure(const struct vectors *base, const struct vectors *queries,
                   const struct neighbours *truth, const struct answers *answers,
                   const uint8_t *keep, uint8_t bits, struct recall *recall, tk_error *err);

#endif
