/*
 * session.c: see session.h.
 */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#define LINE ((size_t)64)

static size_t lines(size_t size)
{
    return (size + LINE - 1) / LINE * LINE;
}

struct session *tk_session_begin(struct epoch *epoch, const struct coder *coder)
{
    struct session *session = (struct session *)tk_epoch_enter(epoch);
    if (!session || session->room) return session;
    const size_t query = lines(tk_query_size(coder));
    session->memory = epoch->memory;
    session->room_size = query + coder->dim * sizeof(float);
    session->room = tk_memory_lines(session->memory, session->room_size);
    if (!session->room) {
        tk_session_end(epoch, session);
        return NULL;
    }
    tk_query_place(coder, &session->query, session->room);
    session->vector = (float *)((char *)session->room + query);
    return session;
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
    free_queue(memory, &session->best);
    free_queue(memory, &session->accepted);
    free_queue(memory, &session->scratch);
    tk_memory_free(memory, session->hits.items,
                   session->hits.capacity * sizeof(*session->hits.items));
    tk_memory_free(memory, session->room, session->room_size);
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

static bool comes_before(struct candidate a, struct candidate b)
{
    return a.similarity != b.similarity ? a.similarity > b.similarity : a.slot < b.slot;
}

/* Queues are short, or nearly sorted already, so that nothing beats inserting. */
void tk_candidates_sort(struct candidate *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct candidate item = items[i];
        size_t at = i;
        for (; at > 0 && comes_before(item, items[at - 1]); at--) items[at] = items[at - 1];
        items[at] = item;
    }
}
