/*
 * graph.c: finding one's way in the graph. Nothing here changes it or takes a lock; see graph.h for
 * why that is enough.
 *
 * A walk keeps the best candidates it has come upon, sorted, and expands the best one that it has
 * not expanded yet, until the `width` best are. To expand a node means to read its row, which gives
 * its similarity by coarse codes, and its neighbour list, which gives guesses of its neighbours'
 * similarities. Only nodes that are expanded are ever touched: one row and one list each, two runs
 * of memory that are asked for while the node before is being expanded.
 */
#include "engine/graph.h"

#include "engine/entries.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define ENTRIES 2
/* Rows that are asked for before they are read. */
#define LOOK_AHEAD 3
/* Steps on which a walk goes wherever looks best. */
#define STEEP_STEPS 4
/* Lines of the list that comes next that are asked for at each neighbour that is looked at: few, so
 * that there are free buffers for them. */
#define LINES_EACH 3
/* Candidates that a walk with a filter may have waiting. */
#define FILTERED_KEEP 1024
/* After so many expansions a walk with a filter has seen enough nodes to judge by how many it will
 * need. */
#define JUDGE_AFTER 16

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
    size_t keep;         /* of session->best */
    size_t next;         /* every candidate before this one has been expanded */
    uint32_t promised;   /* the slot to be expanded next, whose memory is on its way; or NO_SLOT */
    size_t seen, passed; /* nodes that the filter was asked about, and those it accepted */
    bool failed;
};

static void prefetch_row(const struct graph *graph, uint32_t slot)
{
    const int8_t *codes = tk_store_codes(graph->store, slot);
    for (uint32_t i = 0; i < graph->coder->n; i += 64) __builtin_prefetch(codes + i);
}

/* What a candidate has to be better than to be of use. */
static float floor_of(const struct queue *queue, size_t keep)
{
    return queue->count < keep ? -INFINITY : queue->items[keep - 1].similarity;
}

static float floor_of_walk(const struct steps *steps)
{
    if (steps->walk->filter) return floor_of(&steps->session->accepted, steps->walk->keep);
    return floor_of(&steps->session->best, steps->keep);
}

/* Lets the candidates go before which a walk with a filter will end in any case: they would only
 * have to be moved about. */
static void drop_hopeless(struct steps *steps)
{
    struct queue *best = &steps->session->best;
    const float floor = floor_of(&steps->session->accepted, steps->walk->width);
    while (best->count > 0 && best->items[best->count - 1].similarity <= floor) best->count--;
    if (steps->next > best->count) steps->next = best->count;
}

/* Takes note of whether the filter accepts a candidate. Returns whether it is to be expanded at
 * all: a walk with a filter ends at what is no better than those it has accepted. */
static bool is_on_the_way(struct steps *steps, struct candidate candidate, bool wanted)
{
    struct queue *accepted = &steps->session->accepted;
    steps->seen++;
    if (wanted) {
        steps->passed++;
        if (tk_queue_insert(accepted, steps->walk->keep, candidate) < steps->walk->width)
            drop_hopeless(steps);
    }
    return candidate.similarity > floor_of(accepted, steps->walk->width);
}

/* Takes note of a node that the walk has come upon; `wanted`: its filter accepts it. */
static void consider(struct steps *steps, struct candidate candidate, bool wanted)
{
    struct session *session = steps->session;
    bool ok = true;
    if (!tk_visited_mark(session, candidate.slot, &ok)) {
        steps->failed = !ok;
        return;
    }
    if (steps->walk->filter && !is_on_the_way(steps, candidate, wanted)) return;
    const size_t at = tk_queue_insert(&session->best, steps->keep, candidate);
    if (at < steps->next) steps->next = at;
    if (at < steps->keep) __builtin_prefetch(tk_store_spot(steps->graph->store, candidate.slot));
}

/* Puts what is now known better than by a guess in its place. */
static void settle(struct queue *queue, size_t at, float similarity)
{
    struct candidate *items = queue->items;
    const struct candidate settled = {similarity, items[at].slot | EXPANDED};
    for (; at > 0 && items[at - 1].similarity < similarity; at--) items[at] = items[at - 1];
    for (; at + 1 < queue->count && items[at + 1].similarity > similarity; at++)
        items[at] = items[at + 1];
    items[at] = settled;
}

/* The same among those that the filter accepts, where it is one: guesses there would end the walk
 * too early or too late. */
static void settle_accepted(struct steps *steps, struct candidate guessed, float similarity)
{
    struct queue *accepted = &steps->session->accepted;
    size_t at = 0;
    for (size_t end = accepted->count; at < end;) {
        const size_t middle = (at + end) / 2;
        if (accepted->items[middle].similarity > guessed.similarity)
            at = middle + 1;
        else
            end = middle;
    }
    for (; at < accepted->count && accepted->items[at].similarity == guessed.similarity; at++) {
        if (accepted->items[at].slot != guessed.slot) continue;
        settle(accepted, at, similarity);
        return;
    }
}

/* How far down the queue there are candidates to be expanded. */
static size_t reach(const struct steps *steps)
{
    const size_t count = steps->session->best.count;
    return steps->walk->filter || count < steps->walk->width ? count : steps->walk->width;
}

/* Chooses the candidate to be expanded after the one at `at`: the best of the others that are
 * waiting now. */
static void promise_next(struct steps *steps, size_t at)
{
    const struct candidate *items = steps->session->best.items;
    const size_t end = reach(steps);
    size_t next = steps->next;
    while (next < end && (next == at || items[next].slot & EXPANDED)) next++;
    steps->promised = next < end ? items[next].slot : NO_SLOT;
}

/* Which of some candidates may be part of the answer. */
static uint64_t wanted_of(const struct steps *steps, const struct candidate *candidates,
                          uint32_t count)
{
    uint32_t slots[LINKS_GROUP];
    if (!steps->walk->filter || count == 0) return 0;
    for (uint32_t i = 0; i < count; i++) slots[i] = candidates[i].slot;
    return tk_filter_slots(steps->walk->filter, steps->graph->store, slots, count);
}

/* Takes note of those neighbours of an expanded node whose guesses are good enough: most of them
 * are known from another node already. */
static void consider_group(struct steps *steps, const struct link_group *group,
                           const float guesses[LINKS_GROUP], uint32_t length, struct lines *ahead)
{
    const struct store *store = steps->graph->store;
    struct candidate good[LINKS_GROUP];
    uint32_t count = 0;
    uint32_t left = steps->graph->coder->kernels->above(guesses, floor_of_walk(steps));
    if (length < LINKS_GROUP) left &= (UINT32_C(1) << length) - 1;
    for (; left != 0; left &= left - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(left);
        const uint32_t slot = atomic_load_explicit(&group->slots[i], memory_order_relaxed);
        tk_lines_prefetch(ahead, LINES_EACH);
        if (tk_visited_has(&steps->session->visited, slot)) continue;
        good[count++] = (struct candidate){guesses[i], slot};
        if (steps->walk->filter) __builtin_prefetch(tk_store_id(store, slot));
    }
    const uint64_t wanted = wanted_of(steps, good, count);
    for (uint32_t i = 0; i < count; i++) {
        tk_lines_prefetch(ahead, LINES_EACH);
        if (good[i].similarity > floor_of_walk(steps)) consider(steps, good[i], wanted >> i & 1);
    }
}

/* Expands the candidate at a place in the queue. */
static void expand(struct steps *steps, size_t at)
{
    const struct graph *graph = steps->graph;
    const struct query *query = steps->walk->query;
    const struct candidate guessed = steps->session->best.items[at];
    const uint32_t slot = guessed.slot;
    const struct row row = tk_graph_row(graph, slot);
    const struct neighbours *list = tk_graph_list(graph, slot), *ahead = NULL;
    const int8_t *codes_ahead = row.coarse;
    promise_next(steps, at);
    if (steps->promised != NO_SLOT) {
        codes_ahead = tk_store_codes(graph->store, steps->promised);
        ahead = tk_graph_list(graph, steps->promised);
        if (ahead) tk_links_prefetch(ahead);
    }
    const float similarity = tk_coarse_similarity_ahead(graph->coder, query, row, codes_ahead);
    settle(&steps->session->best, at, similarity);
    if (steps->walk->filter) settle_accepted(steps, guessed, similarity);
    struct lines rest = tk_links_second_half(graph->coder, ahead);
    for (uint32_t g = 0; list && g * LINKS_GROUP < list->count; g++) {
        const struct link_group *group = tk_link_group(list, g);
        const uint32_t left = list->count - g * LINKS_GROUP;
        float guesses[LINKS_GROUP];
        tk_links_guess(graph->coder, query, group, similarity, guesses, ahead);
        consider_group(steps, group, guesses, left < LINKS_GROUP ? left : LINKS_GROUP, &rest);
    }
    tk_lines_prefetch(&rest, INT_MAX);
}

/* Moves on to the best candidate that is to be expanded. */
static bool find_next(struct steps *steps)
{
    const struct queue *best = &steps->session->best;
    while (steps->next < best->count && best->items[steps->next].slot & EXPANDED) steps->next++;
    if (steps->next >= best->count) return false;
    if (!steps->walk->filter) return steps->next < steps->walk->width;
    return best->items[steps->next].similarity >
           floor_of(&steps->session->accepted, steps->walk->width);
}

/* Whether the walk would take more expansions than it may. */
static bool takes_too_long(const struct steps *steps, size_t expansions)
{
    const struct walk *walk = steps->walk;
    if (expansions >= walk->expansions_max) return true;
    if (!walk->filter || expansions != JUDGE_AFTER) return false;
    const double rarity = (double)(steps->seen + 1) / (double)(steps->passed + 1);
    return EXPANSIONS_EACH * (double)walk->width * rarity > (double)walk->expansions_max;
}

/* The place of the candidate that comes now. On its first steps, where better and better ones turn
 * up, a walk takes the best; after that the promised one, whose memory is there already: nearly all
 * that are waiting will be expanded in any case, so their order matters little. */
static size_t place_of_next(const struct steps *steps, size_t expansions)
{
    const struct candidate *items = steps->session->best.items;
    const size_t end = reach(steps);
    if (expansions < STEEP_STEPS || steps->promised == NO_SLOT) return steps->next;
    for (size_t at = steps->next; at < end; at++)
        if (items[at].slot == steps->promised) return at;
    return steps->next;
}

tk_status tk_graph_walk(const struct graph *graph, struct session *session, const struct walk *walk)
{
    struct steps steps = {
        .graph = graph, .session = session, .walk = walk, .keep = walk->keep, .promised = NO_SLOT};
    struct candidate entries[ENTRIES];
    if (walk->filter && steps.keep < FILTERED_KEEP) steps.keep = FILTERED_KEEP;
    session->best.count = session->accepted.count = 0;
    if (!tk_queue_reserve(session, &session->best, steps.keep) ||
        !tk_queue_reserve(session, &session->accepted, walk->keep))
        return TK_ENOMEM;
    tk_visited_clear(&session->visited);
    const size_t count = tk_entries_find(graph, walk->query, entries, ENTRIES);
    const uint64_t wanted = wanted_of(&steps, entries, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        prefetch_row(graph, entries[i].slot);
        consider(&steps, entries[i], wanted >> i & 1);
    }
    for (size_t expansions = 0; find_next(&steps); expansions++) {
        if (takes_too_long(&steps, expansions)) return TK_EFULL;
        expand(&steps, place_of_next(&steps, expansions));
        if (steps.failed) return TK_ENOMEM;
    }
    if (walk->filter) {
        const struct queue walked = session->best;
        session->best = session->accepted;
        session->accepted = walked;
    }
    return TK_OK;
}

void tk_graph_know_all(const struct graph *graph, struct session *session)
{
    struct queue *best = &session->best;
    size_t ahead = 0;
    for (size_t i = 0; i < best->count; i++) {
        struct candidate *candidate = &best->items[i];
        for (; ahead < best->count && ahead <= i + LOOK_AHEAD; ahead++)
            if (!(best->items[ahead].slot & EXPANDED))
                tk_codes_prefetch(tk_store_codes(graph->store, best->items[ahead].slot));
        if (!(candidate->slot & EXPANDED))
            candidate->similarity = tk_coarse_similarity(graph->coder, &session->query,
                                                         tk_graph_row(graph, candidate->slot));
        candidate->slot = tk_candidate_slot(*candidate);
    }
    tk_candidates_sort(best->items, best->count);
}

/* ---- Choosing neighbours --------------------------------------------------------------------- */

uint32_t tk_graph_select(const struct graph *graph, const struct candidate *candidates, size_t n,
                         uint32_t max, uint32_t *chosen, float *similarities, uint32_t *diverse)
{
    uint32_t passed[LIST_MAX], count = 0, passed_count = 0;
    for (size_t i = 0; i < n && count < max; i++) {
        const struct row row = tk_graph_row(graph, candidates[i].slot);
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
