/*
 * store.c: see store.h.
 */
#include "engine/store.h"

#include <string.h>

#define SEGMENT_BYTES ((size_t)2 << 20) /* about what a segment's vectors take */
#define SEGMENT_BITS_MIN 6
#define SEGMENT_BITS_MAX 12
#define LINE_FLOATS 16
#define DIRECTORY_FIRST 16

static size_t directory_size(uint32_t count)
{
    return sizeof(struct directory) + (size_t)count * sizeof(struct segment);
}

static void release_directory(struct garbage *garbage, void *store)
{
    (void)store;
    struct directory *directory = (struct directory *)garbage;
    tk_memory_free(directory->memory, directory, directory_size(directory->count));
}

static struct directory *new_directory(struct memory *memory, uint32_t count)
{
    struct directory *directory = tk_memory_zalloc(memory, directory_size(count));
    if (!directory) return NULL;
    directory->garbage.release = release_directory;
    directory->memory = memory;
    directory->count = count;
    return directory;
}

tk_status tk_store_init(struct store *store, struct memory *memory, uint32_t dim)
{
    *store = (struct store){.memory = memory, .dim = dim};
    store->stride = (dim + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
    store->segment_bits = SEGMENT_BITS_MIN;
    while (store->segment_bits < SEGMENT_BITS_MAX &&
           ((size_t)store->stride * sizeof(float) << store->segment_bits) < SEGMENT_BYTES)
        store->segment_bits++;
    struct directory *directory = new_directory(memory, DIRECTORY_FIRST);
    if (!directory) return TK_ENOMEM;
    atomic_init(&store->directory, directory);
    atomic_init(&store->used, 0);
    pthread_mutex_init(&store->lock, NULL);
    return TK_OK;
}

static size_t segment_slots(const struct store *store)
{
    return (size_t)1 << store->segment_bits;
}

static size_t segment_vector_bytes(const struct store *store)
{
    return segment_slots(store) * store->stride * sizeof(float);
}

static size_t segment_node_bytes(const struct store *store)
{
    return segment_slots(store) * sizeof(struct node);
}

static void free_links(struct store *store, struct links *links)
{
    struct neighbours *out = atomic_load_explicit(&links->out, memory_order_relaxed);
    if (out) tk_store_release_neighbours(&out->garbage, store);
    atomic_store_explicit(&links->out, NULL, memory_order_relaxed);
    tk_memory_free(store->memory, links->in.slots, links->in.capacity * sizeof(uint32_t));
    links->in = (struct inlinks){0};
}

static void free_node_content(struct store *store, struct node *node)
{
    free_links(store, &node->ground);
    for (unsigned layer = 0; node->upper && layer < node->level; layer++)
        free_links(store, &node->upper[layer]);
    tk_memory_free(store->memory, node->upper, node->level * sizeof(struct links));
    node->upper = NULL;
    node->level = 0;
    struct members *members = atomic_load_explicit(&node->members, memory_order_relaxed);
    if (members) tk_store_release_members(&members->garbage, store);
    atomic_store_explicit(&node->members, NULL, memory_order_relaxed);
}

void tk_store_destroy(struct store *store)
{
    struct directory *directory = atomic_load(&store->directory);
    if (!directory) return;
    uint32_t used = atomic_load(&store->used);
    for (uint32_t slot = 0; slot < used; slot++)
        free_node_content(store, tk_store_node(store, slot));
    for (uint32_t i = 0; i < directory->count && directory->segments[i].nodes; i++) {
        tk_memory_free(store->memory, directory->segments[i].vectors, segment_vector_bytes(store));
        tk_memory_free(store->memory, directory->segments[i].nodes, segment_node_bytes(store));
    }
    release_directory(&directory->garbage, store);
    pthread_mutex_destroy(&store->lock);
}

/* Makes the segment that the next unused slot is in. Under `lock`. */
static tk_status grow(struct store *store, struct seat *seat, uint32_t position)
{
    struct directory *directory = atomic_load_explicit(&store->directory, memory_order_relaxed);
    struct directory *longer = NULL;
    struct segment segment = {0};
    if (position == directory->count) {
        longer = new_directory(store->memory, directory->count * 2);
        if (!longer) return TK_ENOMEM;
        memcpy(longer->segments, directory->segments,
               directory->count * sizeof(*directory->segments));
    }
    segment.vectors = tk_memory_lines(store->memory, segment_vector_bytes(store));
    segment.nodes = tk_memory_zalloc(store->memory, segment_node_bytes(store));
    if (!segment.vectors || !segment.nodes) {
        tk_memory_free(store->memory, segment.vectors, segment_vector_bytes(store));
        tk_memory_free(store->memory, segment.nodes, segment_node_bytes(store));
        if (longer) release_directory(&longer->garbage, store);
        return TK_ENOMEM;
    }
    for (size_t row = 0; row < segment_slots(store); row++) {
        segment.nodes[row].slot = (position << store->segment_bits) + (uint32_t)row;
        segment.nodes[row].garbage.release = tk_store_release_node;
    }
    /* Nobody looks at an entry of the directory before a slot in it has been handed out. */
    (longer ? longer : directory)->segments[position] = segment;
    if (longer) {
        atomic_store_explicit(&store->directory, longer, memory_order_release);
        tk_epoch_retire(seat, &directory->garbage);
    }
    return TK_OK;
}

tk_status tk_store_take(struct store *store, struct seat *seat, uint32_t *slot)
{
    tk_status status = TK_OK;
    struct node *node = NULL;
    pthread_mutex_lock(&store->lock);
    if (store->free_nodes) {
        node = store->free_nodes;
        store->free_nodes = (struct node *)node->garbage.next;
        store->free_count--;
    } else {
        uint32_t next = atomic_load_explicit(&store->used, memory_order_relaxed);
        if (next == STORE_SLOTS_MAX)
            status = TK_EFULL;
        else if ((next & (segment_slots(store) - 1)) == 0)
            status = grow(store, seat, next >> store->segment_bits);
        if (status == TK_OK) {
            node = tk_store_node(store, next);
            atomic_store_explicit(&store->used, next + 1, memory_order_release);
        }
    }
    pthread_mutex_unlock(&store->lock);
    if (status != TK_OK) return status;
    atomic_store_explicit(&node->state, SLOT_BUILDING, memory_order_relaxed);
    *slot = node->slot;
    return TK_OK;
}

void tk_store_give(struct store *store, struct node *node)
{
    free_node_content(store, node);
    atomic_store_explicit(&node->state, SLOT_FREE, memory_order_release);
    pthread_mutex_lock(&store->lock);
    node->garbage.next = (struct garbage *)store->free_nodes;
    store->free_nodes = node;
    store->free_count++;
    pthread_mutex_unlock(&store->lock);
}

void tk_store_release_node(struct garbage *garbage, void *store)
{
    tk_store_give(store, (struct node *)garbage);
}

static size_t neighbours_size(uint32_t count)
{
    return sizeof(struct neighbours) + (size_t)count * sizeof(uint32_t);
}

static size_t members_size(uint32_t count)
{
    return sizeof(struct members) + (size_t)count * sizeof(tk_id);
}

void tk_store_release_neighbours(struct garbage *garbage, void *owner)
{
    struct store *store = owner;
    struct neighbours *list = (struct neighbours *)garbage;
    tk_memory_free(store->memory, list, neighbours_size(list->count));
}

void tk_store_release_members(struct garbage *garbage, void *owner)
{
    struct store *store = owner;
    struct members *members = (struct members *)garbage;
    tk_memory_free(store->memory, members, members_size(members->count));
}

struct neighbours *tk_store_new_neighbours(struct store *store, uint32_t count)
{
    struct neighbours *list = tk_memory_alloc(store->memory, neighbours_size(count));
    if (!list) return NULL;
    list->garbage.release = tk_store_release_neighbours;
    list->count = count;
    return list;
}

struct members *tk_store_new_members(struct store *store, uint32_t count)
{
    struct members *members = tk_memory_alloc(store->memory, members_size(count));
    if (!members) return NULL;
    members->garbage.release = tk_store_release_members;
    members->count = count;
    return members;
}

bool tk_store_set_level(struct store *store, struct node *node, unsigned level)
{
    if (level > 0) {
        node->upper = tk_memory_zalloc(store->memory, level * sizeof(struct links));
        if (!node->upper) return false;
    }
    node->level = (uint8_t)level;
    for (unsigned layer = 0; layer <= level; layer++)
        atomic_init(&tk_node_links(node, layer)->parent, NO_SLOT);
    return true;
}

size_t tk_store_capacity(const struct store *store)
{
    size_t used = atomic_load_explicit(&store->used, memory_order_acquire);
    size_t slots = segment_slots(store);
    return (used + slots - 1) / slots * slots;
}
