/*
 * graph.c: finding one's way in the graph. Nothing here changes it or takes a lock; see graph.h for
 * why that is enough.
 *
 * A walk keeps the best candidates it has come upon, sorted, and expands the best one that it has
 * not expanded yet, until the `width` best are. To expand a node means to read its row, which gives
 * its similarity by coarse codes, and its neighbour list, which gives guesses of its neighbours'
 * similarities. Only nodes that are expanded are ever touched: one row and one list each, two runs
 * of memory that are asked for before they are needed.
 */
#include "engine/graph.h"

#include "engine/entries.h"

#include <math.h>
#include <string.h>

#define ENTRIES 2
/* Candidates that a walk with a filter may have waiting. */
#define FILTERED_KEEP 1024

void tk_graph_init(struct graph *graph, struct store *store, const tk_index_options *options)
{
    graph->store = store;
    graph->memory = store->memory;
    graph->coder = &store->coder;
    graph->max = options->max_neighbours * 2;
    graph->ef_construction = options->ef_construction;
    graph->seed = options->seed;
    atomic_init(&graph->nodes, 0);
    atomic_init(&graph->entries, NULL);
    pthread_mutex_init(&graph->entry_lock, NULL);
    pthread_mutex_init(&graph->tree_lock, NULL);
    for (size_t i = 0; i < GRAPH_LOCKS; i++) {
        pthread_mutex_init(&graph->out_locks[i], NULL);
        pthread_mutex_init(&graph->in_locks[i], NULL);
    }
}

void tk_graph_destroy(struct graph *graph)
{
    tk_entries_free(graph);
    pthread_mutex_destroy(&graph->entry_lock);
    pthread_mutex_destroy(&graph->tree_lock);
    for (size_t i = 0; i < GRAPH_LOCKS; i++) {
        pthread_mutex_destroy(&graph->out_locks[i]);
        pthread_mutex_destroy(&graph->in_locks[i]);
    }
}

/* ---- Walking --------------------------------------------------------------------------------- */

/* A walk under way. */
struct steps {
    const struct graph *graph;
    struct session *session;
    const struct walk *walk;
    size_t keep; /* of session->best */
    size_t next; /* every candidate before this one has been expanded */
    bool failed;
};

static void prefetch_row(const struct graph *graph, uint32_t slot)
{
    const char *row = (const char *)tk_graph_row(graph, slot);
    const size_t size = sizeof(struct row) + graph->coder->n;
    for (size_t line = 0; line < size; line += 64) __builtin_prefetch(row + line);
}

/* Whether a node may be part of the answer. */
static bool accepts(const struct steps *steps, uint32_t slot)
{
    const struct node *node = tk_store_node(steps->graph->store, slot);
    if (slot == steps->walk->except || tk_node_state(node) != SLOT_LIVE) return false;
    const struct members *members = atomic_load_explicit(&node->members, memory_order_acquire);
    for (uint32_t i = 0; members && i < members->count; i++)
        if (tk_filter_accepts(steps->walk->filter, members->ids[i])) return true;
    return false;
}

/* What a candidate has to be better than to be of use. */
static float floor_of(const struct queue *queue, size_t keep)
{
    return queue->count < keep ? -INFINITY : queue->items[keep - 1].similarity;
}

static float floor_of_walk(const struct steps *steps)
{
    float floor = floor_of(&steps->session->best, steps->keep);
    if (steps->walk->filter)
        floor = fmaxf(floor, floor_of(&steps->session->accepted, steps->walk->keep));
    return floor;
}

/* Takes note of a node that the walk has come upon. */
static void consider(struct steps *steps, struct candidate candidate)
{
    struct session *session = steps->session;
    bool ok = true;
    if (!tk_visited_mark(session, candidate.slot, &ok)) {
        steps->failed = !ok;
        return;
    }
    const size_t at = tk_queue_insert(&session->best, steps->keep, candidate);
    if (at < steps->next) steps->next = at;
    if (at < steps->keep) __builtin_prefetch(tk_store_node(steps->graph->store, candidate.slot));
    if (steps->walk->filter && accepts(steps, candidate.slot))
        tk_queue_insert(&session->accepted, steps->walk->keep, candidate);
}

/* Puts what is now known better than by a guess in its place. */
static void settle(struct steps *steps, size_t at, float similarity)
{
    struct candidate *items = steps->session->best.items;
    const size_t count = steps->session->best.count;
    const struct candidate settled = {similarity, items[at].slot | EXPANDED};
    for (; at > 0 && items[at - 1].similarity < similarity; at--) items[at] = items[at - 1];
    for (; at + 1 < count && items[at + 1].similarity > similarity; at++) items[at] = items[at + 1];
    items[at] = settled;
}

/* The candidate that will most likely be expanded after this one. */
static void prefetch_next(const struct steps *steps)
{
    const struct queue *best = &steps->session->best;
    size_t at = steps->next + 1;
    while (at < best->count && best->items[at].slot & EXPANDED) at++;
    if (at >= best->count || (!steps->walk->filter && at >= steps->walk->width)) return;
    const uint32_t slot = best->items[at].slot;
    prefetch_row(steps->graph, slot);
    const struct neighbours *list = tk_graph_list(steps->graph, slot);
    if (list) tk_links_prefetch(list);
}

/* Expands the candidate at steps->next. */
static void expand(struct steps *steps)
{
    const struct graph *graph = steps->graph;
    const struct query *query = steps->walk->query;
    const uint32_t slot = steps->session->best.items[steps->next].slot;
    const struct neighbours *list = tk_graph_list(graph, slot);
    const float similarity = tk_coarse_similarity(graph->coder, query, tk_graph_row(graph, slot));
    prefetch_next(steps);
    settle(steps, steps->next, similarity);
    for (uint32_t g = 0; list && g * LINKS_GROUP < list->count; g++) {
        const struct link_group *group = tk_link_group(list, g);
        float guesses[LINKS_GROUP];
        tk_links_guess(graph->coder, query, group, similarity, guesses);
        uint32_t length = list->count - g * LINKS_GROUP;
        if (length > LINKS_GROUP) length = LINKS_GROUP;
        for (uint32_t i = 0; i < length; i++) {
            if (!(guesses[i] > floor_of_walk(steps))) continue;
            const uint32_t neighbour = tk_neighbour(list, g * LINKS_GROUP + i);
            if (neighbour != slot) consider(steps, (struct candidate){guesses[i], neighbour});
        }
    }
}

/* Moves on to the best candidate that is to be expanded. */
static bool find_next(struct steps *steps)
{
    const struct queue *best = &steps->session->best;
    while (steps->next < best->count && best->items[steps->next].slot & EXPANDED) steps->next++;
    if (steps->next >= best->count) return false;
    if (!steps->walk->filter) return steps->next < steps->walk->width;
    return best->items[steps->next].similarity >
           floor_of(&steps->session->accepted, steps->walk->keep);
}

tk_status tk_graph_walk(const struct graph *graph, struct session *session, const struct walk *walk)
{
    struct steps steps = {.graph = graph, .session = session, .walk = walk, .keep = walk->keep};
    struct candidate entries[ENTRIES];
    if (walk->filter && steps.keep < FILTERED_KEEP) steps.keep = FILTERED_KEEP;
    session->best.count = session->accepted.count = 0;
    if (!tk_queue_reserve(session, &session->best, steps.keep) ||
        !tk_queue_reserve(session, &session->accepted, walk->keep))
        return TK_ENOMEM;
    tk_visited_clear(&session->visited);
    const size_t count = tk_entries_find(graph, walk->query, entries, ENTRIES);
    for (size_t i = 0; i < count; i++) {
        prefetch_row(graph, entries[i].slot);
        consider(&steps, entries[i]);
    }
    for (size_t expansions = 0; find_next(&steps); expansions++) {
        if (expansions == walk->expansions_max) return TK_EFULL;
        expand(&steps);
        if (steps.failed) return TK_ENOMEM;
    }
    if (walk->filter) {
        const struct queue walked = session->best;
        session->best = session->accepted;
        session->accepted = walked;
    }
    return TK_OK;
}

/* ---- Choosing neighbours --------------------------------------------------------------------- */

uint32_t tk_graph_select(const struct graph *graph, const struct candidate *candidates, size_t n,
                         uint32_t max, uint32_t *chosen, float *similarities, uint32_t *diverse)
{
    uint32_t passed[LIST_MAX], count = 0, passed_count = 0;
    for (size_t i = 0; i < n && count < max; i++) {
        const struct row *row = tk_graph_row(graph, candidates[i].slot);
        bool alone = true;
        for (uint32_t j = 0; alone && j < count; j++)
            alone = tk_rows_similarity(graph->coder, row, tk_graph_row(graph, chosen[j])) <=
                    candidates[i].similarity;
        if (alone) {
            chosen[count] = candidates[i].slot;
            similarities[count++] = candidates[i].similarity;
        } else if (passed_count < max) {
            passed[passed_count++] = (uint32_t)i;
        }
    }
    *diverse = count;
    for (uint32_t i = 0; i < passed_count && count < max; i++) {
        chosen[count] = candidates[passed[i]].slot;
        similarities[count++] = candidates[passed[i]].similarity;
    }
    return count;
}
