/*
 * exact.h: comparing queries with every vector, or with every vector of a set.
 */
#ifndef ENGINE_EXACT_H
#define ENGINE_EXACT_H

#include "engine/handle.h"
#include "engine/ranking.h"

/* Puts an id of a slot into the ranking, if it is still in the index and the filter accepts it.
 * `similarity` is that of the slot's vector; where the id has moved on to another slot, the vector
 * there counts. False when memory ran out. */
bool tk_rank_id(const struct tk_index *index, const float *query, const struct filter *filter,
                struct ranking *ranking, tk_id id, uint32_t slot, float similarity);

/* Compares n queries (normalised, one stride apart) with every vector of the index; one ranking for
 * each. Errors: TK_ENOMEM. */
tk_status tk_exact_scan(const struct tk_index *index, struct session *session, size_t n,
                        const float *queries, const struct filter *filter,
                        struct ranking *rankings);

/* Compares a query with the vectors of filter->within. Errors: TK_ENOMEM. */
tk_status tk_exact_set(const struct tk_index *index, const float *query,
                       const struct filter *filter, struct ranking *ranking);

#endif
