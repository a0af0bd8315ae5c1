/*
 * idset.c: sets of 64-bit ids, as CRoaring bitmaps of the low 32 bits, one for each value of the
 * high 32 bits that occurs, in ascending order.
 */
#include "engine/idset.h"
#include "engine/status.h"

#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

struct part {
    uint32_t high;
    roaring_bitmap_t *lows;
};

struct tk_idset {
    struct part *parts;
    size_t count, capacity;
};

tk_idset *tk_idset_create(void)
{
    return calloc(1, sizeof(tk_idset));
}

void tk_idset_free(tk_idset *set)
{
    if (!set) return;
    for (size_t i = 0; i < set->count; i++) roaring_bitmap_free(set->parts[i].lows);
    free(set->parts);
    free(set);
}

static uint32_t high_of(tk_id id)
{
    return (uint32_t)(id >> 32);
}

/* The position of the first part that is not below `high`. */
static size_t position(const tk_idset *set, uint32_t high)
{
    size_t low = 0, end = set->count;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        if (set->parts[middle].high < high)
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static const struct part *find(const tk_idset *set, uint32_t high)
{
    size_t at = position(set, high);
    return at < set->count && set->parts[at].high == high ? &set->parts[at] : NULL;
}

/* The part of `high`, made where there is none; NULL when memory ran out. */
static struct part *make(tk_idset *set, uint32_t high)
{
    size_t at = position(set, high);
    if (at < set->count && set->parts[at].high == high) return &set->parts[at];
    if (set->count == set->capacity) {
        size_t larger = set->capacity ? set->capacity * 2 : 4;
        struct part *parts = realloc(set->parts, larger * sizeof(*parts));
        if (!parts) return NULL;
        set->parts = parts;
        set->capacity = larger;
    }
    roaring_bitmap_t *lows = roaring_bitmap_create();
    if (!lows) return NULL;
    memmove(set->parts + at + 1, set->parts + at, (set->count - at) * sizeof(*set->parts));
    set->parts[at] = (struct part){high, lows};
    set->count++;
    return &set->parts[at];
}

tk_status tk_idset_add(tk_idset *set, tk_id id)
{
    return tk_idset_add_many(set, 1, &id);
}

tk_status tk_idset_add_many(tk_idset *set, size_t n, const tk_id *ids)
{
    if (!set || (n > 0 && !ids)) return TK_EINVAL;
    for (size_t i = 0; i < n;) {
        struct part *part = make(set, high_of(ids[i]));
        if (!part) return TK_ENOMEM;
        for (; i < n && high_of(ids[i]) == part->high; i++)
            roaring_bitmap_add(part->lows, (uint32_t)ids[i]);
    }
    return TK_OK;
}

tk_status tk_idset_add_set(tk_idset *set, const tk_idset *other)
{
    if (!set || !other) return TK_EINVAL;
    for (size_t i = 0; set != other && i < other->count; i++) {
        struct part *part = make(set, other->parts[i].high);
        if (!part) return TK_ENOMEM;
        roaring_bitmap_or_inplace(part->lows, other->parts[i].lows);
    }
    return TK_OK;
}

tk_idset *tk_idset_copy(const tk_idset *set)
{
    tk_idset *copy = set ? tk_idset_create() : NULL;
    if (!copy) return NULL;
    copy->parts = calloc(set->count ? set->count : 1, sizeof(*copy->parts));
    copy->capacity = copy->parts ? set->count : 0;
    for (size_t i = 0; copy->parts && i < set->count; i++) {
        roaring_bitmap_t *lows = roaring_bitmap_copy(set->parts[i].lows);
        if (!lows) break;
        copy->parts[copy->count++] = (struct part){set->parts[i].high, lows};
    }
    if (copy->parts && copy->count == set->count) return copy;
    tk_idset_free(copy);
    return NULL;
}

void tk_idset_remove(tk_idset *set, tk_id id)
{
    const struct part *part = set ? find(set, high_of(id)) : NULL;
    if (part) roaring_bitmap_remove(part->lows, (uint32_t)id);
}

bool tk_idset_contains(const tk_idset *set, tk_id id)
{
    if (!set) return false;
    const struct part *part = find(set, high_of(id));
    return part && roaring_bitmap_contains(part->lows, (uint32_t)id);
}

size_t tk_idset_count(const tk_idset *set)
{
    size_t count = 0;
    for (size_t i = 0; set && i < set->count; i++)
        count += roaring_bitmap_get_cardinality(set->parts[i].lows);
    return count;
}

struct visit {
    uint32_t high;
    bool (*visit)(tk_id id, void *arg);
    void *arg;
    bool going_on;
};

static bool visit_low(uint32_t low, void *arg)
{
    struct visit *visit = arg;
    visit->going_on = visit->visit((tk_id)visit->high << 32 | low, visit->arg);
    return visit->going_on;
}

void tk_idset_each(const tk_idset *set, bool (*visit)(tk_id id, void *arg), void *arg)
{
    struct visit state = {.visit = visit, .arg = arg, .going_on = true};
    for (size_t i = 0; i < set->count && state.going_on; i++) {
        state.high = set->parts[i].high;
        roaring_iterate(set->parts[i].lows, visit_low, &state);
    }
}
