#include "tools/tekupd/gone.h"

#include "tools/tekupd/id_map.h"

#include <stdlib.h>

enum { KEPT_S = 600 };

/* Two generations: when the recent one is old enough it takes the place of the other. */
struct gone {
    struct id_map *recent, *older;
    double begun_s; /* of the recent one */
};

struct gone *gone_create(void)
{
    struct gone *gone = calloc(1, sizeof(*gone));
    if (gone == NULL) return NULL;
    gone->recent = id_map_create();
    gone->older = id_map_create();
    if (gone->recent != NULL && gone->older != NULL) return gone;
    gone_free(gone);
    return NULL;
}

void gone_free(struct gone *gone)
{
    if (gone == NULL) return;
    id_map_free(gone->recent);
    id_map_free(gone->older);
    free(gone);
}

int gone_add(struct gone *gone, int64_t id, bool loading, double now_s)
{
    static char mark;
    if (!loading && now_s - gone->begun_s > KEPT_S) {
        struct id_map *fresh = id_map_create();
        if (fresh != NULL) {
            id_map_free(gone->older);
            gone->older = gone->recent;
            gone->recent = fresh;
            gone->begun_s = now_s;
        }
    }
    return id_map_put(gone->recent, id, &mark);
}

static bool has(const struct id_map *map, int64_t id)
{
    const bool found = id_map_lock(map, id) != NULL;
    id_map_unlock(map, id);
    return found;
}

bool gone_has(const struct gone *gone, int64_t id)
{
    return has(gone->recent, id) || has(gone->older, id);
}
