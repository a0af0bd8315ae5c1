/*
 * graph.h: the navigable graph.
 *
 * It is the ground layer of an HNSW graph (arXiv 1603.09320): a node for each vector, its
 * neighbours chosen by that paper's heuristic, searched from entry points near the query. The
 * paper's upper layers only serve to find such an entry point, and at 1,536 dimensions each step on
 * them costs a trip to memory; a table of sampled nodes that is scanned in one go (entries.h) does
 * the same for less.
 *
 * graph.c walks it, graph_links.c changes neighbour lists, graph_tree.c keeps it connected,
 * graph_insert.c puts nodes in and graph_remove.c takes them out.
 *
 * WHAT READERS SEE. A walk takes no lock. Neighbour lists are immutable and published by one atomic
 * pointer each, so a walk sees a list as it was before a change or after it. A node's row and list
 * are in place before the first link to it is published, so a walk never arrives at a node that is
 * half there. Lists and slots that are unlinked are retired (epoch.h), not freed.
 *
 * WRITERS run side by side. All of them are seated. Locks, in the order in which they may nest:
 * - `entry_lock` protects the table of entry points and which nodes are in it.
 * - `out_locks[slot]` protects the node's published list among writers. A writer holds one at a
 * time, never two.
 * - `in_locks[slot]` protects the node's inlinks, its change from live to dead, and its members. A
 *   writer holds one at a time, briefly, possibly within one of the out_locks.
 * - `tree_lock` protects a parent being changed for another one; nothing nests in it.
 * The locks are striped: a slot's lock is shared with other slots.
 *
 * INVARIANTS
 * - Every published link a -> b has a in b's inlinks: it is entered before the link is published
 * and struck after it is gone. No link to a dead node is begun. So a remove finds every list that
 * it has to mend, and when it is done nobody can come upon the slot.
 * - Every node but the first has a parent, and the links between the two, both ways, are kept
 *   whatever the heuristic says. No node is cut off by the pruning of others.
 * - A node in the table of entry points is live, or has a remove under way that will take it out.
 */
#ifndef ENGINE_GRAPH_H
#define ENGINE_GRAPH_H

#include "engine/filter.h"
#include "engine/session.h"

#define GRAPH_LOCKS 256

/* Expansions for each candidate that a walk is to expand: guesses of similarities are mostly too
 * high where they look best, and what is found to be worse makes room for others. */
#define EXPANSIONS_EACH 1.3

struct entries;

struct graph {
    struct store *store;
    struct memory *memory;
    const struct coder *coder;
    uint32_t max; /* neighbours of a node */
    uint32_t ef_construction;
    uint64_t seed;
    _Atomic size_t nodes;
    _Atomic(struct entries *) entries; /* NULL: the graph is empty */
    pthread_mutex_t entry_lock;
    pthread_mutex_t tree_lock;
    pthread_mutex_t out_locks[GRAPH_LOCKS];
    pthread_mutex_t in_locks[GRAPH_LOCKS];
};

void tk_graph_init(struct graph *graph, struct store *store, const tk_index_options *options);
void tk_graph_destroy(struct graph *graph);

static inline struct row tk_graph_row(const struct graph *graph, uint32_t slot)
{
    return tk_store_row(graph->store, slot);
}

static inline struct neighbours *tk_graph_list(const struct graph *graph, uint32_t slot)
{
    return tk_store_list(graph->store, slot);
}

/* ---- graph.c: reading ------------------------------------------------------------------------ */

struct walk {
    const struct query *query;
    size_t width; /* the best so many candidates are expanded, each once */
    size_t keep;  /* candidates kept; those past `width` are in the answer by their guess */
    /* Where there is a filter, the walk goes on until the `width` best that it accepts are better
     * than anything left to expand, and `keep` of those accepted are in the answer. */
    const struct filter *filter;
    size_t expansions_max; /* give up after so many, or as soon as more seem to be needed */
};

/* Walks the graph. The answer is in session->best, best first: candidates that were expanded have
 * EXPANDED set in their slot and their similarity is by coarse codes, that of the others is a
 * guess. TK_EFULL says that expansions_max was, or would have been, reached. Errors: TK_ENOMEM. */
tk_status tk_graph_walk(const struct graph *graph, struct session *session,
                        const struct walk *walk);

/* Gives the candidates of a walk that were not expanded their similarity by coarse codes, takes the
 * mark from the others, and sorts all. */
void tk_graph_know_all(const struct graph *graph, struct session *session);

/* Chooses neighbours among n candidates sorted by similarity to a base: first those that are nearer
 * to the base than to any chosen before them (algorithm 4 of the paper), then, since a list of less
 * than `max` would cost as much to read, the nearest of the rest. Returns how many; *diverse of
 * them are of the first kind, and stand first. */
uint32_t tk_graph_select(const struct graph *graph, const struct candidate *candidates, size_t n,
                         uint32_t max, uint32_t *chosen, float *similarities, uint32_t *diverse);

/* ---- graph_links.c --------------------------------------------------------------------------- */

static inline pthread_mutex_t *tk_out_lock(struct graph *graph, uint32_t slot)
{
    return &graph->out_locks[slot % GRAPH_LOCKS];
}

static inline pthread_mutex_t *tk_in_lock(struct graph *graph, uint32_t slot)
{
    return &graph->in_locks[slot % GRAPH_LOCKS];
}

/* Publishes the first list of a node. Neighbours that have died are left out. The caller holds the
 * slot's out lock. False when memory ran out and nothing changed. */
bool tk_graph_publish(struct graph *graph, uint32_t slot, const struct selection *selection);

/* Links from -> to where the list has room or `to` is better than what it has. With `force` it is
 * certain to be in the list afterwards. `query` is the vector of `to`, or NULL where the caller
 * does not have it. TK_ENOTFOUND where one of the two is dead, TK_ENOMEM. */
tk_status tk_graph_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                        const struct query *query, bool force);

/* Under the out lock of `owner`: puts another neighbour into position `at` of its list, or into a
 * new one at the end where `at` is the list's count. False when nothing changed: `to` is dead, or
 * memory ran out. */
bool tk_graph_put_link(struct graph *graph, struct session *session, uint32_t owner, uint32_t at,
                       uint32_t to, float similarity, bool spare);

/* Under the out lock of `owner`: takes position `at` out of its list. False when memory ran out. */
bool tk_graph_drop_link(struct graph *graph, struct session *session, uint32_t owner, uint32_t at);

/* Strikes `from` from the inlinks of `to`. */
void tk_graph_strike(struct graph *graph, uint32_t from, uint32_t to);

/* ---- graph_tree.c ---------------------------------------------------------------------------- */

static inline uint32_t tk_parent(const struct graph *graph, uint32_t slot)
{
    return atomic_load_explicit(&tk_store_node(graph->store, slot)->parent, memory_order_acquire);
}

/* Gives a node that nobody knows of yet a parent among those selected for it. */
void tk_tree_plant(struct graph *graph, uint32_t slot, const struct selection *selected);

/* Links a node with its parent; if that is dead, with another one. `query` as in tk_graph_link.
 * TK_ENOTFOUND where there is none in reach of its list, TK_ENOMEM. */
tk_status tk_tree_link(struct graph *graph, struct session *session, uint32_t slot,
                       const struct query *query);

/* Gives the children of a dead node, which are in its list, other parents. What there is no memory
 * to link remains as well connected as its neighbour list makes it. */
void tk_tree_detach(struct graph *graph, struct session *session, uint32_t gone);

/* ---- graph_insert.c -------------------------------------------------------------------------- */

/* Puts session->query (rotated and prepared) into the graph for an id: as a new node, or as a
 * member of a node with the same vector. *slot is the node. The id map is the caller's business.
 * Errors: TK_ENOMEM, TK_EFULL; the graph is unchanged then. */
tk_status tk_graph_insert(struct graph *graph, struct session *session, tk_id id, uint32_t *slot);

/* ---- graph_remove.c -------------------------------------------------------------------------- */

/* Takes an id out of the members of a node, and the node out of the graph when it was the last.
 * TK_ENOMEM when nothing changed for want of memory, which cannot happen to the last member. */
tk_status tk_graph_remove(struct graph *graph, struct session *session, uint32_t slot, tk_id id);

#endif
