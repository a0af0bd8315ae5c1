/* filter.c: see filter.h. */
#include "engine/filter.h"

static uint64_t first_bits(size_t count)
{
    return count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

uint64_t tk_filter_ids(const struct filter *filter, const tk_id *ids, size_t count)
{
    uint64_t accepted = first_bits(count);
    if (filter->predicate) accepted &= filter->predicate(ids, count, filter->predicate_arg);
    if (!filter->within) return accepted;
    for (uint64_t left = accepted; left != 0; left &= left - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(left);
        if (!tk_idset_contains(filter->within, ids[i])) accepted &= ~(UINT64_C(1) << i);
    }
    return accepted;
}

/* Whether it accepts one of the ids of a node. */
static bool accepts_one(const struct filter *filter, struct node_ids members)
{
    for (uint32_t at = 0; at < members.count; at += TK_PREDICATE_MAX) {
        const uint32_t left = members.count - at;
        if (tk_filter_ids(filter, members.ids + at,
                          left < TK_PREDICATE_MAX ? left : TK_PREDICATE_MAX) != 0)
            return true;
    }
    return false;
}

uint64_t tk_filter_slots(const struct filter *filter, const struct store *store,
                         const uint32_t *slots, size_t count)
{
    tk_id ids[TK_PREDICATE_MAX];
    uint8_t places[TK_PREDICATE_MAX]; /* in `slots`, of those that stand for one id */
    size_t alone = 0;
    uint64_t accepted = 0;
    for (size_t i = 0; i < count; i++) {
        if (!tk_store_is_live(store, slots[i])) continue;
        if (!tk_store_is_shared(store, slots[i])) {
            places[alone] = (uint8_t)i;
            ids[alone++] = *tk_store_id(store, slots[i]);
        } else if (accepts_one(filter, tk_store_ids(store, slots[i]))) {
            accepted |= UINT64_C(1) << i;
        }
    }
    for (uint64_t left = alone > 0 ? tk_filter_ids(filter, ids, alone) : 0; left != 0;
         left &= left - 1)
        accepted |= UINT64_C(1) << places[__builtin_ctzll(left)];
    return accepted;
}
