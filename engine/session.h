/*
 * session.h: the working memory of one search or one write, kept between them.
 *
 * A session is a seat (epoch.h) with room for everything a walk through the graph needs, so that a
 * search in a warm index allocates nothing. The set of visited slots is a bitmap with a record of
 * the bits that were set: clearing it costs what the walk visited, not what the index holds.
 */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine/store.h"

#include <string.h>

struct candidate {
    float similarity;
    uint32_t slot; /* with EXPANDED, in the answer of a walk */
};

/* Slots are below 2^31. */
#define EXPANDED (UINT32_C(1) << 31)

static inline uint32_t tk_candidate_slot(struct candidate candidate)
{
    return candidate.slot & ~EXPANDED;
}

/* An array of candidates. */
struct queue {
    struct candidate *items;
    size_t count, capacity;
};

struct visited {
    uint64_t *words;
    size_t word_count;
    uint32_t *slots; /* those whose bit is set */
    size_t count, capacity;
};

struct hits {
    tk_hit *items;
    size_t count, capacity;
};

struct selection {
    uint32_t count;
    uint32_t diverse; /* the first so many (tk_graph_select) */
    uint32_t slots[LIST_MAX];
    float similarities[LIST_MAX];
};

struct session {
    struct seat seat;
    struct memory *memory;
    struct visited visited;
    struct queue best;     /* candidates of a walk, best first */
    struct queue accepted; /* those that its filter accepts, best first */
    struct queue scratch;  /* candidates for a neighbour list */
    struct hits hits;
    void *room; /* of the arrays of the query and the floats below */
    size_t room_size;
    struct query query; /* what is searched for, or what is to be put in */
    float *vector;      /* a normalised vector, dim floats */
    float *scores;      /* of a block of rows against a block of queries */
    size_t score_capacity;
    struct selection selected;
};

/* Takes a session; NULL when memory ran out. */
struct session *tk_session_begin(struct epoch *epoch, const struct coder *coder);
void tk_session_end(struct epoch *epoch, struct session *session);
/* Frees what a session holds, for tk_epoch_destroy. */
void tk_session_finish(struct seat *seat, struct memory *memory);

void tk_visited_clear(struct visited *visited);
/* Makes the set ready for slots below `slots`, and for one more than it holds. */
bool tk_visited_grow(struct session *session, size_t slots);

/* Marks a slot; says whether it was unmarked. False in *ok when memory ran out. */
static inline bool tk_visited_mark(struct session *session, uint32_t slot, bool *ok)
{
    struct visited *visited = &session->visited;
    size_t word = slot / 64;
    if (word >= visited->word_count || visited->count == visited->capacity) {
        if (!tk_visited_grow(session, (size_t)slot + 1)) {
            *ok = false;
            return false;
        }
    }
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if (visited->words[word] & bit) return false;
    visited->words[word] |= bit;
    visited->slots[visited->count++] = slot;
    return true;
}

static inline bool tk_visited_has(const struct visited *visited, uint32_t slot)
{
    const size_t word = slot / 64;
    return word < visited->word_count && visited->words[word] >> (slot % 64) & 1;
}

/* Makes room for one more. */
bool tk_queue_reserve(struct session *session, struct queue *queue, size_t capacity);
bool tk_hits_reserve(struct session *session, size_t capacity);
bool tk_scores_reserve(struct session *session, size_t count);

/* Puts a candidate into its place in a sorted queue that keeps at most `keep`, of which the worst
 * goes; the queue has room. Returns the place; `keep` where the candidate is not good enough. */
static inline size_t tk_queue_insert(struct queue *queue, size_t keep, struct candidate candidate)
{
    struct candidate *items = queue->items;
    size_t count = queue->count, at = 0;
    if (count == keep) {
        if (!(candidate.similarity > items[keep - 1].similarity)) return keep;
        count--;
    } else {
        queue->count++;
    }
    /* A search by halves without branches, which nobody could predict. */
    for (size_t span = count; span > 0;) {
        const size_t half = (span + 1) / 2;
        at += items[at + half - 1].similarity >= candidate.similarity ? half : 0;
        span -= half;
    }
    memmove(items + at + 1, items + at, (count - at) * sizeof(*items));
    items[at] = candidate;
    return at;
}

/* Sorts candidates: best first, ties by slot. */
void tk_candidates_sort(struct candidate *items, size_t count);

#endif
