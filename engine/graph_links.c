/*
 * graph_links.c: changing neighbour lists, and keeping the record of who links to whom.
 *
 * See graph.h for the locks and the invariants; all of them are kept up here.
 *
 * A LINK IS ADDED to a full list without going to the neighbours that it has: the list itself holds
 * their similarities to the owner, and guesses of their similarities to the new neighbour come from
 * its signs like those of a query do. With these the selection heuristic is applied as if the new
 * one had been there from the start: neighbours that it is nearer to than to the owner become
 * spare, it is spare itself where the list has one like that for it, and the farthest of the spare
 * ones goes. Measured against choosing from scratch with exact similarities the recall of the graph
 * is the same.
 */
#include "engine/graph.h"

#include <math.h>
#include <string.h>

/* ---- Inlinks --------------------------------------------------------------------------------- */

/* Under the in lock. */
static bool append(struct graph *graph, struct inlinks *in, uint32_t from)
{
    if (in->count == in->capacity) {
        /* In small steps: there is one of these for each vector. */
        uint32_t larger = in->capacity + in->capacity / 16 + 6;
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
static bool enter(struct graph *graph, uint32_t from, uint32_t to)
{
    struct node *node = tk_store_node(graph->store, to);
    pthread_mutex_lock(tk_in_lock(graph, to));
    bool entered = tk_store_is_live(graph->store, to) && append(graph, &node->in, from);
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

void tk_graph_strike(struct graph *graph, uint32_t from, uint32_t to)
{
    pthread_mutex_lock(tk_in_lock(graph, to));
    strike_locked(&tk_store_node(graph->store, to)->in, from);
    pthread_mutex_unlock(tk_in_lock(graph, to));
}

/* ---- Lists ----------------------------------------------------------------------------------- */

/* Replaces the published list and returns the old one, which the caller retires or puts back. Under
 * the out lock. */
static struct neighbours *exchange(struct graph *graph, uint32_t slot, struct neighbours *list)
{
    struct spot *spot = tk_store_spot(graph->store, slot);
    return atomic_exchange_explicit(&spot->out, list, memory_order_acq_rel);
}

/* A copy of a list, NULL where there is none, with room for `count` links; NULL when memory ran
 * out. */
static struct neighbours *copy_list(struct graph *graph, const struct neighbours *list,
                                    uint32_t count)
{
    const uint32_t least = tk_links_groups(graph->max), needed = tk_links_groups(count);
    struct neighbours *copy =
        tk_store_new_neighbours(graph->store, count, needed > least ? needed : least);
    if (!copy || !list) return copy;
    if (copy->groups == list->groups) {
        memcpy(copy->content, list->content, tk_links_size(list->n, list->groups) - sizeof(*list));
    } else {
        for (uint32_t i = 0; i < list->count && i < count; i++)
            tk_link_copy(graph->coder, copy, i, list, i);
    }
    return copy;
}

bool tk_graph_publish(struct graph *graph, uint32_t slot, const struct selection *selection)
{
    struct neighbours *list = copy_list(graph, NULL, selection->count);
    const struct row owner = tk_graph_row(graph, slot);
    if (!list) return false;
    list->count = 0;
    for (uint32_t i = 0; i < selection->count; i++) {
        const uint32_t to = selection->slots[i];
        if (to == slot || !enter(graph, slot, to)) continue;
        tk_link_put(graph->coder, list, list->count++, owner, to, tk_graph_row(graph, to),
                    selection->similarities[i], i >= selection->diverse);
    }
    exchange(graph, slot, list);
    return true;
}

bool tk_graph_put_link(struct graph *graph, struct session *session, uint32_t owner, uint32_t at,
                       uint32_t to, float similarity, bool spare)
{
    const struct neighbours *old = tk_graph_list(graph, owner);
    const uint32_t count = old ? old->count : 0;
    if (!enter(graph, owner, to)) return false;
    struct neighbours *list = copy_list(graph, old, at < count ? count : count + 1);
    if (!list) {
        tk_graph_strike(graph, owner, to);
        return false;
    }
    tk_link_put(graph->coder, list, at, tk_graph_row(graph, owner), to, tk_graph_row(graph, to),
                similarity, spare);
    struct neighbours *before = exchange(graph, owner, list);
    const uint32_t victim = at < count ? tk_neighbour(old, at) : owner;
    if (victim != owner) tk_graph_strike(graph, owner, victim);
    tk_store_retire_list(&session->seat, before);
    return true;
}

bool tk_graph_drop_link(struct graph *graph, struct session *session, uint32_t owner, uint32_t at)
{
    const struct neighbours *old = tk_graph_list(graph, owner);
    const uint32_t gone = tk_neighbour(old, at), last = old->count - 1;
    struct neighbours *list = copy_list(graph, old, last);
    if (!list) return false;
    if (at < last) tk_link_copy(graph->coder, list, at, old, last);
    tk_store_retire_list(&session->seat, exchange(graph, owner, list));
    if (gone != owner) tk_graph_strike(graph, owner, gone);
    return true;
}

/* ---- Linking --------------------------------------------------------------------------------- */

/* What adding a link to a list comes to. */
struct addition {
    const struct neighbours *list;
    float similarity;        /* of owner and new neighbour */
    float between[LIST_MAX]; /* of the new neighbour and each that is there, guessed */
    bool spare;              /* the new one is */
};

/* Whether the link is one of the tree. */
static bool is_of_tree(const struct graph *graph, uint32_t from, uint32_t to)
{
    return (tk_parent(graph, to) == from || tk_parent(graph, from) == to) &&
           tk_store_is_live(graph->store, to);
}

/* Applies the heuristic to the new neighbour `to`. */
static void weigh(const struct graph *graph, uint32_t to, const struct query *query,
                  struct addition *addition)
{
    const struct neighbours *list = addition->list;
    addition->spare = false;
    for (uint32_t g = 0; query && g * LINKS_GROUP < list->count; g++)
        tk_links_guess(graph->coder, query, tk_link_group(list, g), addition->similarity,
                       addition->between + g * LINKS_GROUP, NULL);
    for (uint32_t i = 0; !query && i < list->count; i++)
        addition->between[i] = tk_rows_similarity(graph->coder, tk_graph_row(graph, to),
                                                  tk_graph_row(graph, tk_neighbour(list, i)));
    for (uint32_t i = 0; i < list->count; i++)
        addition->spare |= !tk_link_is_spare(list, i) &&
                           tk_link_similarity(list, i) > addition->similarity &&
                           addition->between[i] > addition->similarity;
}

/* Whether a neighbour that is there is spare once the new one is there too. */
static bool becomes_spare(const struct addition *addition, uint32_t i)
{
    const float similarity = tk_link_similarity(addition->list, i);
    if (tk_link_is_spare(addition->list, i)) return true;
    return !addition->spare && similarity < addition->similarity &&
           addition->between[i] > similarity;
}

/* The place in a full list that the new neighbour takes: that of the farthest spare one, or, where
 * there is none, of the farthest; LINKS_NONE when all are better than the new one. With `force`
 * some place, unless all are of the tree. */
static uint32_t victim_of(const struct graph *graph, uint32_t from, const struct addition *addition,
                          bool force)
{
    const struct neighbours *list = addition->list;
    bool barred[LIST_MAX] = {false};
    for (;;) {
        uint32_t spare = LINKS_NONE, any = LINKS_NONE;
        for (uint32_t i = 0; i < list->count; i++) {
            const float similarity = tk_link_similarity(list, i);
            if (barred[i]) continue;
            if (any == LINKS_NONE || similarity < tk_link_similarity(list, any)) any = i;
            if (becomes_spare(addition, i) &&
                (spare == LINKS_NONE || similarity < tk_link_similarity(list, spare)))
                spare = i;
        }
        uint32_t victim = spare;
        if (victim == LINKS_NONE && (!addition->spare || force)) victim = any;
        if (victim == LINKS_NONE) return LINKS_NONE;
        const bool better = tk_link_similarity(list, victim) < addition->similarity;
        const bool diverse = !addition->spare && victim == spare;
        if (!better && !diverse && !force) return LINKS_NONE;
        if (!is_of_tree(graph, from, tk_neighbour(list, victim))) return victim;
        barred[victim] = true;
    }
}

/* Under the out lock of `from`. Errors as tk_graph_link. */
static tk_status add_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                          const struct query *query, bool force)
{
    struct addition addition = {.list = tk_graph_list(graph, from)};
    const uint32_t count = addition.list ? addition.list->count : 0;
    addition.similarity = tk_link_rounded(
        tk_rows_similarity(graph->coder, tk_graph_row(graph, from), tk_graph_row(graph, to)));
    if (count > 0) weigh(graph, to, query, &addition);
    uint32_t at = count < graph->max ? count : victim_of(graph, from, &addition, force);
    if (at == LINKS_NONE && force && count < LIST_MAX) at = count;
    if (at == LINKS_NONE) return TK_OK;

    bool spare[LIST_MAX];
    for (uint32_t i = 0; i < count; i++) spare[i] = becomes_spare(&addition, i);
    if (!tk_graph_put_link(graph, session, from, at, to, addition.similarity, addition.spare))
        return tk_store_is_live(graph->store, to) ? TK_ENOMEM : TK_ENOTFOUND;
    /* Only writers look at who is spare, and they hold this lock. */
    struct neighbours *list = tk_graph_list(graph, from);
    for (uint32_t i = 0; i < count; i++)
        if (i != at) tk_link_set_spare(list, i, spare[i]);
    return TK_OK;
}

tk_status tk_graph_link(struct graph *graph, struct session *session, uint32_t from, uint32_t to,
                        const struct query *query, bool force)
{
    tk_status status = TK_OK;
    pthread_mutex_lock(tk_out_lock(graph, from));
    if (!tk_store_is_live(graph->store, from) || !tk_store_is_live(graph->store, to))
        status = TK_ENOTFOUND;
    else if (from != to && tk_links_find(tk_graph_list(graph, from), to) == LINKS_NONE)
        status = add_link(graph, session, from, to, query, force);
    pthread_mutex_unlock(tk_out_lock(graph, from));
    return status;
}
