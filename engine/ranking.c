/*
 * ranking.c: see ranking.h.
 */
#include "engine/ranking.h"

#include <stdlib.h>

/* So many hits are sorted, and looked through, faster without qsort. */
#define FEW 48

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
    const float least = similarity > -1 ? similarity : -1;
    tk_hit hit = {id, least < 1 ? least : 1};
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

/* In front of a heap is its worst: turned round, most of it is nearly in its place. */
static void sort_few(tk_hit *items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const tk_hit hit = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = hit;
    }
    for (size_t i = 1; i < count; i++) {
        const tk_hit hit = items[i];
        size_t at = i;
        for (; at > 0 && worse(items[at - 1], hit); at--) items[at] = items[at - 1];
        items[at] = hit;
    }
}

/* Those whose id stands further in front go out. */
static size_t keep_first(tk_hit *items, size_t count, size_t k)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < k; i++) {
        size_t same = 0;
        while (same < kept && items[same].id != items[i].id) same++;
        if (same == kept) items[kept++] = items[i];
    }
    return kept;
}

void tk_ranking_finish(struct ranking *ranking, size_t k)
{
    if (ranking->count == 0) return;
    if (ranking->count <= FEW) {
        sort_few(ranking->items, ranking->count);
        ranking->count = keep_first(ranking->items, ranking->count, k);
        return;
    }
    tk_hit *items = ranking->items;
    size_t kept = 1;
    qsort(items, ranking->count, sizeof(*items), by_id);
    for (size_t i = 1; i < ranking->count; i++)
        if (items[i].id != items[kept - 1].id) items[kept++] = items[i];
    qsort(items, kept, sizeof(*items), by_rank);
    ranking->count = kept < k ? kept : k;
}
