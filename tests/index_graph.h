/*
 * index_graph.h: looking into the graph of an index that nobody is writing to.
 */
#ifndef TESTS_INDEX_GRAPH_H
#define TESTS_INDEX_GRAPH_H

#include "engine/handle.h"

#include <criterion/criterion.h>

/* How many nodes can be come to from one of them, and how many there are. Nobody may be writing. */
static inline size_t graph_reachable(const tk_index *index, size_t *nodes)
{
    const struct store *store = &index->store;
    uint32_t used = atomic_load(&store->used);
    uint32_t *queue = malloc((used + 1) * sizeof(*queue));
    bool *seen = calloc(used + 1, sizeof(*seen));
    size_t head = 0, tail = 0;
    *nodes = 0;
    for (uint32_t i = 0; i < used; i++) {
        if (!tk_store_is_live(store, i)) continue;
        if ((*nodes)++ > 0) continue;
        queue[tail++] = i;
        seen[i] = true;
    }
    while (head < tail) {
        const struct neighbours *list = tk_graph_list(&index->graph, queue[head++]);
        for (uint32_t i = 0; list && i < list->count; i++) {
            uint32_t next = tk_neighbour(list, i);
            if (seen[next]) continue;
            seen[next] = true;
            queue[tail++] = next;
        }
    }
    free(queue);
    free(seen);
    return tail;
}

/* Whether a slot is in a list. */
static inline bool graph_links(const tk_index *index, uint32_t from, uint32_t to)
{
    const struct neighbours *list = tk_graph_list(&index->graph, from);
    for (uint32_t i = 0; list && i < list->count; i++)
        if (tk_neighbour(list, i) == to) return true;
    return false;
}

/* A parent is live and linked both ways, and following parents comes to an end. */
static inline void graph_check_parent(const tk_index *index, uint32_t slot)
{
    uint32_t parent = tk_parent(&index->graph, slot), steps = 0;
    if (parent == NO_SLOT) return;
    cr_assert(tk_store_is_live(&index->store, parent));
    cr_assert(graph_links(index, parent, slot));
    cr_assert(graph_links(index, slot, parent));
    while ((slot = tk_parent(&index->graph, slot)) != NO_SLOT)
        cr_assert_lt(++steps, 1000000u, "no circle");
}

/* Holds the invariants of graph.h against the graph as it is. */
static inline void graph_check(const tk_index *index)
{
    const struct store *store = &index->store;
    uint32_t used = atomic_load(&store->used);
    for (uint32_t slot = 0; slot < used; slot++) {
        if (!tk_store_is_live(store, slot)) continue;
        const struct neighbours *list = tk_graph_list(&index->graph, slot);
        cr_assert_not_null(list);
        for (uint32_t i = 0; i < list->count; i++) {
            uint32_t to = tk_neighbour(list, i), times = 0;
            const struct node *other = tk_store_node(store, to);
            cr_assert(tk_store_is_live(store, to), "no links to the dead");
            for (uint32_t j = 0; j < other->in.count; j++) times += other->in.slots[j] == slot;
            cr_assert_eq(times, 1, "every link is known where it leads");
        }
        graph_check_parent(index, slot);
    }
}

static inline void graph_expect_whole(const tk_index *index)
{
    size_t nodes, found = graph_reachable(index, &nodes);
    cr_expect_eq(found, nodes, "%zu of %zu nodes can be reached", found, nodes);
    graph_check(index);
}

#endif
