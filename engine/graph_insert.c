/*
 * graph_insert.c: putting a vector into the graph (algorithm 1 of the paper).
 *
 * First the neighbours on every layer are found, by walking like a search does. Then the new node's
 * own lists are published, on all its layers, and only after that do others link to it, from the
 * ground layer up; graph.h says why.
 */
#include "engine/graph.h"
#include "engine/vector.h"

#include <math.h>
#include <string.h>

/* Vectors nearer than this are one: it is what normalising leaves between a vector and a multiple
 * of it, and far below what tk_index_get may deviate. */
#define SAME_DISTANCE 1e-6
/* Ids that may share a node. The list is copied when it changes, so it must not become long. */
#define MEMBERS_MAX 512
/* How many of the nearest nodes are asked whether they are of the same vector. */
#define SAME_LOOKS 64
/* An insert looks for neighbours again when all it found had been removed by the time it linked. */
#define LINK_TRIES 64

static uint64_t splitmix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The paper's l = floor(-ln(uniform) * 1 / ln(M)). */
static unsigned draw_level(struct graph *graph)
{
    uint64_t turn = atomic_fetch_add_explicit(&graph->drawn, 1, memory_order_relaxed);
    uint64_t random = splitmix(graph->seed ^ splitmix(turn));
    double uniform = ((double)(random >> 11) + 1) / 9007199254740993.0; /* in (0, 1] */
    double level = floor(-log(uniform) / log(graph->max_upper));
    return level < LEVEL_MAX ? (unsigned)level : LEVEL_MAX;
}

/* Fills session->selected for the layers from `level` down. The answer of the ground layer's walk
 * stays in session->best. */
static tk_status find_neighbours(struct graph *graph, struct session *session, const float *vector,
                                 unsigned level, uint32_t except)
{
    tk_status status;
    unsigned top;
    session->best.count = 0;
    for (unsigned layer = 0; layer <= level; layer++) session->selected[layer].count = 0;
    if (!tk_graph_descend(graph, session, vector, level, &top, &status)) return status;
    for (unsigned layer = top < level ? top : level;; layer--) {
        struct walk walk = {.query = vector,
                            .layer = layer,
                            .ef = graph->ef_construction,
                            .all_above = INFINITY,
                            .except = except,
                            .visits_max = SIZE_MAX};
        status = tk_graph_walk(graph, session, &walk);
        if (status != TK_OK) return status;
        struct selection *selected = &session->selected[layer];
        selected->count = tk_graph_select(graph, session->best.items, session->best.count,
                                          graph->max_upper, selected->slots);
        if (layer == 0) return TK_OK;
        if (session->best.count == 0) continue; /* all dead here; go on from the same start */
        struct queue starts = session->starts;
        session->starts = session->best;
        session->best = starts;
    }
}

/* Adds an id to the members of a live node. TK_EFULL when it is dead or has enough of them. */
static tk_status join(struct graph *graph, struct session *session, uint32_t slot, tk_id id)
{
    struct node *node = tk_store_node(graph->store, slot);
    tk_status status = TK_EFULL;
    pthread_mutex_lock(tk_in_lock(graph, slot));
    struct members *old = atomic_load_explicit(&node->members, memory_order_relaxed);
    if (tk_node_state(node) != SLOT_LIVE || old->count >= MEMBERS_MAX) goto out;
    status = TK_ENOMEM;
    struct members *members = tk_store_new_members(graph->store, old->count + 1);
    if (!members) goto out;
    uint32_t i = 0;
    for (; i < old->count && old->ids[i] < id; i++) members->ids[i] = old->ids[i];
    members->ids[i] = id;
    for (; i < old->count; i++) members->ids[i + 1] = old->ids[i];
    atomic_store_explicit(&node->members, members, memory_order_release);
    tk_epoch_retire(&session->seat, &old->garbage);
    status = TK_OK;
out:
    pthread_mutex_unlock(tk_in_lock(graph, slot));
    return status;
}

/* Joins a node of the same vector among those that the ground layer's walk found. TK_ENOTFOUND when
 * there is none with room. */
static tk_status join_same(struct graph *graph, struct session *session, const float *vector,
                           tk_id id, uint32_t *slot)
{
    for (size_t i = 0; i < session->best.count && i < SAME_LOOKS; i++) {
        struct candidate candidate = session->best.items[i];
        if (candidate.similarity < 0.9999f) break;
        if (tk_vector_distance(vector, tk_store_vector(graph->store, candidate.slot),
                               graph->store->dim) > SAME_DISTANCE * SAME_DISTANCE)
            continue;
        tk_status status = join(graph, session, candidate.slot, id);
        if (status == TK_EFULL) continue;
        if (status == TK_OK) *slot = candidate.slot;
        return status;
    }
    return TK_ENOTFOUND;
}

/* A node that nobody knows of yet. */
static tk_status make_node(struct graph *graph, struct session *session, const float *vector,
                           unsigned level, tk_id id, uint32_t *slot)
{
    uint32_t taken;
    tk_status status = tk_store_take(graph->store, &session->seat, &taken);
    if (status != TK_OK) return status;
    struct node *node = tk_store_node(graph->store, taken);
    memcpy(tk_store_vector(graph->store, taken), vector, graph->store->stride * sizeof(float));
    if (!tk_store_set_level(graph->store, node, level)) goto failed;
    struct members *members = tk_store_new_members(graph->store, 1);
    if (!members) goto failed;
    members->ids[0] = id;
    atomic_store_explicit(&node->members, members, memory_order_release);
    *slot = taken;
    return TK_OK;
failed:
    tk_store_give(graph->store, node);
    return TK_ENOMEM;
}

/* Publishes the node's own lists. */
static bool publish_own(struct graph *graph, struct session *session, uint32_t slot, unsigned level)
{
    bool ok = true;
    pthread_mutex_lock(tk_out_lock(graph, slot));
    for (unsigned layer = 0; ok && layer <= level; layer++)
        ok = tk_graph_publish(graph, session, slot, layer, &session->selected[layer]);
    pthread_mutex_unlock(tk_out_lock(graph, slot));
    return ok;
}

/* Makes the neighbours link back, from the ground layer up. One of them on each layer becomes the
 * parent. TK_ENOTFOUND when all on the ground layer have been removed. */
static tk_status link_back(struct graph *graph, struct session *session, uint32_t slot,
                           unsigned level)
{
    tk_status ground = TK_OK;
    for (unsigned layer = 0; layer <= level; layer++) {
        const struct selection *selected = &session->selected[layer];
        for (uint32_t i = 0; i < selected->count; i++)
            if (tk_graph_link(graph, session, selected->slots[i], slot, layer, false) == TK_ENOMEM)
                return TK_ENOMEM;
        tk_status status = tk_tree_link(graph, session, slot, layer);
        if (status == TK_ENOMEM) return status;
        if (layer == 0) ground = status;
    }
    return ground;
}

/* Makes the node the entry point if it is above the present one. Under entry_lock. */
static bool raise_entry(struct graph *graph, uint32_t slot, unsigned level)
{
    uint32_t entry;
    unsigned top;
    if (tk_graph_entry(graph, &entry, &top) && top >= level) return entry == slot;
    tk_graph_set_entry(graph, slot, level);
    return true;
}

/* The same where it may be needed: the entry point may have been removed while the node was being
 * linked, and one below the node have taken its place. */
static bool see_to_entry(struct graph *graph, uint32_t slot, unsigned level, bool entry_locked)
{
    uint32_t entry;
    unsigned top;
    if (tk_graph_entry(graph, &entry, &top) && top >= level) return entry == slot;
    if (!entry_locked) pthread_mutex_lock(&graph->entry_lock);
    bool is_entry = raise_entry(graph, slot, level);
    if (!entry_locked) pthread_mutex_unlock(&graph->entry_lock);
    return is_entry;
}

/* Links a new node. All that was found may have been removed meanwhile; then there is nobody to
 * link to, and the neighbours have to be looked for again. */
static tk_status link_node(struct graph *graph, struct session *session, uint32_t slot,
                           unsigned level, bool entry_locked)
{
    for (int try = 0; try < LINK_TRIES; try++) {
        if (try > 0) {
            tk_status status =
                find_neighbours(graph, session, tk_store_vector(graph->store, slot), level, slot);
            if (status != TK_OK) return status;
        }
        for (unsigned layer = 0; try == 0 && layer <= level; layer++)
            tk_tree_plant(graph, slot, layer, &session->selected[layer]);
        if (!publish_own(graph, session, slot, level)) return TK_ENOMEM;
        atomic_store_explicit(&tk_store_node(graph->store, slot)->state, SLOT_LIVE,
                              memory_order_release);
        tk_status status = link_back(graph, session, slot, level);
        if (status != TK_ENOTFOUND) return status;
        if (see_to_entry(graph, slot, level, entry_locked)) break;
    }
    return TK_OK;
}

static tk_status insert_at(struct graph *graph, struct session *session, unsigned level, tk_id id,
                           bool entry_locked, uint32_t *slot)
{
    const float *vector = session->vector;
    tk_status status = find_neighbours(graph, session, vector, level, NO_SLOT);
    if (status != TK_OK) return status;
    status = join_same(graph, session, vector, id, slot);
    if (status != TK_ENOTFOUND) return status;
    status = make_node(graph, session, vector, level, id, slot);
    if (status != TK_OK) return status;
    status = link_node(graph, session, *slot, level, entry_locked);
    if (status == TK_OK) see_to_entry(graph, *slot, level, entry_locked);
    return status;
}

tk_status tk_graph_insert(struct graph *graph, struct session *session, tk_id id, uint32_t *slot)
{
    uint32_t entry;
    unsigned top, level = draw_level(graph);
    bool raises = !tk_graph_entry(graph, &entry, &top) || level > top;
    *slot = NO_SLOT;
    if (raises) pthread_mutex_lock(&graph->entry_lock);
    tk_status status = insert_at(graph, session, level, id, raises, slot);
    if (raises) pthread_mutex_unlock(&graph->entry_lock);
    if (status != TK_OK && *slot != NO_SLOT) tk_graph_remove(graph, session, *slot, id);
    return status;
}
