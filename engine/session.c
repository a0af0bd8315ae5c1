/*
 * session.c: see session.h.
 */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

struct session *tk_session_begin(struct epoch *epoch, size_t stride)
{
    struct session *session = (struct session *)tk_epoch_enter(epoch);
    if (!session) return NULL;
    if (session->vector) return session;
    session->memory = epoch->memory;
    session->stride = stride;
    if (!session->query) session->query = tk_memory_lines(session->memory, stride * sizeof(float));
    if (session->query) session->vector = tk_memory_lines(session->memory, stride * sizeof(float));
    if (session->vector) return session;
    tk_session_end(epoch, session);
    return NULL;
}

void tk_session_end(struct epoch *epoch, struct session *session)
{
    tk_epoch_leave(epoch, &session->seat);
}

static void free_queue(struct memory *memory, struct queue *queue)
{
    tk_memory_free(memory, queue->items, queue->capacity * sizeof(*queue->items));
}

void tk_session_finish(struct seat *seat, struct memory *memory)
{
    struct session *session = (struct session *)seat;
    struct visited *visited = &session->visited;
    tk_memory_free(memory, visited->words, visited->word_count * sizeof(*visited->words));
    tk_memory_free(memory, visited->slots, visited->capacity * sizeof(*visited->slots));
    free_queue(memory, &session->starts);
    free_queue(memory, &session->frontier);
    free_queue(memory, &session->best);
    free_queue(memory, &session->scratch);
    tk_memory_free(memory, session->hits.items,
                   session->hits.capacity * sizeof(*session->hits.items));
    tk_memory_free(memory, session->query, session->stride * sizeof(float));
    tk_memory_free(memory, session->vector, session->stride * sizeof(float));
    tk_memory_free(memory, session->scores, session->score_capacity * sizeof(float));
}

void tk_visited_clear(struct visited *visited)
{
    for (size_t i = 0; i < visited->count; i++) visited->words[visited->slots[i] / 64] = 0;
    visited->count = 0;
}

/* Grows an array to at least `least` items, doubling. */
static bool grow(struct session *session, void **items, size_t *capacity, size_t least, size_t size)
{
    if (least <= *capacity) return true;
    size_t larger = *capacity ? *capacity * 2 : 64;
    if (larger < least) larger = least;
    void *grown = tk_memory_resize(session->memory, *items, *capacity * size, larger * size);
    if (!grown) return false;
    *items = grown;
    *capacity = larger;
    return true;
}

bool tk_visited_grow(struct session *session, size_t slots)
{
    struct visited *visited = &session->visited;
    size_t before = visited->word_count;
    void *words = visited->words;
    if (!grow(session, &words, &visited->word_count, (slots + 63) / 64, sizeof(uint64_t)))
        return false;
    visited->words = words;
    if (visited->word_count > before)
        memset(visited->words + before, 0, (visited->word_count - before) * sizeof(uint64_t));
    void *list = visited->slots;
    bool grown =
        grow(session, &list, &visited->capacity, visited->count + 1, sizeof(*visited->slots));
    visited->slots = list;
    return grown;
}

bool tk_queue_reserve(struct session *session, struct queue *queue, size_t capacity)
{
    void *items = queue->items;
    bool grown = grow(session, &items, &queue->capacity, capacity, sizeof(*queue->items));
    queue->items = items;
    return grown;
}

bool tk_hits_reserve(struct session *session, size_t capacity)
{
    void *items = session->hits.items;
    bool grown = grow(session, &items, &session->hits.capacity, capacity, sizeof(tk_hit));
    session->hits.items = items;
    return grown;
}

bool tk_scores_reserve(struct session *session, size_t count)
{
    void *scores = session->scores;
    bool grown = grow(session, &scores, &session->score_capacity, count, sizeof(float));
    session->scores = scores;
    return grown;
}

/* The heap's order: sign 1 puts the largest similarity on top, -1 the smallest. */
static inline bool above(struct candidate a, struct candidate b, float sign)
{
    return sign * a.similarity > sign * b.similarity;
}

static inline void sift_up(struct queue *queue, struct candidate candidate, float sign)
{
    size_t i = queue->count++;
    while (i > 0 && above(candidate, queue->items[(i - 1) / 2], sign)) {
        queue->items[i] = queue->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    queue->items[i] = candidate;
}

static inline struct candidate take_top(struct queue *queue, float sign)
{
    struct candidate top = queue->items[0];
    struct candidate last = queue->items[--queue->count];
    size_t i = 0;
    for (size_t child = 1; child < queue->count; child = 2 * i + 1) {
        if (child + 1 < queue->count && above(queue->items[child + 1], queue->items[child], sign))
            child++;
        if (!above(queue->items[child], last, sign)) break;
        queue->items[i] = queue->items[child];
        i = child;
    }
    queue->items[i] = last;
    return top;
}

bool tk_queue_push_best(struct session *session, struct queue *queue, struct candidate candidate)
{
    if (!tk_queue_reserve(session, queue, queue->count + 1)) return false;
    sift_up(queue, candidate, 1);
    return true;
}

bool tk_queue_push_worst(struct session *session, struct queue *queue, struct candidate candidate)
{
    if (!tk_queue_reserve(session, queue, queue->count + 1)) return false;
    sift_up(queue, candidate, -1);
    return true;
}

struct candidate tk_queue_pop_best(struct queue *queue)
{
    return take_top(queue, 1);
}

struct candidate tk_queue_pop_worst(struct queue *queue)
{
    return take_top(queue, -1);
}

static int by_rank(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->similarity != b->similarity) return a->similarity > b->similarity ? -1 : 1;
    return (a->slot > b->slot) - (a->slot < b->slot);
}

void tk_queue_sort(struct queue *queue)
{
    if (queue->count > 1) qsort(queue->items, queue->count, sizeof(*queue->items), by_rank);
}
