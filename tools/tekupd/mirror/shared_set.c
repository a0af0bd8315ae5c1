#include "tools/tekupd/mirror/shared_set.h"

#include <stdatomic.h>
#include <stdlib.h>

struct shared_set {
    tk_idset *ids;
    atomic_int holds;
};

/* Takes the ids over, also when it fails. */
static struct shared_set *share(tk_idset *ids)
{
    struct shared_set *set = malloc(sizeof(*set));
    if (set == NULL || ids == NULL) {
        tk_idset_free(ids);
        free(set);
        return NULL;
    }
    set->ids = ids;
    atomic_init(&set->holds, 1);
    return set;
}

struct shared_set *shared_set_create(void)
{
    return share(tk_idset_create());
}

struct shared_set *shared_set_keep(struct shared_set *set)
{
    atomic_fetch_add_explicit(&set->holds, 1, memory_order_relaxed);
    return set;
}

void shared_set_release(struct shared_set *set)
{
    if (set == NULL || atomic_fetch_sub_explicit(&set->holds, 1, memory_order_acq_rel) > 1) return;
    tk_idset_free(set->ids);
    free(set);
}

const tk_idset *shared_set_ids(const struct shared_set *set)
{
    return set->ids;
}

tk_idset *shared_set_change(struct shared_set **set)
{
    /* Acquire: those who let go have read what they wanted. */
    if (atomic_load_explicit(&(*set)->holds, memory_order_acquire) == 1) return (*set)->ids;
    struct shared_set *copy = share(tk_idset_copy((*set)->ids));
    if (copy == NULL) return NULL;
    shared_set_release(*set);
    *set = copy;
    return copy->ids;
}
