/*
 * graph_tree.c: keeping the graph connected.
 *
 * The heuristic that chooses neighbours sees one list at a time. Of a tight cluster of more vectors
 * than a list has room for, every list can end up inside the cluster, and nothing leads out of it
 * or into it. So the nodes also form a tree: a node's parent is the nearest node that was found
 * when it was inserted, and the links between the two are exempt from pruning. They make the graph
 * connected, and they are where a search looks: whoever searched for the node before it
 * was there arrived at its parent.
 *
 * A node has few children, so that lists stay short. A new node is given its parent while nobody
 * knows of it, so that it has no descendants. When a node is removed its children get other
 * parents, not from among their own descendants; `tree_lock` keeps two who do that at the same time
 * from making a circle between them. Whoever gives a node a parent links the two afterwards, and
 * looks for another one if the parent has been removed by then.
 */
#include "engine/entries.h"

/* How far up a tree is followed to see whether a node is somebody's descendant. */
#define ASCENT_MAX 4096
/* A parent may be removed before it is linked; then another one is looked for. */
#define ATTACH_TRIES 16

static void set_parent(struct graph *graph, uint32_t slot, uint32_t parent)
{
    atomic_store_explicit(&tk_store_node(graph->store, slot)->parent, parent, memory_order_release);
}

/* Whether a node may have another child. Sets *child to one it has, or NO_SLOT. */
static bool has_room(const struct graph *graph, uint32_t slot, uint32_t *child)
{
    const struct neighbours *list = tk_graph_list(graph, slot);
    uint32_t count = 0;
    *child = NO_SLOT;
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t neighbour = tk_neighbour(list, i);
        if (tk_parent(graph, neighbour) != slot) continue;
        *child = neighbour;
        count++;
    }
    return count < graph->max / 2;
}

/* The first of the selected that is live and has room. Where none has, a descendant of the first
 * that is live. */
static uint32_t choose_parent(const struct graph *graph, uint32_t slot,
                              const struct selection *selected)
{
    uint32_t child, full = NO_SLOT;
    for (uint32_t i = 0; i < selected->count; i++) {
        uint32_t candidate = selected->slots[i];
        if (candidate == slot || !tk_store_is_live(graph->store, candidate)) continue;
        if (has_room(graph, candidate, &child)) return candidate;
        if (full == NO_SLOT) full = candidate;
    }
    for (int depth = 0; full != NO_SLOT && depth < ASCENT_MAX; depth++) {
        if (has_room(graph, full, &child) || child == slot) break;
        full = child;
    }
    return full;
}

void tk_tree_plant(struct graph *graph, uint32_t slot, const struct selection *selected)
{
    set_parent(graph, slot, choose_parent(graph, slot, selected));
}

/* Whether `slot` is `ancestor` or below it. Under tree_lock. Yes when in doubt. */
static bool descends(const struct graph *graph, uint32_t slot, uint32_t ancestor)
{
    for (int steps = 0; steps < ASCENT_MAX; steps++) {
        if (slot == NO_SLOT) return false;
        if (slot == ancestor) return true;
        slot = tk_parent(graph, slot);
    }
    return true;
}

/* The nearest live ancestor, or NO_SLOT. Under tree_lock. */
static uint32_t live_ancestor(const struct graph *graph, uint32_t slot)
{
    for (int steps = 0; steps < ASCENT_MAX && slot != NO_SLOT; steps++) {
        slot = tk_parent(graph, slot);
        if (slot != NO_SLOT && tk_store_is_live(graph->store, slot)) return slot;
    }
    return NO_SLOT;
}

/* Whether the orphan may be put below a node. Under tree_lock. */
static bool may_take(const struct graph *graph, uint32_t slot, uint32_t orphan)
{
    uint32_t child;
    return slot != orphan && tk_store_is_live(graph->store, slot) &&
           has_room(graph, slot, &child) && !descends(graph, slot, orphan);
}

/* Any node that may take the orphan, or NO_SLOT. Only looked for where all entry points are about
 * to leave. Under tree_lock. */
static uint32_t any_above(const struct graph *graph, uint32_t orphan)
{
    const uint32_t used = atomic_load_explicit(&graph->store->used, memory_order_acquire);
    for (uint32_t slot = 0; slot < used; slot++)
        if (may_take(graph, slot, orphan)) return slot;
    return NO_SLOT;
}

/* An entry point that may take the orphan, or NO_SLOT. Where many are removed at once a node may
 * lose all its neighbours and ancestors, though the graph goes on elsewhere. Under tree_lock. */
static uint32_t entry_above(const struct graph *graph, uint32_t orphan)
{
    const struct neighbours *entries = tk_entries_list(graph);
    bool live = false;
    for (uint32_t i = 0; entries && i < entries->count; i++) {
        const uint32_t slot = tk_neighbour(entries, i);
        if (slot == NO_SLOT) continue;
        if (may_take(graph, slot, orphan)) return slot;
        live = live || (slot != orphan && tk_store_is_live(graph->store, slot));
    }
    return live ? NO_SLOT : any_above(graph, orphan);
}

/* The nearest of the orphan's neighbours that has room and is no descendant, or else the nearest
 * live ancestor, or else an entry point. Under tree_lock. */
static uint32_t choose_new_parent(const struct graph *graph, uint32_t orphan)
{
    const struct neighbours *list = tk_graph_list(graph, orphan);
    struct candidate nearest = {-2, NO_SLOT};
    for (uint32_t i = 0; list && i < list->count; i++) {
        const uint32_t slot = tk_neighbour(list, i);
        const float similarity = tk_link_similarity(list, i);
        if (similarity > nearest.similarity && may_take(graph, slot, orphan))
            nearest = (struct candidate){similarity, slot};
    }
    if (nearest.slot == NO_SLOT) nearest.slot = live_ancestor(graph, orphan);
    return nearest.slot != NO_SLOT ? nearest.slot : entry_above(graph, orphan);
}

/* Gives a node another parent. Where there is none it was below the first node of the graph, and
 * takes that one's place. */
static uint32_t change_parent(struct graph *graph, uint32_t slot)
{
    pthread_mutex_lock(&graph->tree_lock);
    uint32_t parent = choose_new_parent(graph, slot);
    set_parent(graph, slot, parent);
    pthread_mutex_unlock(&graph->tree_lock);
    return parent;
}

/* Links two nodes both ways, whatever else is in their lists. */
static tk_status link_both(struct graph *graph, struct session *session, uint32_t slot,
                           const struct query *query, uint32_t parent)
{
    tk_status status = tk_graph_link(graph, session, parent, slot, query, true);
    return status == TK_OK ? tk_graph_link(graph, session, slot, parent, NULL, true) : status;
}

tk_status tk_tree_link(struct graph *graph, struct session *session, uint32_t slot,
                       const struct query *query)
{
    uint32_t parent = tk_parent(graph, slot);
    for (int try = 0; try < ATTACH_TRIES && tk_store_is_live(graph->store, slot); try++) {
        if (parent == NO_SLOT || !tk_store_is_live(graph->store, parent))
            parent = change_parent(graph, slot);
        if (parent == NO_SLOT) return TK_ENOTFOUND;
        tk_status status = link_both(graph, session, slot, query, parent);
        if (status != TK_ENOTFOUND) return status;
    }
    return TK_ENOTFOUND;
}

void tk_tree_detach(struct graph *graph, struct session *session, uint32_t gone)
{
    const struct neighbours *list = tk_graph_list(graph, gone);
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t slot = tk_neighbour(list, i);
        if (slot != gone && tk_parent(graph, slot) == gone)
            tk_tree_link(graph, session, slot, NULL);
    }
}
