/*
 * ranking.h: orders that are made of other orders.
 */
#ifndef TEKUPD_RANKING_H
#define TEKUPD_RANKING_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* What a place in one order (from 0) adds to the score of reciprocal rank fusion (Cormack, Clarke
 * and Büttcher, SIGIR 2009). */
double ranking_fusion(size_t place);

/* Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): chooses `limit` of the
 * candidates, one after another, each time the one that is most relevant and least similar to those
 * chosen before: diversity (0 to 1) is the share of the latter. vectors are of length 1, `dim`
 * each; a candidate without one (has[i] false) is similar to nothing. order has room for `limit`,
 * which is at most count. Errors: ERR_INTERNAL (memory). */
int ranking_diversify(const double *relevance, const float *vectors, const bool *has, size_t dim,
                      size_t count, double diversity, size_t limit, size_t *order,
                      struct error *err);

#endif
