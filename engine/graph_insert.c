/*
 * graph_insert.c: putting a vector into the graph (algorithm 1 of the paper).
 *
 * First the neighbours are found, by walking like a search does. Then the new node's own list is
 * published, and only after that do others link to it; graph.h says why.
 */
#include "engine/entries.h"

#include <string.h>

/* Ids that may share a node. The list is copied when it changes, so it must not become long. */
#define MEMBERS_MAX 512
/* How many of the nearest nodes are asked whether they are of the same vector. */
#define SAME_LOOKS 64
/* An insert looks for neighbours again when all it found had been removed by the time it linked. */
#define LINK_TRIES 64

/* Takes nodes that have died, and `except`, out of the candidates. */
static void keep_live(const struct graph *graph, struct queue *best, uint32_t except)
{
    size_t kept = 0;
    for (size_t i = 0; i < best->count; i++) {
        const uint32_t slot = best->items[i].slot;
        if (slot != except && tk_store_is_live(graph->store, slot))
            best->items[kept++] = best->items[i];
    }
    best->count = kept;
}

/* Fills session->best with candidates and session->selected with the neighbours chosen from them.
 * About a third of ef_construction is expanded, since that is what takes time, and a fifth more
 * than that is looked at: guesses are good enough to say who deserves it. */
static tk_status find_neighbours(struct graph *graph, struct session *session, uint32_t except)
{
    const struct walk walk = {.query = &session->query,
                              .width = graph->ef_construction * 9 / 25,
                              .keep = graph->ef_construction * 6 / 5,
                              .expansions_max = SIZE_MAX};
    tk_status status = tk_graph_walk(graph, session, &walk);
    if (status != TK_OK) return status;
    tk_graph_know_all(graph, session);
    keep_live(graph, &session->best, except);
    struct selection *selected = &session->selected;
    selected->count = tk_graph_select(graph, session->best.items, session->best.count, graph->max,
                                      selected->slots, selected->similarities, &selected->diverse);
    return TK_OK;
}

/* Adds an id to the members of a live node. TK_EFULL when it is dead or has enough of them. */
static tk_status join(struct graph *graph, struct session *session, uint32_t slot, tk_id id)
{
    tk_status status = TK_EFULL;
    pthread_mutex_lock(tk_in_lock(graph, slot));
    const struct node_ids old = tk_store_ids(graph->store, slot);
    if (!tk_store_is_live(graph->store, slot) || old.count >= MEMBERS_MAX) goto out;
    status = TK_ENOMEM;
    struct members *members = tk_store_new_members(graph->store, old.count + 1);
    if (!members) goto out;
    uint32_t i = 0;
    for (; i < old.count && old.ids[i] < id; i++) members->ids[i] = old.ids[i];
    members->ids[i] = id;
    for (; i < old.count; i++) members->ids[i + 1] = old.ids[i];
    tk_store_set_members(graph->store, &session->seat, slot, members);
    status = TK_OK;
out:
    pthread_mutex_unlock(tk_in_lock(graph, slot));
    return status;
}

/* Joins a node of the same vector as `slot` among those that the walk found. TK_ENOTFOUND when
 * there is none with room. */
static tk_status join_same(struct graph *graph, struct session *session, struct row row, tk_id id,
                           uint32_t *slot)
{
    for (size_t i = 0; i < session->best.count && i < SAME_LOOKS; i++) {
        const struct candidate candidate = session->best.items[i];
        if (candidate.similarity < SAME_SIMILARITY) break;
        if (!tk_code_same(graph->coder, row, tk_graph_row(graph, candidate.slot))) continue;
        tk_status status = join(graph, session, candidate.slot, id);
        if (status == TK_EFULL) continue;
        if (status == TK_OK) *slot = candidate.slot;
        return status;
    }
    return TK_ENOTFOUND;
}

/* Publishes the node's own list. */
static bool publish_own(struct graph *graph, struct session *session, uint32_t slot)
{
    pthread_mutex_lock(tk_out_lock(graph, slot));
    bool ok = tk_graph_publish(graph, slot, &session->selected);
    pthread_mutex_unlock(tk_out_lock(graph, slot));
    return ok;
}

/* Adds to the list of a node that has been published those that were found later. */
static bool link_more(struct graph *graph, struct session *session, uint32_t slot)
{
    const struct selection *selected = &session->selected;
    for (uint32_t i = 0; i < selected->count; i++)
        if (tk_graph_link(graph, session, slot, selected->slots[i], NULL, false) == TK_ENOMEM)
            return false;
    return true;
}

/* Makes the neighbours link back. One of them becomes the parent. TK_ENOTFOUND when all have been
 * removed. */
static tk_status link_back(struct graph *graph, struct session *session, uint32_t slot)
{
    const struct selection *selected = &session->selected;
    const struct query *query = &session->query;
    for (uint32_t i = 0; i < selected->count; i++)
        if (tk_graph_link(graph, session, selected->slots[i], slot, query, false) == TK_ENOMEM)
            return TK_ENOMEM;
    return tk_tree_link(graph, session, slot, query);
}

/* Links a new node. All that was found may have been removed meanwhile; then there is nobody to
 * link to, and the neighbours have to be looked for again. */
static tk_status link_node(struct graph *graph, struct session *session, uint32_t slot)
{
    for (int try = 0; try < LINK_TRIES; try++) {
        bool alone;
        tk_status status = try > 0 ? find_neighbours(graph, session, slot) : TK_OK;
        if (status != TK_OK) return status;
        if (try == 0) {
            tk_tree_plant(graph, slot, &session->selected);
            if (!publish_own(graph, session, slot)) return TK_ENOMEM;
            tk_store_set_live(graph->store, slot, true);
        } else if (!link_more(graph, session, slot)) {
            return TK_ENOMEM;
        }
        status = link_back(graph, session, slot);
        if (status != TK_ENOTFOUND) return status;
        if (!tk_entries_begin(graph, session, slot, &alone)) return TK_ENOMEM;
        if (alone || !tk_store_is_live(graph->store, slot)) break;
    }
    return TK_OK;
}

tk_status tk_graph_insert(struct graph *graph, struct session *session, tk_id id, uint32_t *slot)
{
    uint32_t taken;
    *slot = NO_SLOT;
    tk_status status = tk_store_take(graph->store, &session->seat, &taken);
    if (status != TK_OK) return status;
    struct node *node = tk_store_node(graph->store, taken);
    const struct row row =
        tk_code_encode(graph->coder, session->query.rotated, tk_store_codes(graph->store, taken));
    tk_store_spot(graph->store, taken)->scale = row.scale;
    *tk_store_id(graph->store, taken) = id;
    status = find_neighbours(graph, session, taken);
    if (status == TK_OK) status = join_same(graph, session, row, id, slot);
    if (status != TK_ENOTFOUND) {
        tk_store_give(graph->store, node);
        return status;
    }
    *slot = taken;
    atomic_fetch_add_explicit(&graph->nodes, 1, memory_order_relaxed);
    status = link_node(graph, session, taken);
    if (status != TK_OK) {
        tk_store_set_live(graph->store, taken, true);
        tk_graph_remove(graph, session, taken, id);
        return status;
    }
    tk_entries_refresh(graph, session);
    return TK_OK;
}
