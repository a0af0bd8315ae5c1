#include "tools/tekupd/map/duplicates.h"

struct own {
    const struct catalog *catalog;
    uint64_t document; /* its serial */
};

/* A tk_predicate: of other documents, and known to the catalog. */
static uint64_t is_of_others(const tk_id *ids, size_t count, void *arg)
{
    const struct own *own = arg;
    uint64_t accepted = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t serial = catalog_serial(own->catalog, (int64_t)ids[i]);
        accepted |= (uint64_t)(serial != 0 && serial != own->document) << i;
    }
    return accepted;
}

static int search(struct replica *replica, const float *vector, const tk_search *search,
                  tk_hit *hits, size_t *found, struct error *err)
{
    tk_error problem = {{0}};
    if (tk_index_search(replica_index(replica), vector, search, hits, found, &problem) != TK_OK)
        return error_set(err, ERR_INTERNAL, NULL, "%s", problem.message);
    replica_note_own(replica, 1);
    return 0;
}

int duplicates_find(struct replica *replica, int64_t embedding, const float *vector, size_t limit,
                    tk_hit *hits, size_t *found, struct error *err)
{
    struct own own = {.catalog = replica_catalog(replica)};
    tk_search wanted;
    *found = 0;
    own.document = catalog_serial(own.catalog, embedding);
    if (own.document == 0) return 0;
    tk_search_init(&wanted);
    wanted.k = limit;
    wanted.threshold = DUPLICATES_FROM;
    wanted.predicate = is_of_others;
    wanted.predicate_arg = &own;
    return search(replica, vector, &wanted, hits, found, err);
}

/* Most vectors have nothing of the kind, or have it among their nearest. Only where those are all
 * of the same document is it worth asking the catalog about every candidate. */
int duplicates_any(struct replica *replica, int64_t embedding, const float *vector, bool *any,
                   int64_t *other, struct error *err)
{
    enum { NEAREST = 6, EFFORT = 48 };
    const struct catalog *catalog = replica_catalog(replica);
    const uint64_t document = catalog_serial(catalog, embedding);
    tk_hit hits[NEAREST];
    size_t found;
    tk_search wanted;
    *any = false;
    if (document == 0) return 0;
    tk_search_init(&wanted);
    wanted.k = NEAREST;
    wanted.ef = EFFORT;
    wanted.threshold = DUPLICATES_FROM;
    if (search(replica, vector, &wanted, hits, &found, err) != 0) return -1;
    if (found == NEAREST) {
        bool all_own = true;
        for (size_t i = 0; i < found; i++)
            all_own = all_own && catalog_serial(catalog, (int64_t)hits[i].id) == document;
        if (all_own && duplicates_find(replica, embedding, vector, 1, hits, &found, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < found && !*any; i++) {
        const uint64_t serial = catalog_serial(catalog, (int64_t)hits[i].id);
        *any = serial != 0 && serial != document;
        *other = (int64_t)hits[i].id;
    }
    return 0;
}
