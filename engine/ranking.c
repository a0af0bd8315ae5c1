/*
 * ranking.c: see ranking.h.
 */
#include "engine/ranking.h"

#include <stdlib.h>

static inline bool worse(tk_hit a, tk_hit b)
{
    if (a.similarity != b.similarity) return a.similarity < b.similarity;
    return a.id > b.id;
}

static void sift_up(tk_hit *items, size_t i, tk_hit hit)
{
    while (i > 0 && worse(hit, items[(i - 1) / 2])) {
        items[i] = items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    items[i] = hit;
}

static void replace_top(tk_hit *items, size_t count, tk_hit hit)
{
    size_t i = 0;
    for (size_t child = 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && worse(items[child + 1], items[child])) child++;
        if (!worse(items[child], hit)) break;
        items[i] = items[child];
        i = child;
    }
    items[i] = hit;
}

bool tk_ranking_push(struct ranking *ranking, tk_id id, float similarity)
{
    tk_hit hit = {id, fminf(1, fmaxf(-1, similarity))};
    if (hit.similarity < ranking->threshold) return true;
    if (ranking->count == ranking->limit) {
        if (worse(ranking->items[0], hit)) replace_top(ranking->items, ranking->count, hit);
        return true;
    }
    if (ranking->count == ranking->room) {
        if (!ranking->session || !tk_hits_reserve(ranking->session, ranking->count + 1))
            return false;
        ranking->items = ranking->session->hits.items;
        ranking->room = ranking->session->hits.capacity;
    }
    sift_up(ranking->items, ranking->count++, hit);
    return true;
}

static int by_id(const void *left, const void *right)
{
    const tk_hit *a = left, *b = right;
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    return (a->similarity < b->similarity) - (a->similarity > b->similarity);
}

static int by_rank(const void *left, const void *right)
{
    const tk_hit *a = left, *b = right;
    return worse(*b, *a) ? -1 : worse(*a, *b);
}

void tk_ranking_finish(struct ranking *ranking, size_t k)
{
    if (ranking->count == 0) return;
    tk_hit *items = ranking->items;
    size_t kept = 1;
    qsort(items, ranking->count, sizeof(*items), by_id);
    for (size_t i = 1; i < ranking->count; i++)
        if (items[i].id != items[kept - 1].id) items[kept++] = items[i];
    qsort(items, kept, sizeof(*items), by_rank);
    ranking->count = kept < k ? kept : k;
}
