/*
 * graph_remove.c: taking a node out and mending the hole.
 *
 * The node is marked dead first, so that nobody begins to link to it; then every list that has it
 * is found through its inlinks and gets other neighbours in its place, chosen from the removed
 * node's own neighbours by the heuristic that also built the list (compare FreshDiskANN, arXiv
 * 2105.09613). When nothing leads to it any more it is retired. None of this can fail for want of
 * memory: where there is none for a new list, the entry is overwritten with the list's owner, which
 * walks ignore.
 */
#include "engine/graph.h"

/* How many of the dead node's inlinks are looked at between two locks. */
#define INLINK_CHUNK 64

static bool selection_has(const struct selection *selection, uint32_t slot)
{
    for (uint32_t i = 0; i < selection->count; i++)
        if (selection->slots[i] == slot) return true;
    return false;
}

/* The candidates for the place of `gone` in the list of `owner`: live neighbours of gone that the
 * list does not have yet, nearest to the owner first. Empty when memory ran out. */
static void gather_heirs(struct graph *graph, struct session *session, uint32_t owner,
                         uint32_t gone, unsigned layer, const struct selection *kept)
{
    struct queue *heirs = &session->scratch;
    heirs->count = 0;
    const struct neighbours *list = tk_graph_list(graph, gone, layer);
    if (!list || !tk_queue_reserve(session, heirs, list->count)) return;
    const float *base = tk_store_vector(graph->store, owner);
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t slot = tk_neighbour(list, i);
        if (slot == owner || slot == gone || selection_has(kept, slot)) continue;
        if (tk_node_state(tk_store_node(graph->store, slot)) != SLOT_LIVE) continue;
        heirs->items[heirs->count++] =
            (struct candidate){tk_graph_similarity(graph, base, slot), slot};
    }
    tk_queue_sort(heirs);
}

/* Adds the heirs that are nearer to the owner than to anyone in its list; if there is none of that
 * kind the nearest, so that a list does not dwindle. */
static void add_heirs(const struct graph *graph, const struct queue *heirs, uint32_t max,
                      struct selection *list)
{
    uint32_t before = list->count;
    for (size_t i = 0; i < heirs->count && list->count < max; i++) {
        struct candidate heir = heirs->items[i];
        const float *vector = tk_store_vector(graph->store, heir.slot);
        bool diverse = true;
        for (uint32_t j = 0; diverse && j < list->count; j++)
            diverse = tk_graph_similarity(graph, vector, list->slots[j]) <= heir.similarity;
        if (diverse) list->slots[list->count++] = heir.slot;
    }
    if (list->count == before && heirs->count > 0 && list->count < max)
        list->slots[list->count++] = heirs->items[0].slot;
}

/* Takes `gone` out of the list of `owner`. */
static void mend(struct graph *graph, struct session *session, uint32_t owner, uint32_t gone,
                 unsigned layer)
{
    struct selection kept = {0};
    pthread_mutex_lock(tk_out_lock(graph, owner));
    struct neighbours *list = tk_graph_list(graph, owner, layer);
    uint32_t at = NO_SLOT;
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t slot = tk_neighbour(list, i);
        if (slot == gone)
            at = i;
        else if (slot != owner)
            kept.slots[kept.count++] = slot;
    }
    if (at != NO_SLOT) {
        if (tk_node_state(tk_store_node(graph->store, owner)) == SLOT_LIVE) {
            gather_heirs(graph, session, owner, gone, layer, &kept);
            add_heirs(graph, &session->scratch, tk_graph_max(graph, layer), &kept);
        }
        if (!tk_graph_publish(graph, session, owner, layer, &kept)) {
            atomic_store_explicit(&list->slots[at], owner, memory_order_relaxed);
            tk_graph_strike(graph, owner, gone, layer);
        }
    } else {
        tk_graph_strike(graph, owner, gone, layer);
    }
    pthread_mutex_unlock(tk_out_lock(graph, owner));
}

/* Takes the node out of every list that has it. Nobody begins a link to it, so this comes to an
 * end. */
static void mend_all(struct graph *graph, struct session *session, uint32_t gone, unsigned layer)
{
    struct inlinks *in = &tk_node_links(tk_store_node(graph->store, gone), layer)->in;
    for (;;) {
        uint32_t owners[INLINK_CHUNK];
        uint32_t count = 0;
        pthread_mutex_lock(tk_in_lock(graph, gone));
        while (count < in->count && count < INLINK_CHUNK) {
            owners[count] = in->slots[count];
            count++;
        }
        pthread_mutex_unlock(tk_in_lock(graph, gone));
        if (count == 0) return;
        for (uint32_t i = 0; i < count; i++) mend(graph, session, owners[i], gone, layer);
    }
}

/* Strikes the node from the inlinks of its neighbours. Its list stays for the readers that are at
 * it. */
static void let_go(struct graph *graph, uint32_t gone, unsigned layer)
{
    pthread_mutex_lock(tk_out_lock(graph, gone));
    const struct neighbours *list = tk_graph_list(graph, gone, layer);
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t slot = tk_neighbour(list, i);
        if (slot != gone) tk_graph_strike(graph, gone, slot, layer);
    }
    pthread_mutex_unlock(tk_out_lock(graph, gone));
}

/* A live neighbour on the layer, or NO_SLOT. */
static uint32_t live_neighbour(const struct graph *graph, uint32_t slot, unsigned layer)
{
    const struct neighbours *list = tk_graph_list(graph, slot, layer);
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t neighbour = tk_neighbour(list, i);
        if (tk_node_state(tk_store_node(graph->store, neighbour)) == SLOT_LIVE) return neighbour;
    }
    return NO_SLOT;
}

/* The live node on the highest layer, or NO_SLOT. */
static uint32_t highest_node(const struct graph *graph)
{
    uint32_t used = atomic_load_explicit(&graph->store->used, memory_order_acquire);
    uint32_t highest = NO_SLOT;
    int level = -1;
    for (uint32_t slot = 0; slot < used; slot++) {
        const struct node *node = tk_store_node(graph->store, slot);
        if (tk_node_state(node) == SLOT_LIVE && node->level > level) {
            highest = slot;
            level = node->level;
        }
    }
    return highest;
}

/* Moves the entry point away from a dead node. */
static void move_entry(struct graph *graph, uint32_t gone)
{
    pthread_mutex_lock(&graph->entry_lock);
    uint32_t entry;
    unsigned level;
    if (tk_graph_entry(graph, &entry, &level) && entry == gone) {
        uint32_t next = live_neighbour(graph, gone, level);
        if (next == NO_SLOT) next = highest_node(graph);
        tk_graph_set_entry(graph, next,
                           next == NO_SLOT ? 0 : tk_store_node(graph->store, next)->level);
    }
    pthread_mutex_unlock(&graph->entry_lock);
}

/* Takes one occurrence of the id out of the members. The last one makes the node dead. */
static tk_status leave(struct graph *graph, struct session *session, uint32_t slot, tk_id id,
                       bool *dead)
{
    struct node *node = tk_store_node(graph->store, slot);
    tk_status status = TK_OK;
    *dead = false;
    pthread_mutex_lock(tk_in_lock(graph, slot));
    struct members *old = atomic_load_explicit(&node->members, memory_order_relaxed);
    uint32_t at = 0;
    while (at < old->count && old->ids[at] != id) at++;
    if (at == old->count || tk_node_state(node) == SLOT_DEAD) goto out;
    if (old->count == 1) {
        atomic_store_explicit(&node->state, SLOT_DEAD, memory_order_release);
        *dead = true;
        goto out;
    }
    struct members *members = tk_store_new_members(graph->store, old->count - 1);
    if (!members) {
        status = TK_ENOMEM;
        goto out;
    }
    for (uint32_t i = 0; i < members->count; i++) members->ids[i] = old->ids[i < at ? i : i + 1];
    atomic_store_explicit(&node->members, members, memory_order_release);
    tk_epoch_retire(&session->seat, &old->garbage);
out:
    pthread_mutex_unlock(tk_in_lock(graph, slot));
    return status;
}

tk_status tk_graph_remove(struct graph *graph, struct session *session, uint32_t slot, tk_id id)
{
    bool dead;
    tk_status status = leave(graph, session, slot, id, &dead);
    if (!dead) return status;
    struct node *node = tk_store_node(graph->store, slot);
    move_entry(graph, slot);
    for (unsigned layer = node->level + 1u; layer-- > 0;) {
        mend_all(graph, session, slot, layer);
        let_go(graph, slot, layer);
        tk_tree_detach(graph, session, slot, layer);
    }
    tk_epoch_retire(&session->seat, &node->garbage);
    return TK_OK;
}
