/*
 * filter.h: which ids a search may return.
 */
#ifndef ENGINE_FILTER_H
#define ENGINE_FILTER_H

#include <tekup/index.h>

struct filter {
    const tk_idset *within; /* NULL: all */
    tk_predicate predicate; /* NULL: all */
    void *predicate_arg;
};

static inline bool tk_filter_accepts(const struct filter *filter, tk_id id)
{
    if (filter->within && !tk_idset_contains(filter->within, id)) return false;
    return !filter->predicate || filter->predicate(id, filter->predicate_arg);
}

/* Whether it accepts one of several ids. */
static inline bool tk_filter_accepts_any(const struct filter *filter, const tk_id *ids,
                                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (tk_filter_accepts(filter, ids[i])) return true;
    return false;
}

static inline bool tk_filter_is_open(const struct filter *filter)
{
    return !filter->within && !filter->predicate;
}

#endif
