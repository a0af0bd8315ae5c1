/*
 * exact.h: comparing queries with every vector, or with every vector of a set.
 */
#ifndef ENGINE_EXACT_H
#define ENGINE_EXACT_H

#include "engine/handle.h"
#include "engine/ranking.h"

/* Puts the ids of a node into the ranking that are still in the index and that the filter accepts.
 * `similarity` is that of the node's vector; where an id has moved on to another node, the vector
 * there counts. False when memory ran out. */
bool tk_rank_node(const struct tk_index *index, const struct query *query,
                  const struct filter *filter, struct ranking *ranking, uint32_t slot,
                  float similarity);

/* Compares session->query with every vector of the index. Errors: TK_ENOMEM. */
tk_status tk_exact_scan(const struct tk_index *index, struct session *session,
                        const struct filter *filter, struct ranking *ranking);

/* Compares n queries with every vector of the index; one ranking for each. Errors: TK_ENOMEM. */
tk_status tk_exact_scan_many(const struct tk_index *index, struct session *session, size_t n,
                             const struct query *queries, const struct filter *filter,
                             struct ranking *rankings);

/* Compares session->query with the vectors of filter->within. Errors: TK_ENOMEM. */
tk_status tk_exact_set(const struct tk_index *index, const struct session *session,
                       const struct filter *filter, struct ranking *ranking);

/* One in how many nodes a filter accepts, by asking it about some of them. */
double tk_exact_rarity(const struct tk_index *index, const struct filter *filter);

#endif
