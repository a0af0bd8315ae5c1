#include "bench/exact.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUERY_BLOCK = 128,
    BASE_BLOCK = 2048,
    SLACK = 16 /* candidates beyond the depth, against the rounding of float32 */
};

int neighbours_allocate(size_t queries, size_t depth, struct neighbours *neighbours, tk_error *err)
{
    size_t ids = queries * depth * sizeof(uint32_t);
    size_t similarities = queries * depth * sizeof(double);
    size_t found = queries * sizeof(size_t);
    *neighbours = (struct neighbours){.queries = queries, .depth = depth};
    neighbours->bytes = similarities + found + ids;
    neighbours->memory = shared_allocate(neighbours->bytes);
    if (!neighbours->memory) return fail(err, "memory ran out");
    char *memory = neighbours->memory;
    neighbours->similarities = (double *)memory;
    neighbours->found = (size_t *)(memory + similarities);
    neighbours->ids = (uint32_t *)(memory + similarities + found);
    return 0;
}

void neighbours_free(struct neighbours *neighbours)
{
    shared_free(neighbours->memory, neighbours->bytes);
    *neighbours = (struct neighbours){0};
}

/* ---- The best so far ------------------------------------------------------------------------- */

struct candidate {
    double similarity;
    uint32_t id;
};

/* A heap with the worst of the kept candidates on top. */
struct heap {
    struct candidate *items;
    size_t count, room;
};

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->similarity > b->similarity || (a->similarity == b->similarity && a->id < b->id);
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_down(struct heap *heap)
{
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count) return;
        if (child + 1 < heap->count && better(&heap->items[child], &heap->items[child + 1]))
            child++;
        if (!better(&heap->items[at], &heap->items[child])) return;
        swap(&heap->items[at], &heap->items[child]);
        at = child;
    }
}

static void sift_up(struct heap *heap)
{
    for (size_t at = heap->count - 1; at > 0;) {
        size_t parent = (at - 1) / 2;
        if (!better(&heap->items[parent], &heap->items[at])) return;
        swap(&heap->items[parent], &heap->items[at]);
        at = parent;
    }
}

static void offer(struct heap *heap, uint32_t id, float similarity)
{
    struct candidate candidate = {.similarity = similarity, .id = id};
    if (heap->count < heap->room) {
        heap->items[heap->count++] = candidate;
        sift_up(heap);
    } else if (better(&candidate, &heap->items[0])) {
        heap->items[0] = candidate;
        sift_down(heap);
    }
}

static int compare_candidates(const void *left, const void *right)
{
    return better(left, right) ? -1 : better(right, left);
}

/* Compares the kept candidates of one query again in double precision and writes the best. */
static void settle(struct heap *heap, const struct vectors *base, const float *query, size_t row,
                   struct neighbours *neighbours)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->items[i].similarity =
            vector_dot(query, vectors_row(base, heap->items[i].id), base->dim);
    qsort(heap->items, heap->count, sizeof(*heap->items), compare_candidates);
    size_t found = heap->count < neighbours->depth ? heap->count : neighbours->depth;
    for (size_t i = 0; i < found; i++) {
        neighbours->ids[row * neighbours->depth + i] = heap->items[i].id;
        neighbours->similarities[row * neighbours->depth + i] = heap->items[i].similarity;
    }
    neighbours->found[row] = found;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

struct search {
    const struct vectors *base, *queries;
    const uint8_t *keep;
    uint8_t bits;
    float *rows;   /* BASE_BLOCK x dim: the kept vectors of a block, side by side */
    uint32_t *ids; /* their ids */
    float *scores; /* QUERY_BLOCK x BASE_BLOCK */
    struct heap heaps[QUERY_BLOCK];
};

/* Gathers the next vectors that are to be compared, from *next on; returns how many. */
static size_t gather(struct search *search, size_t *next, const float **rows)
{
    const struct vectors *base = search->base;
    size_t count = 0, first = *next;
    for (; *next < base->count && count < BASE_BLOCK; (*next)++) {
        if (search->keep && !(search->keep[*next] & search->bits)) continue;
        if (search->keep)
            memcpy(search->rows + count * base->dim, vectors_row(base, *next),
                   base->dim * sizeof(float));
        search->ids[count++] = (uint32_t)*next;
    }
    *rows = search->keep ? search->rows : vectors_row(base, first);
    return count;
}

static void search_block(struct search *search, size_t first, size_t queries,
                         struct neighbours *neighbours)
{
    const size_t dim = search->base->dim;
    for (size_t q = 0; q < queries; q++) search->heaps[q].count = 0;
    for (size_t next = 0; next < search->base->count;) {
        const float *rows;
        size_t count = gather(search, &next, &rows);
        if (count == 0) continue;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)queries, (blasint)count,
                    (blasint)dim, 1.0F, vectors_row(search->queries, first), (blasint)dim, rows,
                    (blasint)dim, 0.0F, search->scores, BASE_BLOCK);
        for (size_t q = 0; q < queries; q++)
            for (size_t i = 0; i < count; i++)
                offer(&search->heaps[q], search->ids[i], search->scores[q * BASE_BLOCK + i]);
    }
    for (size_t q = 0; q < queries; q++)
        settle(&search->heaps[q], search->base, vectors_row(search->queries, first + q), first + q,
               neighbours);
}

int exact_search(const struct vectors *base, const struct vectors *queries, const uint8_t *keep,
                 uint8_t bits, struct neighbours *neighbours, tk_error *err)
{
    const size_t room = neighbours->depth + SLACK;
    struct search *search = calloc(1, sizeof(*search));
    struct candidate *items = calloc(QUERY_BLOCK * room, sizeof(*items));
    int result = -1;
    if (!search || !items) goto out;
    search->base = base;
    search->queries = queries;
    search->keep = keep;
    search->bits = bits;
    search->ids = malloc(BASE_BLOCK * sizeof(*search->ids));
    search->scores = malloc(sizeof(float) * QUERY_BLOCK * BASE_BLOCK);
    search->rows = keep ? malloc(sizeof(float) * BASE_BLOCK * base->dim) : NULL;
    if (!search->ids || !search->scores || (keep && !search->rows)) goto out;
    for (size_t q = 0; q < QUERY_BLOCK; q++)
        search->heaps[q] = (struct heap){.items = items + q * room, .room = room};
    for (size_t first = 0; first < queries->count; first += QUERY_BLOCK) {
        size_t left = queries->count - first;
        search_block(search, first, left < QUERY_BLOCK ? left : QUERY_BLOCK, neighbours);
    }
    result = 0;
out:
    if (result != 0) fail(err, "memory ran out");
    if (search) {
        free(search->ids);
        free(search->scores);
        free(search->rows);
    }
    free(search);
    free(items);
    return result;
}
