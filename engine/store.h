/*
 * store.h: slots, where rows (code.h) and their nodes live.
 *
 * A slot is a number below 2^31. Slots come in segments that never move, so growing copies no
 * row and a pointer to one stays good. The directory of segments is replaced as a whole when it
 * becomes too short, and the old one is retired (epoch.h).
 *
 * LIFE OF A SLOT. free -> building -> live -> dead -> free.
 * - free: on the free list, owned by nobody.
 * - building: owned by the writer that took it, who writes the row and the node.
 * - live: published. The row does not change from here on, so
 *   readers who came upon the slot through an atomic pointer or through `live` read them freely.
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

#include "engine/arena.h"
#include "engine/links.h"
#include "engine/status.h"

#define STORE_SLOTS_MAX (UINT32_C(1) << 31)
#define NO_SLOT UINT32_MAX

/* Who links here: at least every node whose published list has this one, at most those and nodes
 * that are about to have it or had it until a moment ago. Only writers look at it. */
struct inlinks {
    uint32_t *slots;
    uint32_t count, capacity;
};

struct members {
    struct garbage garbage;
    uint32_t count;
    tk_id ids[]; /* ascending; an id may occur twice while it is being replaced */
};

/* What a walk reads of a node before its row and its list; spots of all nodes are small enough to
 * stay in a cache. */
struct spot {
    _Atomic(struct neighbours *) out; /* NULL: none yet */
    float scale;                      /* of the row */
};

/* What else there is to a node. */
struct node {
    struct garbage garbage;
    _Atomic(struct members *) members; /* NULL: one id, that in the segment */
    uint32_t slot;
    _Atomic uint32_t parent; /* in the tree (graph_tree.c), or NO_SLOT */
    bool is_entry;           /* it is in the table of entry points; under the graph's entry_lock */
    struct inlinks in;
};

struct segment {
    int8_t *codes; /* of the rows */
    struct spot *spots;
    tk_id *ids; /* of the nodes that stand for one; they do not change while the slot is live */
    /* A bit for each slot: bit i % 64 of word i / 64. */
    _Atomic uint64_t *live; /* a row is there; any other state is known to the slot's owner only */
    _Atomic uint64_t *shared; /* the node has members: it stands, or once stood, for several ids */
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
    struct arena arena; /* of rows, spots, nodes and lists of the usual size */
    struct coder coder;
    size_t row_size;
    uint32_t segment_bits; /* a segment has 1 << segment_bits slots */
    _Atomic(struct directory *) directory;
    _Atomic uint32_t used; /* every slot below has been taken at some time */
    pthread_mutex_t lock;
    struct node *free_nodes;
    uint32_t free_count;
    char *mapping; /* of a saved index, or NULL; rows and lists may lie in it */
    size_t mapping_size;
    pthread_mutex_t list_lock;     /* protects the free lists */
    struct neighbours *free_lists; /* of the usual size, which are made many at a time */
    uint32_t usual_groups;
};

tk_status tk_store_init(struct store *store, struct memory *memory, uint32_t dim,
                        uint32_t max_neighbours, const struct kernels *kernels);
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

/* Takes over a private, writable mapping of a saved index, in which the codes of the first `slots`
 * slots lie at `codes`, and from here on it is unmapped by tk_store_destroy; `scales` are those of
 * the rows. The store is empty. Slots come in state free and on no list: the caller makes each live
 * or gives it. Errors: TK_ENOMEM. */
tk_status tk_store_adopt(struct store *store, struct seat *seat, void *mapping, size_t size,
                         int8_t *codes, const float *scales, uint32_t slots);

/* Whether a block lies in the mapping, and so is not freed by itself. */
static inline bool tk_store_maps(const struct store *store, const void *block)
{
    return store->mapping && (const char *)block >= store->mapping &&
           (const char *)block < store->mapping + store->mapping_size;
}

/* Retires a list that has been replaced; NULL is allowed. */
void tk_store_retire_list(struct seat *seat, struct neighbours *list);

/* New blocks with the header filled in; NULL when memory ran out. A list's links are undefined. */
struct neighbours *tk_store_new_neighbours(struct store *store, uint32_t count, uint32_t groups);
struct members *tk_store_new_members(struct store *store, uint32_t count);
/* Publishes the members of a node in place of what it had. */
void tk_store_set_members(struct store *store, struct seat *seat, uint32_t slot,
                          struct members *members);

/* The ids that a node stands for, ascending; good for as long as the caller is seated. */
struct node_ids {
    const tk_id *ids;
    uint32_t count;
};

/* The number of slots in all segments. */
size_t tk_store_capacity(const struct store *store);

static inline const struct segment *tk_store_segment(const struct store *store, uint32_t slot)
{
    const struct directory *directory =
        atomic_load_explicit(&store->directory, memory_order_acquire);
    return &directory->segments[slot >> store->segment_bits];
}

/* Where a slot is in its segment. */
static inline uint32_t tk_store_position(const struct store *store, uint32_t slot)
{
    return slot & ((UINT32_C(1) << store->segment_bits) - 1);
}

static inline struct node *tk_store_node(const struct store *store, uint32_t slot)
{
    return &tk_store_segment(store, slot)->nodes[tk_store_position(store, slot)];
}

static inline struct spot *tk_store_spot(const struct store *store, uint32_t slot)
{
    return &tk_store_segment(store, slot)->spots[tk_store_position(store, slot)];
}

/* Where the one id of a slot is. */
static inline tk_id *tk_store_id(const struct store *store, uint32_t slot)
{
    return &tk_store_segment(store, slot)->ids[tk_store_position(store, slot)];
}

static inline bool tk_slot_bit(const _Atomic uint64_t *words, uint32_t position)
{
    return atomic_load_explicit(&words[position / 64], memory_order_acquire) >> position % 64 & 1;
}

static inline void tk_slot_set_bit(_Atomic uint64_t *words, uint32_t position, bool value)
{
    const uint64_t bit = UINT64_C(1) << position % 64;
    if (value)
        atomic_fetch_or_explicit(&words[position / 64], bit, memory_order_release);
    else
        atomic_fetch_and_explicit(&words[position / 64], ~bit, memory_order_release);
}

static inline bool tk_store_is_live(const struct store *store, uint32_t slot)
{
    return tk_slot_bit(tk_store_segment(store, slot)->live, tk_store_position(store, slot));
}

static inline void tk_store_set_live(const struct store *store, uint32_t slot, bool live)
{
    tk_slot_set_bit(tk_store_segment(store, slot)->live, tk_store_position(store, slot), live);
}

static inline bool tk_store_is_shared(const struct store *store, uint32_t slot)
{
    return tk_slot_bit(tk_store_segment(store, slot)->shared, tk_store_position(store, slot));
}

static inline struct node_ids tk_store_ids(const struct store *store, uint32_t slot)
{
    const struct members *members;
    if (!tk_store_is_shared(store, slot)) return (struct node_ids){tk_store_id(store, slot), 1};
    members = atomic_load_explicit(&tk_store_node(store, slot)->members, memory_order_acquire);
    return (struct node_ids){members->ids, members->count};
}

/* Where the codes of a slot's row are. */
static inline int8_t *tk_store_codes(const struct store *store, uint32_t slot)
{
    return tk_store_segment(store, slot)->codes +
           (size_t)tk_store_position(store, slot) * store->row_size;
}

static inline struct row tk_store_row(const struct store *store, uint32_t slot)
{
    return (struct row){tk_store_codes(store, slot), tk_store_spot(store, slot)->scale};
}

static inline struct neighbours *tk_store_list(const struct store *store, uint32_t slot)
{
    return atomic_load_explicit(&tk_store_spot(store, slot)->out, memory_order_acquire);
}

#endif
