/*
 * store.c: see store.h.
 */
#include "engine/store.h"

#include <string.h>
#include <sys/mman.h>

#define SEGMENT_BYTES ((size_t)2 << 20) /* about what a segment's rows take */
#define SEGMENT_BITS_MIN 6
#define SEGMENT_BITS_MAX 12
#define DIRECTORY_FIRST 16
#define LISTS_AT_ONCE_BYTES ((size_t)256 << 10)

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

tk_status tk_store_init(struct store *store, struct memory *memory, uint32_t dim,
                        uint32_t max_neighbours, const struct kernels *kernels)
{
    *store = (struct store){.memory = memory, .usual_groups = tk_links_groups(max_neighbours)};
    if (!tk_coder_init(&store->coder, dim, kernels)) return TK_ENOMEM;
    store->row_size = tk_row_size(&store->coder);
    store->segment_bits = SEGMENT_BITS_MIN;
    while (store->segment_bits < SEGMENT_BITS_MAX &&
           (store->row_size << store->segment_bits) < SEGMENT_BYTES)
        store->segment_bits++;
    struct directory *directory = new_directory(memory, DIRECTORY_FIRST);
    if (!directory) {
        tk_coder_destroy(&store->coder);
        return TK_ENOMEM;
    }
    tk_arena_init(&store->arena, memory);
    atomic_init(&store->directory, directory);
    atomic_init(&store->used, 0);
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->list_lock, NULL);
    return TK_OK;
}

static size_t segment_slots(const struct store *store)
{
    return (size_t)1 << store->segment_bits;
}

static size_t segment_code_bytes(const struct store *store)
{
    return segment_slots(store) * store->row_size;
}

static void free_list(struct store *store, struct neighbours *list)
{
    tk_memory_free(store->memory, list, tk_links_size(list->n, list->groups));
}

static void set_shared(const struct store *store, uint32_t slot, bool shared)
{
    tk_slot_set_bit(tk_store_segment(store, slot)->shared, tk_store_position(store, slot), shared);
}

static void free_members(struct store *store, struct node *node)
{
    struct members *members = atomic_load_explicit(&node->members, memory_order_relaxed);
    if (members) tk_store_release_members(&members->garbage, store);
    if (members) set_shared(store, node->slot, false);
    atomic_store_explicit(&node->members, NULL, memory_order_relaxed);
}

static void free_node_content(struct store *store, struct node *node)
{
    struct spot *spot = tk_store_spot(store, node->slot);
    struct neighbours *out = atomic_load_explicit(&spot->out, memory_order_relaxed);
    if (out) tk_store_release_neighbours(&out->garbage, store);
    atomic_store_explicit(&spot->out, NULL, memory_order_relaxed);
    tk_memory_free(store->memory, node->in.slots, node->in.capacity * sizeof(uint32_t));
    node->in = (struct inlinks){0};
    free_members(store, node);
}

void tk_store_destroy(struct store *store)
{
    struct directory *directory = atomic_load(&store->directory);
    if (!directory) return;
    uint32_t used = atomic_load(&store->used);
    for (uint32_t slot = 0; slot < used; slot++)
        free_node_content(store, tk_store_node(store, slot));
    release_directory(&directory->garbage, store);
    if (store->mapping) {
        munmap(store->mapping, store->mapping_size);
        atomic_fetch_sub(&store->memory->bytes, store->mapping_size);
    }
    tk_arena_destroy(&store->arena);
    tk_coder_destroy(&store->coder);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->list_lock);
}

/* Makes the nodes of a segment, and room for its codes where that is not given. */
static bool make_segment(struct store *store, uint32_t position, int8_t *codes,
                         struct segment *segment)
{
    const size_t slots = segment_slots(store), own_codes = codes ? 0 : segment_code_bytes(store);
    const size_t spots = slots * sizeof(struct spot), ids = slots * sizeof(tk_id);
    const size_t bits = slots / 8;
    char *block = tk_arena_take(&store->arena,
                                own_codes + spots + ids + 2 * bits + slots * sizeof(struct node));
    if (!block) return false;
    segment->codes = codes ? codes : (int8_t *)block;
    segment->spots = (struct spot *)(block + own_codes);
    segment->ids = (tk_id *)(block + own_codes + spots);
    segment->live = (_Atomic uint64_t *)(block + own_codes + spots + ids);
    segment->shared = (_Atomic uint64_t *)(block + own_codes + spots + ids + bits);
    segment->nodes = (struct node *)(block + own_codes + spots + ids + 2 * bits);
    for (size_t row = 0; row < slots; row++) {
        segment->nodes[row].slot = (position << store->segment_bits) + (uint32_t)row;
        segment->nodes[row].garbage.release = tk_store_release_node;
        atomic_init(&segment->nodes[row].parent, NO_SLOT);
    }
    return true;
}

/* Makes the segment at a position, which is the next one, with the given codes or its own. Under
 * `lock`. */
static tk_status grow(struct store *store, struct seat *seat, uint32_t position, int8_t *codes)
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
    if (!make_segment(store, position, codes, &segment)) {
        if (longer) release_directory(&longer->garbage, store);
        return TK_ENOMEM;
    }
    /* Nobody looks at an entry of the directory before a slot in it has been handed out. */
    (longer ? longer : directory)->segments[position] = segment;
    if (longer) {
        atomic_store_explicit(&store->directory, longer, memory_order_release);
        tk_epoch_retire(seat, &directory->garbage);
    }
    return TK_OK;
}

/* Makes segments for the rows that a mapping holds, and copies those that do not fill one: the last
 * segment has room for slots that the file does not have. */
static tk_status adopt_rows(struct store *store, struct seat *seat, int8_t *codes,
                            const float *scales, uint32_t slots)
{
    const uint32_t per_segment = (uint32_t)segment_slots(store);
    for (uint32_t first = 0; first < slots; first += per_segment) {
        int8_t *own = codes + (size_t)first * store->row_size;
        const bool whole = slots - first >= per_segment;
        tk_status status = grow(store, seat, first >> store->segment_bits, whole ? own : NULL);
        if (status != TK_OK) return status;
        if (!whole) memcpy(tk_store_codes(store, first), own, (slots - first) * store->row_size);
    }
    for (uint32_t slot = 0; slot < slots; slot++) tk_store_spot(store, slot)->scale = scales[slot];
    return TK_OK;
}

tk_status tk_store_adopt(struct store *store, struct seat *seat, void *mapping, size_t size,
                         int8_t *codes, const float *scales, uint32_t slots)
{
    store->mapping = mapping;
    store->mapping_size = size;
    atomic_fetch_add(&store->memory->bytes, size);
    tk_status status = adopt_rows(store, seat, codes, scales, slots);
    if (status == TK_OK) atomic_store_explicit(&store->used, slots, memory_order_release);
    return status;
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
            status = grow(store, seat, next >> store->segment_bits, NULL);
        if (status == TK_OK) {
            node = tk_store_node(store, next);
            atomic_store_explicit(&store->used, next + 1, memory_order_release);
        }
    }
    pthread_mutex_unlock(&store->lock);
    if (status != TK_OK) return status;
    atomic_store_explicit(&node->parent, NO_SLOT, memory_order_relaxed);
    *slot = node->slot;
    return TK_OK;
}

void tk_store_give(struct store *store, struct node *node)
{
    free_node_content(store, node);
    tk_store_set_live(store, node->slot, false);
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

static size_t members_size(uint32_t count)
{
    return sizeof(struct members) + (size_t)count * sizeof(tk_id);
}

static void push_free_list(struct store *store, struct neighbours *list)
{
    list->garbage.next = (struct garbage *)store->free_lists;
    store->free_lists = list;
}

/* Makes lists of the usual size. Under list_lock. */
static void make_lists(struct store *store)
{
    const size_t size = tk_links_size(store->coder.n, store->usual_groups);
    const size_t lists = LISTS_AT_ONCE_BYTES < size ? 1 : LISTS_AT_ONCE_BYTES / size;
    char *block = tk_arena_take(&store->arena, lists * size);
    for (size_t i = lists; block && i-- > 0;)
        push_free_list(store, (struct neighbours *)(block + i * size));
}

/* A list of the usual size; NULL when memory ran out. */
static struct neighbours *take_list(struct store *store)
{
    pthread_mutex_lock(&store->list_lock);
    if (!store->free_lists) make_lists(store);
    struct neighbours *list = store->free_lists;
    if (list) store->free_lists = (struct neighbours *)list->garbage.next;
    pthread_mutex_unlock(&store->list_lock);
    return list;
}

void tk_store_release_neighbours(struct garbage *garbage, void *owner)
{
    struct store *store = owner;
    struct neighbours *list = (struct neighbours *)garbage;
    if (list->groups != store->usual_groups) {
        if (!tk_store_maps(store, list)) free_list(store, list);
        return;
    }
    /* One of the usual size is used again wherever it lies, in a mapping too: an index that was
     * loaded and then changes for days takes no more memory than one that was built. */
    pthread_mutex_lock(&store->list_lock);
    push_free_list(store, list);
    pthread_mutex_unlock(&store->list_lock);
}

void tk_store_retire_list(struct seat *seat, struct neighbours *list)
{
    if (!list) return;
    list->garbage.release = tk_store_release_neighbours; /* which is not in a saved list */
    tk_epoch_retire(seat, &list->garbage);
}

void tk_store_release_members(struct garbage *garbage, void *owner)
{
    struct store *store = owner;
    struct members *members = (struct members *)garbage;
    tk_memory_free(store->memory, members, members_size(members->count));
}

struct neighbours *tk_store_new_neighbours(struct store *store, uint32_t count, uint32_t groups)
{
    const uint32_t n = store->coder.n;
    const size_t size = tk_links_size(n, groups);
    const bool usual = groups == store->usual_groups;
    struct neighbours *list = usual ? take_list(store) : tk_memory_lines(store->memory, size);
    if (!list) return NULL;
    /* What there is no link in is scanned and saved like the rest. */
    if (!usual) memset(list, 0, size);
    *list = (struct neighbours){
        .garbage.release = tk_store_release_neighbours, .count = count, .groups = groups, .n = n};
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

void tk_store_set_members(struct store *store, struct seat *seat, uint32_t slot,
                          struct members *members)
{
    struct node *node = tk_store_node(store, slot);
    struct members *old = atomic_exchange_explicit(&node->members, members, memory_order_acq_rel);
    set_shared(store, slot, true);
    if (old) tk_epoch_retire(seat, &old->garbage);
}

size_t tk_store_capacity(const struct store *store)
{
    size_t used = atomic_load_explicit(&store->used, memory_order_acquire);
    size_t slots = segment_slots(store);
    return (used + slots - 1) / slots * slots;
}
