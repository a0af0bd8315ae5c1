/*
 * filter.h: which ids a search may return.
 *
 * A filter is asked about many ids at once, since a call for each would take longer than most
 * answers.
 */
#ifndef ENGINE_FILTER_H
#define ENGINE_FILTER_H

#include "engine/store.h"

#include <tekup/index.h>

struct filter {
    const tk_idset *within; /* NULL: all */
    tk_predicate predicate; /* NULL: all */
    void *predicate_arg;
};

static inline bool tk_filter_is_open(const struct filter *filter)
{
    return !filter->within && !filter->predicate;
}

/* Which of up to TK_PREDICATE_MAX ids it accepts: bit i stands for ids[i]. */
uint64_t tk_filter_ids(const struct filter *filter, const tk_id *ids, size_t count);

static inline bool tk_filter_accepts(const struct filter *filter, tk_id id)
{
    return tk_filter_is_open(filter) || tk_filter_ids(filter, &id, 1) != 0;
}

/* Which of up to TK_PREDICATE_MAX slots are live nodes that stand for an id it accepts. */
uint64_t tk_filter_slots(const struct filter *filter, const struct store *store,
                         const uint32_t *slots, size_t count);

#endif
