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

struct candidate {
    float similarity;
    uint32_t slot;
};

/* A binary heap, or a plain array, of candidates. */
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

/* The longest neighbour list there can be, and so the size of the buffers for one. */
#define LIST_MAX 320
#define LEVEL_MAX 15

struct selection {
    uint32_t count;
    uint32_t slots[LIST_MAX];
};

struct session {
    struct seat seat;
    struct memory *memory;
    struct visited visited;
    struct queue starts;   /* where a walk begins */
    struct queue frontier; /* seen and not yet expanded, best on top */
    struct queue best;     /* the best so far, worst on top */
    struct queue scratch;  /* candidates for a neighbour list */
    struct hits hits;
    float *query;  /* a normalised vector, padded to the stride */
    float *vector; /* another one */
    size_t stride;
    float *scores; /* of a block of rows against a block of queries */
    size_t score_capacity;
    struct selection selected[LEVEL_MAX + 1];
};

/* Takes a session; NULL when memory ran out. stride is that of the index. */
struct session *tk_session_begin(struct epoch *epoch, size_t stride);
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

/* Makes room for one more. */
bool tk_queue_reserve(struct session *session, struct queue *queue, size_t capacity);
bool tk_hits_reserve(struct session *session, size_t capacity);
bool tk_scores_reserve(struct session *session, size_t count);

/* Heaps: best on top for the frontier, worst on top for the best so far. Pushing returns false when
 * memory ran out. */
bool tk_queue_push_best(struct session *session, struct queue *queue, struct candidate candidate);
bool tk_queue_push_worst(struct session *session, struct queue *queue, struct candidate candidate);
struct candidate tk_queue_pop_best(struct queue *queue);
struct candidate tk_queue_pop_worst(struct queue *queue);
/* Turns any queue into an array, best first, ties by slot. */
void tk_queue_sort(struct queue *queue);

#endif
