/*
 * graph_links.c: changing neighbour lists, and keeping the record of who links to whom.
 *
 * See graph.h for the locks and the invariants; all of them are kept up here.
 */
#include "engine/graph.h"

static bool list_has(const struct neighbours *list, uint32_t slot)
{
    for (uint32_t i = 0; list && i < list->count; i++)
        if (tk_neighbour(list, i) == slot) return true;
    return false;
}

static bool selection_has(const struct selection *selection, uint32_t slot)
{
    for (uint32_t i = 0; i < selection->count; i++)
        if (selection->slots[i] == slot) return true;
    return false;
}

/* Under the in lock. False when memory ran out. */
static bool append(struct graph *graph, struct inlinks *in, uint32_t from)
{
    if (in->count == in->capacity) {
        uint32_t larger = in->capacity ? in->capacity * 2 : 8;
        uint32_t *slots = tk_memory_resize(graph->memory, in->slots, in->capacity * sizeof(*slots),
                                           larger * sizeof(*slots));
        if (!slots) return false;
        in->slots = slots;
        in->capacity = larger;
    }
    in->slots[in->count++] = from;
    return true;
}

/* Enters `from` into the inlinks of `to`. False when `to` is dead or memory ran out. */
static bool enter(struct graph *graph, uint32_t from, uint32_t to, unsigned layer)
{
    struct node *node = tk_store_node(graph->store, to);
    struct inlinks *in = &tk_node_links(node, layer)->in;
    bool entered = false;
    pthread_mutex_lock(tk_in_lock(graph, to));
    if (tk_node_state(node) == SLOT_LIVE) entered = append(graph, in, from);
    pthread_mutex_unlock(tk_in_lock(graph, to));
    return entered;
}

/* Under the in lock. */
static void strike_locked(struct inlinks *in, uint32_t from)
{
    for (uint32_t i = 0; i < in->count; i++)
        if (in->slots[i] == from) {
            in->slots[i] = in->slots[--in->count];
            return;
        }
}

void tk_graph_strike(struct graph *graph, uint32_t from, uint32_t to, unsigned layer)
{
    struct inlinks *in = &tk_node_links(tk_store_node(graph->store, to), layer)->in;
    pthread_mutex_lock(tk_in_lock(graph, to));
    strike_locked(in, from);
    pthread_mutex_unlock(tk_in_lock(graph, to));
}

/* Whether the link is one of the layer's tree. */
static bool is_of_tree(const struct graph *graph, uint32_t from, uint32_t to, unsigned layer)
{
    return (tk_parent(graph, to, layer) == from || tk_parent(graph, from, layer) == to) &&
           tk_node_state(tk_store_node(graph->store, to)) == SLOT_LIVE;
}

/* Replaces the published list. The old one is retired; where there is none yet, the new one is the
 * first. */
static bool put_list(struct graph *graph, struct session *session, uint32_t slot, unsigned layer,
                     const struct selection *selection)
{
    struct neighbours *list = tk_store_new_neighbours(graph->store, selection->count);
    if (!list) return false;
    for (uint32_t i = 0; i < selection->count; i++)
        atomic_init(&list->slots[i], selection->slots[i]);
    struct links *links = tk_node_links(tk_store_node(graph->store, slot), layer);
    struct neighbours *old = atomic_exchange_explicit(&links->out, list, memory_order_acq_rel);
    if (old) tk_epoch_retire(&session->seat, &old->garbage);
    return true;
}

/* The list to publish: those of the selection that can be linked to, and the old ones that are of
 * the tree. Those that were not in the old list are entered where they are, and are in *gained. */
static void compose(struct graph *graph, uint32_t slot, unsigned layer,
                    const struct neighbours *old, const struct selection *selection,
                    struct selection *list, struct selection *gained)
{
    list->count = gained->count = 0;
    for (uint32_t i = 0; old && i < old->count; i++) {
        uint32_t to = tk_neighbour(old, i);
        if (to != slot && !selection_has(selection, to) && is_of_tree(graph, slot, to, layer))
            list->slots[list->count++] = to;
    }
    for (uint32_t i = 0; i < selection->count && list->count < LIST_MAX; i++) {
        uint32_t to = selection->slots[i];
        if (to == slot || selection_has(list, to)) continue;
        if (!list_has(old, to)) {
            if (!enter(graph, slot, to, layer)) continue;
            gained->slots[gained->count++] = to;
        }
        list->slots[list->count++] = to;
    }
}

bool tk_graph_publish(struct graph *graph, struct session *session, uint32_t slot, unsigned layer,
                      const struct selection *selection)
{
    const struct neighbours *old = tk_graph_list(graph, slot, layer);
    struct selection list, gained;
    compose(graph, slot, layer, old, selection, &list, &gained);
    bool put = put_list(graph, session, slot, layer, &list);
    for (uint32_t i = 0; put && old && i < old->count; i++) {
        uint32_t to = tk_neighbour(old, i);
        if (to != slot && !selection_has(&list, to)) tk_graph_strike(graph, slot, to, layer);
    }
    for (uint32_t i = 0; !put && i < gained.count; i++)
        tk_graph_strike(graph, slot, gained.slots[i], layer);
    return put;
}

bool tk_graph_restore(struct graph *graph, struct session *session, uint32_t slot, unsigned layer,
                      const uint32_t *slots, uint32_t count, uint32_t parent)
{
    struct selection list = {.count = count};
    struct links *own = tk_node_links(tk_store_node(graph->store, slot), layer);
    atomic_store_explicit(&own->parent, parent, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = tk_store_node(graph->store, slots[i]);
        if (!append(graph, &tk_node_links(node, layer)->in, slot)) return false;
        list.slots[i] = slots[i];
    }
    return put_list(graph, session, slot, layer, &list);
}

/* The list of `from` with `to` beside it, best first. */
static bool gather(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                   const struct neighbours *list)
{
    struct queue *scratch = &session->scratch;
    scratch->count = 0;
    if (!tk_queue_reserve(session, scratch, (size_t)list->count + 1)) return false;
    const float *base = tk_store_vector(graph->store, from);
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t slot = tk_neighbour(list, i);
        if (slot == from) continue;
        scratch->items[scratch->count++] =
            (struct candidate){tk_graph_similarity(graph, base, slot), slot};
    }
    scratch->items[scratch->count++] = (struct candidate){tk_graph_similarity(graph, base, to), to};
    tk_queue_sort(scratch);
    return true;
}

/* What the list of `from` is to be once `to` is in it. */
static bool with_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                      unsigned layer, bool force, struct selection *selection)
{
    const struct neighbours *list = tk_graph_list(graph, from, layer);
    uint32_t count = list ? list->count : 0;
    uint32_t max = tk_graph_max(graph, layer);
    if (!list || count < max || (force && count < LIST_MAX)) {
        for (uint32_t i = 0; i < count; i++) selection->slots[i] = tk_neighbour(list, i);
        selection->slots[count] = to;
        selection->count = count + 1;
        return true;
    }
    if (!gather(graph, session, from, to, list)) return false;
    selection->count = tk_graph_select(graph, session->scratch.items, session->scratch.count, max,
                                       selection->slots);
    if (force && !selection_has(selection, to)) {
        uint32_t last = selection->count < max ? selection->count++ : max - 1;
        selection->slots[last] = to;
    }
    return true;
}

tk_status tk_graph_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                        unsigned layer, bool force)
{
    struct selection selection = {0};
    tk_status status = TK_OK;
    pthread_mutex_lock(tk_out_lock(graph, from));
    if (tk_node_state(tk_store_node(graph->store, from)) != SLOT_LIVE ||
        tk_node_state(tk_store_node(graph->store, to)) != SLOT_LIVE)
        status = TK_ENOTFOUND;
    else if (!list_has(tk_graph_list(graph, from, layer), to) &&
             (!with_link(graph, session, from, to, layer, force, &selection) ||
              !tk_graph_publish(graph, session, from, layer, &selection)))
        status = TK_ENOMEM;
    pthread_mutex_unlock(tk_out_lock(graph, from));
    return status;
}
