/*
 * graph_remove.c: taking a node out and mending the hole.
 *
 * The node is marked dead first, so that nobody begins to link to it; then every list that has it
 * is found through its inlinks and gets another neighbour in its place, chosen from the removed
 * node's own neighbours by the heuristic that also built the list (compare FreshDiskANN, arXiv
 * 2105.09613). When nothing leads to it any more it is retired. None of this can fail for want of
 * memory: where there is none for a new list, the entry is overwritten with the list's owner, which
 * walks ignore.
 */
#include "engine/entries.h"

/* How many of the dead node's inlinks are looked at between two locks. */
#define INLINK_CHUNK 64
/* How many heirs are asked whether they are diverse. */
#define HEIR_LOOKS 4

/* Whether no neighbour that the owner has, apart from the one at `at`, is nearer to the node than
 * the owner is. */
static bool is_diverse(const struct graph *graph, const struct neighbours *list, uint32_t at,
                       struct candidate node)
{
    const struct row row = tk_graph_row(graph, node.slot);
    for (uint32_t i = 0; i < list->count; i++) {
        if (i == at || tk_link_is_spare(list, i)) continue;
        const struct row other = tk_graph_row(graph, tk_neighbour(list, i));
        if (tk_link_similarity(list, i) > node.similarity &&
            tk_rows_similarity(graph->coder, row, other) > node.similarity)
            return false;
    }
    return true;
}

/* Marks the owner of a list and those who are in it. False when memory ran out. */
static bool mark_list(struct session *session, uint32_t owner, const struct neighbours *list)
{
    bool ok = true;
    tk_visited_clear(&session->visited);
    tk_visited_mark(session, owner, &ok);
    for (uint32_t i = 0; ok && i < list->count; i++)
        tk_visited_mark(session, tk_neighbour(list, i), &ok);
    return ok;
}

/* The candidates for the place of `gone` in the list of `owner`: live neighbours of gone that the
 * list does not have yet, nearest to the owner first. Empty when memory ran out. */
static void gather_heirs(struct graph *graph, struct session *session, uint32_t owner,
                         uint32_t gone)
{
    const struct neighbours *list = tk_graph_list(graph, gone);
    const struct row base = tk_graph_row(graph, owner);
    struct queue *heirs = &session->scratch;
    heirs->count = 0;
    if (!list || !tk_queue_reserve(session, heirs, list->count) ||
        !mark_list(session, owner, tk_graph_list(graph, owner)))
        return;
    for (uint32_t i = 0; i < list->count; i++) {
        const uint32_t slot = tk_neighbour(list, i);
        if (slot == gone || tk_visited_has(&session->visited, slot) ||
            !tk_store_is_live(graph->store, slot))
            continue;
        const float similarity = tk_rows_similarity(graph->coder, base, tk_graph_row(graph, slot));
        heirs->items[heirs->count++] = (struct candidate){similarity, slot};
    }
    tk_candidates_sort(heirs->items, heirs->count);
}

/* Puts an heir into position `at` of the owner's list: the nearest diverse one, or else the
 * nearest. */
static bool put_heir(struct graph *graph, struct session *session, uint32_t owner, uint32_t at)
{
    const struct neighbours *list = tk_graph_list(graph, owner);
    const struct queue *heirs = &session->scratch;
    for (size_t i = 0; i < heirs->count && i < HEIR_LOOKS; i++)
        if (is_diverse(graph, list, at, heirs->items[i]) &&
            tk_graph_put_link(graph, session, owner, at, heirs->items[i].slot,
                              heirs->items[i].similarity, false))
            return true;
    for (size_t i = 0; i < heirs->count; i++)
        if (tk_graph_put_link(graph, session, owner, at, heirs->items[i].slot,
                              heirs->items[i].similarity, true))
            return true;
    return false;
}

/* Takes `gone` out of the list of `owner`. */
static void mend(struct graph *graph, struct session *session, uint32_t owner, uint32_t gone)
{
    pthread_mutex_lock(tk_out_lock(graph, owner));
    struct neighbours *list = tk_graph_list(graph, owner);
    const uint32_t at = tk_links_find(list, gone);
    if (at == LINKS_NONE) {
        tk_graph_strike(graph, owner, gone);
        goto out;
    }
    bool mended = false;
    if (tk_store_is_live(graph->store, owner)) {
        gather_heirs(graph, session, owner, gone);
        mended = put_heir(graph, session, owner, at);
    }
    if (!mended && !tk_graph_drop_link(graph, session, owner, at)) {
        atomic_store_explicit(&tk_link_group(list, at / LINKS_GROUP)->slots[at % LINKS_GROUP],
                              owner, memory_order_relaxed);
        tk_graph_strike(graph, owner, gone);
    }
out:
    pthread_mutex_unlock(tk_out_lock(graph, owner));
}

/* Takes the node out of every list that has it. Nobody begins a link to it, so this comes to an
 * end. */
static void mend_all(struct graph *graph, struct session *session, uint32_t gone)
{
    struct inlinks *in = &tk_store_node(graph->store, gone)->in;
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
        for (uint32_t i = 0; i < count; i++) mend(graph, session, owners[i], gone);
    }
}

/* Strikes the node from the inlinks of its neighbours. Its list stays for the readers that are at
 * it. */
static void let_go(struct graph *graph, uint32_t gone)
{
    pthread_mutex_lock(tk_out_lock(graph, gone));
    const struct neighbours *list = tk_graph_list(graph, gone);
    for (uint32_t i = 0; list && i < list->count; i++) {
        const uint32_t slot = tk_neighbour(list, i);
        if (slot != gone) tk_graph_strike(graph, gone, slot);
    }
    pthread_mutex_unlock(tk_out_lock(graph, gone));
}

/* Takes one occurrence of the id out of the members. The last one makes the node dead. */
static tk_status leave(struct graph *graph, struct session *session, uint32_t slot, tk_id id,
                       bool *dead)
{
    tk_status status = TK_OK;
    *dead = false;
    pthread_mutex_lock(tk_in_lock(graph, slot));
    const struct node_ids old = tk_store_ids(graph->store, slot);
    uint32_t at = 0;
    while (at < old.count && old.ids[at] != id) at++;
    if (at == old.count || !tk_store_is_live(graph->store, slot)) goto out;
    if (old.count == 1) {
        tk_store_set_live(graph->store, slot, false);
        *dead = true;
        goto out;
    }
    struct members *members = tk_store_new_members(graph->store, old.count - 1);
    if (!members) {
        status = TK_ENOMEM;
        goto out;
    }
    for (uint32_t i = 0; i < members->count; i++) members->ids[i] = old.ids[i < at ? i : i + 1];
    tk_store_set_members(graph->store, &session->seat, slot, members);
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
    atomic_fetch_sub_explicit(&graph->nodes, 1, memory_order_relaxed);
    tk_entries_leave(graph, session, slot);
    mend_all(graph, session, slot);
    let_go(graph, slot);
    tk_tree_detach(graph, session, slot);
    tk_epoch_retire(&session->seat, &node->garbage);
    tk_entries_refresh(graph, session);
    return TK_OK;
}
