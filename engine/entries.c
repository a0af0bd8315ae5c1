/*
 * entries.c: see entries.h.
 */
#include "engine/entries.h"

#include "engine/splitmix.h"

#include <math.h>
#include <string.h>

#define TABLE_MAX 1024
/* Draws for a place in the table before it is given up: slots may be dead or taken already. */
#define DRAWS 16

struct entries {
    struct garbage garbage;
    struct graph *graph;
    size_t nodes; /* of the graph when the table was drawn */
    struct neighbours *list;
    struct row center;
    int8_t *center_codes;
};

static void free_table(struct entries *table)
{
    struct graph *graph = table->graph;
    if (table->list) tk_store_release_neighbours(&table->list->garbage, graph->store);
    tk_memory_free(graph->memory, table->center_codes, graph->store->row_size);
    tk_memory_free(graph->memory, table, sizeof(*table));
}

static void release_table(struct garbage *garbage, void *owner)
{
    (void)owner;
    free_table((struct entries *)garbage);
}

/* An empty table with room for `count` nodes; NULL when memory ran out. */
static struct entries *new_table(struct graph *graph, uint32_t count)
{
    struct entries *table = tk_memory_zalloc(graph->memory, sizeof(*table));
    if (!table) return NULL;
    table->garbage.release = release_table;
    table->graph = graph;
    table->list = tk_store_new_neighbours(graph->store, 0, tk_links_groups(count));
    table->center_codes = tk_memory_lines(graph->memory, graph->store->row_size);
    table->center.coarse = table->center_codes;
    if (table->list && table->center_codes) return table;
    free_table(table);
    return NULL;
}

static struct entries *present(const struct graph *graph)
{
    return atomic_load_explicit(&graph->entries, memory_order_acquire);
}

const struct neighbours *tk_entries_list(const struct graph *graph)
{
    const struct entries *table = present(graph);
    return table ? table->list : NULL;
}

/* Under entry_lock. */
static void publish(struct graph *graph, struct session *session, struct entries *table)
{
    struct entries *old = atomic_exchange_explicit(&graph->entries, table, memory_order_acq_rel);
    if (old) tk_epoch_retire(&session->seat, &old->garbage);
}

size_t tk_entries_find(const struct graph *graph, const struct query *query,
                       struct candidate *found, size_t max)
{
    const struct entries *table = present(graph);
    size_t count = 0;
    if (!table) return 0;
    const float to_center = tk_coarse_similarity(graph->coder, query, table->center);
    for (uint32_t g = 0; g < table->list->groups; g++) {
        const struct link_group *group = tk_link_group(table->list, g);
        uint32_t length = table->list->count - g * LINKS_GROUP;
        float guesses[LINKS_GROUP];
        if (length > LINKS_GROUP) length = LINKS_GROUP;
        tk_links_guess(graph->coder, query, group, to_center, guesses, NULL);
        for (uint32_t i = 0; i < length; i++) {
            const uint32_t slot = atomic_load_explicit(&group->slots[i], memory_order_relaxed);
            if (slot == NO_SLOT || (count == max && !(guesses[i] > found[count - 1].similarity)))
                continue;
            size_t at = count < max ? count++ : max - 1;
            for (; at > 0 && found[at - 1].similarity < guesses[i]; at--) found[at] = found[at - 1];
            found[at].similarity = guesses[i];
            found[at].slot = slot;
        }
    }
    return count;
}

/* ---- Drawing --------------------------------------------------------------------------------- */

/* Draws up to `count` live nodes, each once, and marks them. Under entry_lock. */
static uint32_t draw(struct graph *graph, uint32_t count, uint32_t *slots)
{
    const uint32_t used = atomic_load_explicit(&graph->store->used, memory_order_acquire);
    uint64_t state = graph->seed ^ used;
    uint32_t drawn = 0;
    const bool all = used <= 2 * count;
    for (uint32_t turn = 0; drawn < count && turn < (all ? used : DRAWS * count); turn++) {
        const uint32_t slot = all ? turn : (uint32_t)(tk_splitmix(&state) % used);
        struct node *node = tk_store_node(graph->store, slot);
        if (!tk_store_is_live(graph->store, slot) || node->is_entry) continue;
        node->is_entry = true;
        slots[drawn++] = slot;
    }
    return drawn;
}

static bool set_center(struct graph *graph, struct entries *table, const uint32_t *slots,
                       uint32_t count)
{
    const uint32_t n = graph->coder->n;
    float *sums = tk_memory_zalloc(graph->memory, 2 * n * sizeof(float));
    if (!sums) return false;
    for (uint32_t i = 0; i < count; i++) {
        tk_code_decode(graph->coder, tk_graph_row(graph, slots[i]), sums + n);
        for (uint32_t c = 0; c < n; c++) sums[c] += sums[n + c];
    }
    for (uint32_t c = 0; c < n; c++) sums[c] /= (float)count;
    table->center = tk_code_encode(graph->coder, sums, table->center_codes);
    tk_memory_free(graph->memory, sums, 2 * n * sizeof(float));
    return true;
}

static void put_entry(struct graph *graph, struct entries *table, uint32_t at, uint32_t slot)
{
    const struct row row = tk_graph_row(graph, slot);
    tk_link_put(graph->coder, table->list, at, table->center, slot, row,
                tk_rows_similarity(graph->coder, table->center, row), false);
}

static uint32_t table_size(size_t nodes)
{
    const double root = ceil(sqrt((double)nodes) / LINKS_GROUP) * LINKS_GROUP;
    return root < TABLE_MAX ? (uint32_t)root : TABLE_MAX;
}

static void mark_all(struct graph *graph, const struct entries *table, bool is_entry)
{
    for (uint32_t i = 0; table && i < table->list->count; i++) {
        const uint32_t slot = tk_neighbour(table->list, i);
        if (slot != NO_SLOT) tk_store_node(graph->store, slot)->is_entry = is_entry;
    }
}

/* Draws a table and publishes it. Under entry_lock. */
static bool redraw(struct graph *graph, struct session *session)
{
    const size_t nodes = atomic_load_explicit(&graph->nodes, memory_order_relaxed);
    uint32_t slots[TABLE_MAX];
    struct entries *old = present(graph);
    struct entries *table = new_table(graph, table_size(nodes));
    if (!table) return false;
    mark_all(graph, old, false);
    const uint32_t count = draw(graph, table->list->groups * LINKS_GROUP, slots);
    if (count == 0 || !set_center(graph, table, slots, count)) {
        for (uint32_t i = 0; i < count; i++)
            tk_store_node(graph->store, slots[i])->is_entry = false;
        mark_all(graph, old, true);
        free_table(table);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) put_entry(graph, table, i, slots[i]);
    table->list->count = count;
    table->nodes = nodes;
    publish(graph, session, table);
    return true;
}

bool tk_entries_refresh(struct graph *graph, struct session *session)
{
    const struct entries *table = present(graph);
    const size_t nodes = atomic_load_explicit(&graph->nodes, memory_order_relaxed);
    if (!table || (nodes <= table->nodes + table->nodes / 2 && nodes >= table->nodes / 2))
        return true;
    /* One writer is enough; the others go on with the old table. */
    if (pthread_mutex_trylock(&graph->entry_lock) != 0) return true;
    table = present(graph);
    bool drawn = true;
    if (table && (nodes > table->nodes + table->nodes / 2 || nodes < table->nodes / 2))
        drawn = redraw(graph, session);
    pthread_mutex_unlock(&graph->entry_lock);
    return drawn;
}

bool tk_entries_draw(struct graph *graph, struct session *session)
{
    pthread_mutex_lock(&graph->entry_lock);
    const bool drawn = redraw(graph, session);
    pthread_mutex_unlock(&graph->entry_lock);
    return drawn;
}

/* Any other live node, or NO_SLOT. Only looked for when nobody in the table is live. */
static uint32_t any_live(const struct graph *graph, uint32_t except)
{
    const uint32_t used = atomic_load_explicit(&graph->store->used, memory_order_acquire);
    for (uint32_t slot = 0; slot < used; slot++)
        if (slot != except && tk_store_is_live(graph->store, slot)) return slot;
    return NO_SLOT;
}

/* Another live node that is in the table, or NO_SLOT: those in it may all be about to leave. Under
 * entry_lock. */
static uint32_t live_entry(const struct graph *graph, const struct entries *table, uint32_t except)
{
    for (uint32_t i = 0; table && i < table->list->count; i++) {
        const uint32_t slot = tk_neighbour(table->list, i);
        if (slot != NO_SLOT && slot != except && tk_store_is_live(graph->store, slot)) return slot;
    }
    return NO_SLOT;
}

/* Publishes a table of one. Under entry_lock. */
static bool begin_with(struct graph *graph, struct session *session, uint32_t slot)
{
    struct entries *old = present(graph), *table = new_table(graph, 1);
    if (!table) return false;
    if (!set_center(graph, table, &slot, 1)) {
        free_table(table);
        return false;
    }
    put_entry(graph, table, 0, slot);
    table->list->count = 1;
    table->nodes = 1;
    mark_all(graph, old, false);
    tk_store_node(graph->store, slot)->is_entry = true;
    publish(graph, session, table);
    return true;
}

bool tk_entries_begin(struct graph *graph, struct session *session, uint32_t slot, bool *alone)
{
    bool ok = true;
    *alone = false;
    pthread_mutex_lock(&graph->entry_lock);
    if (live_entry(graph, present(graph), slot) == NO_SLOT &&
        tk_store_is_live(graph->store, slot)) {
        if (tk_store_node(graph->store, slot)->is_entry) {
            *alone = true;
        } else {
            const uint32_t other = any_live(graph, slot);
            ok = begin_with(graph, session, other != NO_SLOT ? other : slot);
            *alone = ok && other == NO_SLOT;
        }
    }
    pthread_mutex_unlock(&graph->entry_lock);
    return ok;
}

/* ---- Leaving --------------------------------------------------------------------------------- */

/* A live node that is not in the table: a neighbour of the one that leaves where there is one. */
static uint32_t successor(const struct graph *graph, uint32_t slot)
{
    const struct neighbours *list = tk_graph_list(graph, slot);
    for (uint32_t i = 0; list && i < list->count; i++) {
        const uint32_t neighbour = tk_neighbour(list, i);
        if (tk_store_is_live(graph->store, neighbour) &&
            !tk_store_node(graph->store, neighbour)->is_entry)
            return neighbour;
    }
    return NO_SLOT;
}

/* A copy of the table without its place `at`, which goes to `next` where that is a slot and to the
 * last of the table where not. NULL when memory ran out. */
static struct entries *copy_without(struct graph *graph, const struct entries *table, uint32_t at,
                                    uint32_t next)
{
    struct entries *copy = new_table(graph, table->list->groups * LINKS_GROUP);
    if (!copy) return NULL;
    memcpy(copy->list->content, table->list->content,
           tk_links_size(table->list->n, table->list->groups) - sizeof(*table->list));
    memcpy(copy->center_codes, table->center_codes, graph->store->row_size);
    copy->center.scale = table->center.scale;
    copy->list->count = table->list->count;
    copy->nodes = table->nodes;
    if (next != NO_SLOT)
        put_entry(graph, copy, at, next);
    else if (at != --copy->list->count)
        tk_link_copy(graph->coder, copy->list, at, table->list, copy->list->count);
    return copy;
}

void tk_entries_leave(struct graph *graph, struct session *session, uint32_t slot)
{
    pthread_mutex_lock(&graph->entry_lock);
    struct node *node = tk_store_node(graph->store, slot);
    if (!node->is_entry) goto out;
    node->is_entry = false;
    struct entries *table = present(graph);
    const uint32_t at = tk_links_find(table->list, slot);
    uint32_t next = successor(graph, slot);
    if (next == NO_SLOT && table->list->count == 1) next = any_live(graph, slot);
    if (next == NO_SLOT && table->list->count == 1) {
        publish(graph, session, NULL);
        goto out;
    }
    struct entries *copy = copy_without(graph, table, at, next);
    if (copy) {
        if (next != NO_SLOT) tk_store_node(graph->store, next)->is_entry = true;
        publish(graph, session, copy);
    } else {
        struct link_group *group = tk_link_group(table->list, at / LINKS_GROUP);
        atomic_store_explicit(&group->slots[at % LINKS_GROUP], NO_SLOT, memory_order_relaxed);
    }
out:
    pthread_mutex_unlock(&graph->entry_lock);
}

void tk_entries_free(struct graph *graph)
{
    struct entries *table = present(graph);
    if (table) free_table(table);
    atomic_store_explicit(&graph->entries, NULL, memory_order_relaxed);
}
