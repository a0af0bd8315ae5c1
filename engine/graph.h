/*
 * graph.h: the navigable graph (HNSW: arXiv 1603.09320).
 *
 * graph.c walks it, graph_links.c changes neighbour lists, graph_tree.c keeps every layer
 * connected, graph_insert.c puts nodes in and graph_remove.c takes them out.
 *
 * WHAT READERS SEE. A walk takes no lock. Neighbour lists are immutable and published by one atomic
 * pointer each, so a walk sees a list as it was before a change or after it. A node's vector, level
 * and lists on all of its layers are in place before the first link to it is published, from the
 * ground layer up, so a walk never arrives at a node that is half there. Lists and slots that are
 * unlinked are retired (epoch.h), not freed.
 *
 * WRITERS run side by side. All of them are seated. Locks, in the order in which they may nest:
 * - `entry_lock` protects changes of the entry point; an insert that raises the number of layers
 *   holds it throughout, so that two of these know of each other.
 * - `out_locks[slot]` protects the node's published lists among writers. A writer holds one at a
 *   time, never two.
 * - `in_locks[slot]` protects the node's inlinks, its change from live to dead, and its members. A
 *   writer holds one at a time, briefly, possibly within one of the out_locks.
 * - `tree_lock` protects a parent being changed for another one; nothing nests in it.
 * The locks are striped: a slot's lock is shared with other slots.
 *
 * INVARIANTS
 * - Every published link a -> b on a layer has a in b's inlinks of that layer: it is entered before
 *   the link is published and struck after it is gone. No link to a dead node is begun. So a remove
 *   finds every list that it has to mend, and when it is done nobody can come upon the slot.
 * - Every node but the first on a layer has a parent there, and the links between the two, both
 *   ways, are kept whatever the heuristic says. No node is cut off by the pruning of others.
 */
#ifndef ENGINE_GRAPH_H
#define ENGINE_GRAPH_H

#include "engine/filter.h"
#include "engine/kernels/kernels.h"
#include "engine/session.h"

#define GRAPH_LOCKS 256

struct graph {
    struct store *store;
    struct memory *memory;
    const struct kernels *kernels;
    uint32_t max_upper, max_ground; /* neighbours of a node */
    uint32_t ef_construction;
    uint64_t seed;
    _Atomic uint64_t drawn; /* levels drawn so far */
    _Atomic uint64_t entry; /* slot and level, see tk_graph_entry; 0: the graph is empty */
    pthread_mutex_t entry_lock;
    pthread_mutex_t tree_lock;
    pthread_mutex_t out_locks[GRAPH_LOCKS];
    pthread_mutex_t in_locks[GRAPH_LOCKS];
};

void tk_graph_init(struct graph *graph, struct store *store, const tk_index_options *options,
                   const struct kernels *kernels);
void tk_graph_destroy(struct graph *graph);

/* The entry point, and the layer it is on; false when the graph is empty. */
bool tk_graph_entry(const struct graph *graph, uint32_t *slot, unsigned *level);
void tk_graph_set_entry(struct graph *graph, uint32_t slot, unsigned level);

static inline float tk_graph_similarity(const struct graph *graph, const float *query,
                                        uint32_t slot)
{
    return graph->kernels->dot(query, tk_store_vector(graph->store, slot), graph->store->stride);
}

/* ---- graph.c: reading ------------------------------------------------------------------------ */

struct walk {
    const float *query;
    unsigned layer;
    size_t ef;
    float all_above; /* keep everything at least this similar, beyond ef; INFINITY: only ef */
    const struct filter *filter; /* NULL: all live nodes */
    uint32_t except;             /* a slot that is not part of the answer, or NO_SLOT */
    size_t visits_max;           /* give up after so many */
};

/* Walks one layer from session->starts; the answer is in session->best, sorted. TK_EFULL says that
 * visits_max was reached. Errors: TK_ENOMEM. */
tk_status tk_graph_walk(const struct graph *graph, struct session *session,
                        const struct walk *walk);

/* Goes down greedily from the entry point to the layer `to`, or stays at the entry point where that
 * is not above it, and makes the node found there the only start. *level is the entry point's.
 * False when the graph is empty or memory ran out (*status). */
bool tk_graph_descend(const struct graph *graph, struct session *session, const float *query,
                      unsigned to, unsigned *level, tk_status *status);

/* Algorithm 4 of the paper: of n candidates sorted by similarity to a base, those that are nearer
 * to the base than to any candidate chosen before them, at most max. Where that leaves less than
 * three quarters of max, the nearest of those passed over fill the list up to there: in many
 * dimensions vectors at the rim of a cluster are nearest to nobody, and would have hardly a link to
 * them. */
uint32_t tk_graph_select(const struct graph *graph, const struct candidate *candidates, size_t n,
                         uint32_t max, uint32_t *chosen);

/* ---- graph_links.c --------------------------------------------------------------------------- */

static inline uint32_t tk_graph_max(const struct graph *graph, unsigned layer)
{
    return layer ? graph->max_upper : graph->max_ground;
}

static inline pthread_mutex_t *tk_out_lock(struct graph *graph, uint32_t slot)
{
    return &graph->out_locks[slot % GRAPH_LOCKS];
}

static inline pthread_mutex_t *tk_in_lock(struct graph *graph, uint32_t slot)
{
    return &graph->in_locks[slot % GRAPH_LOCKS];
}

static inline struct neighbours *tk_graph_list(const struct graph *graph, uint32_t slot,
                                               unsigned layer)
{
    struct links *links = tk_node_links(tk_store_node(graph->store, slot), layer);
    return atomic_load_explicit(&links->out, memory_order_acquire);
}

/* Publishes the list of a slot and keeps the inlinks of those that it gains and loses. Entries that
 * are dead, or that there is no memory for, are left out; those that are the slot's parent or its
 * children are kept. The caller holds the slot's out lock. False when memory ran out and nothing
 * changed. */
bool tk_graph_publish(struct graph *graph, struct session *session, uint32_t slot, unsigned layer,
                      const struct selection *selection);

/* Links from -> to: adds it to the list of from, which is pruned when it is too long. With `force`
 * it is certain to be in the list afterwards. TK_ENOTFOUND where one of the two is dead,
 * TK_ENOMEM. */
tk_status tk_graph_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                        unsigned layer, bool force);

/* Gives a slot of a graph that nobody else knows yet the list that it had when it was saved. False
 * when memory ran out. */
bool tk_graph_restore(struct graph *graph, struct session *session, uint32_t slot, unsigned layer,
                      const uint32_t *slots, uint32_t count, uint32_t parent);

/* Strikes `from` from the inlinks of `to`. */
void tk_graph_strike(struct graph *graph, uint32_t from, uint32_t to, unsigned layer);

/* ---- graph_tree.c ---------------------------------------------------------------------------- */

static inline uint32_t tk_parent(const struct graph *graph, uint32_t slot, unsigned layer)
{
    struct links *links = tk_node_links(tk_store_node(graph->store, slot), layer);
    return atomic_load_explicit(&links->parent, memory_order_acquire);
}

/* Gives a node that nobody knows of yet a parent among those selected for it. */
void tk_tree_plant(struct graph *graph, uint32_t slot, unsigned layer,
                   const struct selection *selected);

/* Links a node with its parent; if that is dead, with another one. TK_ENOTFOUND where there is none
 * in reach of its list, TK_ENOMEM. */
tk_status tk_tree_link(struct graph *graph, struct session *session, uint32_t slot, unsigned layer);

/* Gives the children of a dead node, which are in its list, other parents. What there is no memory
 * to link remains as well connected as its neighbour list makes it. */
void tk_tree_detach(struct graph *graph, struct session *session, uint32_t gone, unsigned layer);

/* ---- graph_insert.c -------------------------------------------------------------------------- */

/* Puts session->vector (normalised) into the graph for an id: as a new node, or as a member of a
 * node with the same vector. *slot is the node. The id map is the caller's business.
 * Errors: TK_ENOMEM, TK_EFULL; the graph is unchanged then. */
tk_status tk_graph_insert(struct graph *graph, struct session *session, tk_id id, uint32_t *slot);

/* ---- graph_remove.c -------------------------------------------------------------------------- */

/* Takes an id out of the members of a node, and the node out of the graph when it was the last.
 * TK_ENOMEM when nothing changed for want of memory, which cannot happen to the last member. */
tk_status tk_graph_remove(struct graph *graph, struct session *session, uint32_t slot, tk_id id);

#endif
