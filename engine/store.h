/*
 * store.h: slots, where vectors and their nodes live.
 *
 * A slot is a number below 2^31. Slots come in segments that never move, so growing copies no
 * vector and a pointer to one stays good. The directory of segments is replaced as a whole when it
 * becomes too short, and the old one is retired (epoch.h).
 *
 * LIFE OF A SLOT. free -> building -> live -> dead -> free.
 * - free: on the free list, owned by nobody.
 * - building: owned by the writer that took it, who writes the vector and the node.
 * - live: published. Vector, level and the array of upper layers do not change from here on, so
 *   readers who came upon the slot through an atomic pointer or through `state` read them freely.
 * - dead: no longer linked to. Readers who came upon it earlier may still be there, so it only
 *   becomes free through tk_epoch_retire.
 *
 * MEMBERS. A node stands for one vector, and for every id whose vector is that one (apart from
 * rounding): copies of one text would otherwise become nodes at distance zero that fill each
 * other's neighbour lists and cut themselves off from the rest. The list of ids is replaced as a
 * whole, and may hold ids that have moved on: whether an id still belongs to this slot is what the
 * id map says.
 *
 * `lock` protects the free list and growing. Nodes are protected by the graph's locks (graph.h).
 */
#ifndef ENGINE_STORE_H
#define ENGINE_STORE_H

#include "engine/epoch.h"
#include "engine/status.h"

#define STORE_SLOTS_MAX (UINT32_C(1) << 31)
#define NO_SLOT UINT32_MAX

enum slot_state { SLOT_FREE, SLOT_BUILDING, SLOT_LIVE, SLOT_DEAD };

/* A neighbour list. Never changed once published, with one exception: graph_remove.c may overwrite
 * an entry with the owner's own number where memory for a new list ran out. */
struct neighbours {
    struct garbage garbage;
    uint32_t count;
    _Atomic uint32_t slots[];
};

/* Who links here: at least every node whose published list has this one, at most those and nodes
 * that are about to have it or had it until a moment ago. Only writers look at it. */
struct inlinks {
    uint32_t *slots;
    uint32_t count, capacity;
};

/* A node on one layer. */
struct links {
    _Atomic(struct neighbours *) out; /* NULL: none yet */
    _Atomic uint32_t parent;          /* in the layer's tree (graph_tree.c), or NO_SLOT */
    struct inlinks in;
};

struct members {
    struct garbage garbage;
    uint32_t count;
    tk_id ids[]; /* ascending; an id may occur twice while it is being replaced */
};

struct node {
    struct garbage garbage;
    uint32_t slot;
    _Atomic uint8_t state;
    uint8_t level; /* the highest layer it is on */
    struct links ground;
    struct links *upper; /* layers 1 to level */
    _Atomic(struct members *) members;
};

struct segment {
    float *vectors;
    struct node *nodes;
};

struct directory {
    struct garbage garbage;
    struct memory *memory;
    uint32_t count;
    struct segment segments[];
};

struct store {
    struct memory *memory;
    uint32_t dim;
    uint32_t stride;       /* floats from one vector to the next; those past dim are 0 */
    uint32_t segment_bits; /* a segment has 1 << segment_bits slots */
    _Atomic(struct directory *) directory;
    _Atomic uint32_t used; /* every slot below has been taken at some time */
    pthread_mutex_t lock;
    struct node *free_nodes;
    uint32_t free_count;
};

tk_status tk_store_init(struct store *store, struct memory *memory, uint32_t dim);
/* Frees everything; nobody may be reading. */
void tk_store_destroy(struct store *store);

/* Takes a free slot, in state building. Errors: TK_ENOMEM, TK_EFULL. */
tk_status tk_store_take(struct store *store, struct seat *seat, uint32_t *slot);
/* Frees what the node has and puts its slot on the free list. Nobody may know of it any more. */
void tk_store_give(struct store *store, struct node *node);
/* The same as a garbage callback, with the store as the owner. */
void tk_store_release_node(struct garbage *garbage, void *store);
void tk_store_release_neighbours(struct garbage *garbage, void *store);
void tk_store_release_members(struct garbage *garbage, void *store);

/* New blocks with the garbage header filled in; NULL when memory ran out. */
struct neighbours *tk_store_new_neighbours(struct store *store, uint32_t count);
struct members *tk_store_new_members(struct store *store, uint32_t count);

/* Puts a node that nobody knows of yet on the layers up to `level`. False when memory ran out. */
bool tk_store_set_level(struct store *store, struct node *node, unsigned level);

/* The number of slots in all segments. */
size_t tk_store_capacity(const struct store *store);

static inline const struct segment *tk_store_segment(const struct store *store, uint32_t slot)
{
    const struct directory *directory =
        atomic_load_explicit(&store->directory, memory_order_acquire);
    return &directory->segments[slot >> store->segment_bits];
}

static inline struct node *tk_store_node(const struct store *store, uint32_t slot)
{
    return &tk_store_segment(store, slot)->nodes[slot & ((UINT32_C(1) << store->segment_bits) - 1)];
}

static inline float *tk_store_vector(const struct store *store, uint32_t slot)
{
    size_t row = slot & ((UINT32_C(1) << store->segment_bits) - 1);
    return tk_store_segment(store, slot)->vectors + row * store->stride;
}

static inline enum slot_state tk_node_state(const struct node *node)
{
    return (enum slot_state)atomic_load_explicit(&node->state, memory_order_acquire);
}

static inline struct links *tk_node_links(struct node *node, unsigned layer)
{
    return layer ? &node->upper[layer - 1] : &node->ground;
}

static inline uint32_t tk_neighbour(const struct neighbours *list, uint32_t i)
{
    return atomic_load_explicit(&list->slots[i], memory_order_relaxed);
}

#endif
