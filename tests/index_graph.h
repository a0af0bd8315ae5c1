/*
 * index_graph.h: looking into the graph of an index that nobody is writing to.
 */
#ifndef TESTS_INDEX_GRAPH_H
#define TESTS_INDEX_GRAPH_H

#include "engine/handle.h"

#include <criterion/criterion.h>

/* How many nodes a walk can come to from the entry point, over all layers, and how many there
 * are. Nobody may be writing. */
static inline size_t graph_reachable(const tk_index *index, size_t *nodes)
{
    const struct store *store = &index->store;
    uint32_t used = atomic_load(&store->used), slot;
    unsigned level;
    uint32_t *queue = malloc((used + 1) * sizeof(*queue));
    bool *seen = calloc(used + 1, sizeof(*seen));
    size_t head = 0, tail = 0;
    *nodes = 0;
    for (uint32_t i = 0; i < used; i++)
        *nodes += tk_node_state(tk_store_node(store, i)) == SLOT_LIVE;
    if (tk_graph_entry(&index->graph, &slot, &level)) {
        queue[tail++] = slot;
        seen[slot] = true;
    }
    while (head < tail) {
        slot = queue[head++];
        for (unsigned layer = 0; layer <= tk_store_node(store, slot)->level; layer++) {
            const struct neighbours *list = tk_graph_list(&index->graph, slot, layer);
            for (uint32_t i = 0; list && i < list->count; i++) {
                uint32_t next = tk_neighbour(list, i);
                if (seen[next]) continue;
                seen[next] = true;
                queue[tail++] = next;
            }
        }
    }
    free(queue);
    free(seen);
    return tail;
}

/* Whether a slot is in a list. */
static inline bool graph_links(const tk_index *index, uint32_t from, uint32_t to, unsigned layer)
{
    const struct neighbours *list = tk_graph_list(&index->graph, from, layer);
    for (uint32_t i = 0; list && i < list->count; i++)
        if (tk_neighbour(list, i) == to) return true;
    return false;
}

/* A parent is live and linked both ways, and following parents comes to an end. */
static inline void graph_check_parent(const tk_index *index, uint32_t slot, unsigned layer)
{
    uint32_t parent = tk_parent(&index->graph, slot, layer), steps = 0;
    if (parent == NO_SLOT) return;
    cr_assert_eq(tk_node_state(tk_store_node(&index->store, parent)), SLOT_LIVE);
    cr_assert(graph_links(index, parent, slot, layer));
    cr_assert(graph_links(index, slot, parent, layer));
    while ((slot = tk_parent(&index->graph, slot, layer)) != NO_SLOT)
        cr_assert_lt(++steps, 1000000u, "no circle");
}

/* Holds the invariants of graph.h against the graph as it is. */
static inline void graph_check(const tk_index *index)
{
    const struct store *store = &index->store;
    uint32_t used = atomic_load(&store->used);
    for (uint32_t slot = 0; slot < used; slot++) {
        struct node *node = tk_store_node(store, slot);
        if (tk_node_state(node) != SLOT_LIVE) continue;
        for (unsigned layer = 0; layer <= node->level; layer++) {
            const struct neighbours *list = tk_graph_list(&index->graph, slot, layer);
            cr_assert_not_null(list);
            for (uint32_t i = 0; i < list->count; i++) {
                uint32_t to = tk_neighbour(list, i), times = 0;
                struct node *other = tk_store_node(store, to);
                cr_assert_eq(tk_node_state(other), SLOT_LIVE, "no links to the dead");
                cr_assert_geq(other->level, layer);
                const struct inlinks *in = &tk_node_links(other, layer)->in;
                for (uint32_t j = 0; j < in->count; j++) times += in->slots[j] == slot;
                cr_assert_eq(times, 1, "every link is known where it leads");
            }
            graph_check_parent(index, slot, layer);
        }
    }
}

static inline void graph_expect_whole(const tk_index *index)
{
    size_t nodes, found = graph_reachable(index, &nodes);
    cr_expect_eq(found, nodes, "%zu of %zu nodes can be reached", found, nodes);
    graph_check(index);
}

#endif
