/*
 * entries.h: where a walk begins.
 *
 * A table of sampled nodes, about the square root of their number and at most 1,024, in the form of
 * a neighbour list whose owner is the mean of the sample. Scanning it for the nodes that are most
 * similar to a query takes a few microseconds.
 *
 * The table is immutable and published by an atomic pointer; writers change it under the graph's
 * entry_lock. It is drawn anew when the graph has grown or shrunk by half.
 */
#ifndef ENGINE_ENTRIES_H
#define ENGINE_ENTRIES_H

#include "engine/graph.h"

/* The entry points for a query, best first, at most `max`; their similarities are guesses. Returns
 * how many there are, 0 when the graph is empty. */
size_t tk_entries_find(const struct graph *graph, const struct query *query,
                       struct candidate *found, size_t max);

/* The entry points themselves, of which some may have died and some places be empty (NO_SLOT); NULL
 * when the graph is empty. Good for as long as the caller is seated. */
const struct neighbours *tk_entries_list(const struct graph *graph);

/* Draws a new table when the number of nodes calls for one. False when memory ran out; the old
 * table stays then, and serves. */
bool tk_entries_refresh(struct graph *graph, struct session *session);

/* Draws the first table of a graph that has nodes and nobody else uses yet. False when memory ran
 * out. */
bool tk_entries_draw(struct graph *graph, struct session *session);

/* For a live node that has found no other: where nobody in the table is live the table begins anew,
 * with another live node, which can be found then, or with this one. *alone says that there is no
 * other. False when memory ran out. */
bool tk_entries_begin(struct graph *graph, struct session *session, uint32_t slot, bool *alone);

/* Takes a dead node out of the table. Cannot fail: where memory for a new table ran out its place
 * is marked empty (NO_SLOT). */
void tk_entries_leave(struct graph *graph, struct session *session, uint32_t slot);

/* For a graph that nobody else uses. */
void tk_entries_free(struct graph *graph);

#endif
