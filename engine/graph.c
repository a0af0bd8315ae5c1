/*
 * graph.c: finding one's way in the graph. Nothing here changes it or takes a lock; see graph.h for
 * why that is enough.
 */
#include "engine/graph.h"

#include <math.h>

void tk_graph_init(struct graph *graph, struct store *store, const tk_index_options *options,
                   const struct kernels *kernels)
{
    graph->store = store;
    graph->memory = store->memory;
    graph->kernels = kernels;
    graph->max_upper = options->max_neighbours;
    graph->max_ground = options->max_neighbours * 2;
    graph->ef_construction = options->ef_construction;
    graph->seed = options->seed;
    atomic_init(&graph->drawn, 0);
    atomic_init(&graph->entry, 0);
    pthread_mutex_init(&graph->entry_lock, NULL);
    pthread_mutex_init(&graph->tree_lock, NULL);
    for (size_t i = 0; i < GRAPH_LOCKS; i++) {
        pthread_mutex_init(&graph->out_locks[i], NULL);
        pthread_mutex_init(&graph->in_locks[i], NULL);
    }
}

void tk_graph_destroy(struct graph *graph)
{
    pthread_mutex_destroy(&graph->entry_lock);
    pthread_mutex_destroy(&graph->tree_lock);
    for (size_t i = 0; i < GRAPH_LOCKS; i++) {
        pthread_mutex_destroy(&graph->out_locks[i]);
        pthread_mutex_destroy(&graph->in_locks[i]);
    }
}

bool tk_graph_entry(const struct graph *graph, uint32_t *slot, unsigned *level)
{
    uint64_t entry = atomic_load_explicit(&graph->entry, memory_order_acquire);
    if (!entry) return false;
    *slot = (uint32_t)(entry >> 8);
    *level = (unsigned)(entry & 255) - 1;
    return true;
}

void tk_graph_set_entry(struct graph *graph, uint32_t slot, unsigned level)
{
    uint64_t entry = slot == NO_SLOT ? 0 : (uint64_t)slot << 8 | (level + 1);
    atomic_store_explicit(&graph->entry, entry, memory_order_release);
}

/* The processor fetches the rest of a vector by itself once it sees the direction. */
static void prefetch_vector(const float *vector)
{
    for (size_t line = 0; line < 4; line++) __builtin_prefetch(vector + line * 16);
}

/* Whether a node may be part of the answer. */
static bool accepts(const struct graph *graph, const struct walk *walk, uint32_t slot)
{
    const struct node *node = tk_store_node(graph->store, slot);
    if (slot == walk->except || tk_node_state(node) != SLOT_LIVE) return false;
    if (!walk->filter) return true;
    const struct members *members = atomic_load_explicit(&node->members, memory_order_acquire);
    for (uint32_t i = 0; members && i < members->count; i++)
        if (tk_filter_accepts(walk->filter, members->ids[i])) return true;
    return false;
}

/* Candidates that are not above this can neither be in the answer nor lead to it. */
static float bound(const struct session *session, const struct walk *walk)
{
    if (session->best.count < walk->ef) return -INFINITY;
    return fminf(session->best.items[0].similarity, walk->all_above);
}

/* Takes note of a node that the walk has come upon. */
static bool consider(const struct graph *graph, struct session *session, const struct walk *walk,
                     struct candidate candidate)
{
    if (!(candidate.similarity > bound(session, walk))) return true;
    if (!tk_queue_push_best(session, &session->frontier, candidate)) return false;
    if (!accepts(graph, walk, candidate.slot)) return true;
    struct queue *best = &session->best;
    if (!tk_queue_push_worst(session, best, candidate)) return false;
    while (best->count > walk->ef && best->items[0].similarity < walk->all_above)
        tk_queue_pop_worst(best);
    return true;
}

/* Looks at all neighbours of a node. */
static bool expand(const struct graph *graph, struct session *session, const struct walk *walk,
                   uint32_t slot)
{
    const struct neighbours *list = tk_graph_list(graph, slot, walk->layer);
    if (!list) return true;
    uint32_t fresh[LIST_MAX];
    uint32_t count = 0;
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t neighbour = tk_neighbour(list, i);
        if (!tk_visited_mark(session, neighbour, &ok)) continue;
        fresh[count++] = neighbour;
        prefetch_vector(tk_store_vector(graph->store, neighbour));
    }
    for (uint32_t i = 0; ok && i < count; i++) {
        struct candidate candidate = {tk_graph_similarity(graph, walk->query, fresh[i]), fresh[i]};
        ok = consider(graph, session, walk, candidate);
    }
    return ok;
}

tk_status tk_graph_walk(const struct graph *graph, struct session *session, const struct walk *walk)
{
    tk_visited_clear(&session->visited);
    session->frontier.count = session->best.count = 0;
    for (size_t i = 0; i < session->starts.count; i++) {
        bool ok = true;
        if (tk_visited_mark(session, session->starts.items[i].slot, &ok))
            ok = consider(graph, session, walk, session->starts.items[i]);
        if (!ok) return TK_ENOMEM;
    }
    while (session->frontier.count > 0) {
        struct candidate next = tk_queue_pop_best(&session->frontier);
        if (next.similarity < bound(session, walk)) break;
        if (session->visited.count > walk->visits_max) return TK_EFULL;
        if (!expand(graph, session, walk, next.slot)) return TK_ENOMEM;
    }
    tk_queue_sort(&session->best);
    return TK_OK;
}

/* The best node of a layer that can be reached by always going to a better neighbour. */
static struct candidate climb(const struct graph *graph, const float *query, unsigned layer,
                              struct candidate from)
{
    for (;;) {
        struct candidate best = from;
        const struct neighbours *list = tk_graph_list(graph, from.slot, layer);
        for (uint32_t i = 0; list && i < list->count; i++) {
            uint32_t slot = tk_neighbour(list, i);
            float similarity = tk_graph_similarity(graph, query, slot);
            if (similarity > best.similarity) best = (struct candidate){similarity, slot};
        }
        if (best.slot == from.slot) return best;
        from = best;
    }
}

bool tk_graph_descend(const struct graph *graph, struct session *session, const float *query,
                      unsigned to, unsigned *level, tk_status *status)
{
    uint32_t slot;
    *status = TK_OK;
    session->starts.count = 0;
    if (!tk_graph_entry(graph, &slot, level)) return false;
    if (!tk_queue_reserve(session, &session->starts, 1)) {
        *status = TK_ENOMEM;
        return false;
    }
    struct candidate at = {tk_graph_similarity(graph, query, slot), slot};
    for (unsigned layer = *level; layer > to; layer--) at = climb(graph, query, layer, at);
    session->starts.items[0] = at;
    session->starts.count = 1;
    return true;
}

/* Whether a candidate is nearer to the base than to any that was chosen. */
static bool is_diverse(const struct graph *graph, struct candidate candidate,
                       const uint32_t *chosen, uint32_t count)
{
    const float *vector = tk_store_vector(graph->store, candidate.slot);
    for (uint32_t i = 0; i < count; i++)
        if (tk_graph_similarity(graph, vector, chosen[i]) > candidate.similarity) return false;
    return true;
}

uint32_t tk_graph_select(const struct graph *graph, const struct candidate *candidates, size_t n,
                         uint32_t max, uint32_t *chosen)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n && count < max; i++)
        if (is_diverse(graph, candidates[i], chosen, count)) chosen[count++] = candidates[i].slot;

    /* Both orders are that of the candidates, so those passed over are found by going along. */
    uint32_t diverse = count, next = 0;
    for (size_t i = 0; i < n && count < max / 4 * 3; i++) {
        if (next < diverse && candidates[i].slot == chosen[next])
            next++;
        else
            chosen[count++] = candidates[i].slot;
    }
    return count;
}
