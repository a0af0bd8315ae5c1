/*
 * links.h: neighbour lists, in the form that a walk reads.
 *
 * A list keeps, beside the number of each neighbour's slot, what is needed to guess how similar the
 * neighbour is to a query without going to it: the signs of the difference between the neighbour's
 * vector and the owner's, one bit a component (RaBitQ: Gao and Long, arXiv 2405.12497, applied to
 * differences along edges as in SymphonyQG, arXiv 2411.12229). For a query q, an owner u, a
 * neighbour v, r = v - u and s its signs,
 *
 *     q.v = q.u + q.r,   and   q.r = (q - u).r + u.r,
 *     (q - u).r  is about  ((q - u).s) |r|^2 / (r.s),
 *
 * so q.v is about q.u + base + factor * q.s, where factor = |r|^2 / |r|_1 and base = u.r - factor
 * u.s are kept with the link. The walk has q.u from the owner's codes; q.s comes for 32 neighbours
 * at once from the tables of the query (kernels.h). The error is about 0.011 for 1,536 components.
 *
 * Neighbours come in groups of 32. A list is one run of memory, read once from front to back:
 * header, then for each group its numbers, bases, factors and signs, then for each group what only
 * writers look at. Lists are immutable once published; a change is a copy.
 */
#ifndef ENGINE_LINKS_H
#define ENGINE_LINKS_H

#include "engine/code.h"
#include "engine/epoch.h"

#define LINKS_GROUP 32
/* The longest neighbour list there can be, and so the size of the buffers for one. */
#define LIST_MAX 320
#define LINKS_NONE UINT32_MAX

struct neighbours {
    struct garbage garbage;
    uint32_t count;  /* positions in use are 0 to count - 1 */
    uint32_t groups; /* there is room for */
    uint32_t n;      /* components, as the coder's */
    uint32_t zero;
    _Alignas(64) uint8_t content[];
};

struct link_group {
    /* graph_remove.c may overwrite a number with the owner's own where memory for a new list ran
     * out; nothing else changes after publication. */
    _Atomic uint32_t slots[LINKS_GROUP];
    int16_t base[LINKS_GROUP];    /* in units of LINK_BASE_UNIT */
    uint16_t factor[LINKS_GROUP]; /* in units of LINK_FACTOR_UNIT */
    uint8_t signs[];
};

/* Fine enough to add nothing to the error of a guess. */
#define LINK_BASE_UNIT (1.0f / 8192)
#define LINK_FACTOR_UNIT (1.0f / 65536)

/* What writers want to know of each link of a group: in the upper 15 bits the similarity of owner
 * and neighbour by coarse codes, in units of 1 / LINK_SIMILARITY_ONE, and in the lowest whether the
 * link is spare: not one of the diverse ones that the selection heuristic asks for, but one that
 * fills the list up, since its bits are read in any case. */
struct link_notes {
    /* Whether a link is spare changes after publication, under the owner's out lock; writers that
     * do not hold it look at similarities. */
    _Atomic int16_t links[LINKS_GROUP];
};

#define LINK_SIMILARITY_ONE 16383

static inline size_t tk_group_size(uint32_t n)
{
    return sizeof(struct link_group) + (size_t)n * LINKS_GROUP / 8;
}

static inline size_t tk_links_size(uint32_t n, uint32_t groups)
{
    return sizeof(struct neighbours) + groups * (tk_group_size(n) + sizeof(struct link_notes));
}

static inline uint32_t tk_links_groups(uint32_t count)
{
    return count == 0 ? 1 : (count + LINKS_GROUP - 1) / LINKS_GROUP;
}

static inline struct link_group *tk_link_group(const struct neighbours *list, uint32_t group)
{
    return (struct link_group *)(list->content + group * tk_group_size(list->n));
}

static inline struct link_notes *tk_link_notes(const struct neighbours *list, uint32_t group)
{
    return (struct link_notes *)(list->content + list->groups * tk_group_size(list->n) +
                                 group * sizeof(struct link_notes));
}

static inline uint32_t tk_neighbour(const struct neighbours *list, uint32_t i)
{
    return atomic_load_explicit(&tk_link_group(list, i / LINKS_GROUP)->slots[i % LINKS_GROUP],
                                memory_order_relaxed);
}

/* The position of a slot in a list, which may be NULL, or LINKS_NONE. */
static inline uint32_t tk_links_find(const struct neighbours *list, uint32_t slot)
{
    for (uint32_t i = 0; list && i < list->count; i++)
        if (tk_neighbour(list, i) == slot) return i;
    return LINKS_NONE;
}

static inline int16_t tk_link_note(const struct neighbours *list, uint32_t i)
{
    return atomic_load_explicit(&tk_link_notes(list, i / LINKS_GROUP)->links[i % LINKS_GROUP],
                                memory_order_relaxed);
}

static inline void tk_link_set_note(struct neighbours *list, uint32_t i, int16_t note)
{
    atomic_store_explicit(&tk_link_notes(list, i / LINKS_GROUP)->links[i % LINKS_GROUP], note,
                          memory_order_relaxed);
}

static inline float tk_link_similarity(const struct neighbours *list, uint32_t i)
{
    const int note = tk_link_note(list, i);
    return (float)((note - (note & 1)) / 2) / LINK_SIMILARITY_ONE;
}

static inline bool tk_link_is_spare(const struct neighbours *list, uint32_t i)
{
    return tk_link_note(list, i) & 1;
}

static inline void tk_link_set_spare(struct neighbours *list, uint32_t i, bool spare)
{
    const int note = tk_link_note(list, i);
    tk_link_set_note(list, i, (int16_t)(note - (note & 1) + spare));
}

/* A similarity as precise as notes keep it. */
float tk_link_rounded(float similarity);

/* Writes link i of a list that is not published yet. */
void tk_link_put(const struct coder *coder, struct neighbours *list, uint32_t i, struct row owner,
                 uint32_t slot, struct row neighbour, float similarity, bool spare);

/* Copies link `from` of one list to place `to` of another one of the same owner. */
void tk_link_copy(const struct coder *coder, struct neighbours *list, uint32_t to,
                  const struct neighbours *other, uint32_t from);

/* Puts the signs of a list, which were written for kernels of the other order, into that of the
 * coder's kernels. */
void tk_links_reorder(const struct coder *coder, struct neighbours *list);

/* Guesses the similarities of a group's 32 neighbours to a query; `to_owner` is the query's
 * similarity to the owner. Places past the count get numbers that mean nothing. `ahead` is a list
 * whose first group will be read next, or NULL: half of that is asked for meanwhile, so that what
 * is done with the guesses has time for the other half (tk_links_second_half). */
void tk_links_guess(const struct coder *coder, const struct query *query,
                    const struct link_group *group, float to_owner, float similarity[LINKS_GROUP],
                    const struct neighbours *ahead);

/* Asks for the memory of what stands before a list's first signs. */
static inline void tk_links_prefetch(const struct neighbours *list)
{
    const char *at = (const char *)list;
    const size_t size = sizeof(*list) + sizeof(struct link_group);
    for (size_t line = 0; line < size; line += 64) __builtin_prefetch(at + line);
}

/* The memory that is still to be asked for, a few lines at a time. */
struct lines {
    const char *next, *end;
};

/* The second half of the signs of a list's first group; nothing where there is no list. */
static inline struct lines tk_links_second_half(const struct coder *coder,
                                                const struct neighbours *list)
{
    if (!list) return (struct lines){NULL, NULL};
    const char *signs = (const char *)tk_link_group(list, 0)->signs;
    return (struct lines){signs + 2 * (size_t)coder->n, signs + 4 * (size_t)coder->n};
}

static inline void tk_lines_prefetch(struct lines *lines, int count)
{
    for (; count > 0 && lines->next < lines->end; count--, lines->next += 64)
        __builtin_prefetch(lines->next, 0, 2);
}

#endif
