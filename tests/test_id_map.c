#include "tools/tekupd/mirror/id_map.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

static void *find(const struct id_map *map, int64_t id)
{
    void *value = id_map_lock(map, id);
    id_map_unlock(map, id);
    return value;
}

Test(id_map, agrees_with_a_plain_array_through_many_changes)
{
    enum { IDS = 5000, STEPS = 200000 };
    static void *wanted[IDS];
    static char values[7];
    struct id_map *map = id_map_create();
    uint32_t state = 99;
    cr_assert_not_null(map);
    for (int step = 0; step < STEPS; step++) {
        state = state * 1664525u + 1013904223u;
        const int id = (int)((state >> 8) % IDS);
        if (state >> 30 == 0) {
            id_map_remove(map, id);
            wanted[id] = NULL;
        } else {
            wanted[id] = &values[(state >> 4) % 7];
            cr_assert_eq(id_map_put(map, id, wanted[id]), 0);
        }
    }
    for (int id = 0; id < IDS; id++) cr_expect_eq(find(map, id), wanted[id], "%d", id);
    for (int id = 0; id < IDS; id++) id_map_remove(map, id);
    for (int id = 0; id < IDS; id++) cr_expect_null(find(map, id));
    id_map_free(map);
    id_map_free(NULL);
}

Test(id_map, takes_every_id)
{
    static const int64_t ids[] = {0, -1, 1, INT64_MIN, INT64_MAX, INT32_MAX};
    static char values[6];
    struct id_map *map = id_map_create();
    for (int i = 0; i < 6; i++) id_map_put(map, ids[i], &values[i]);
    for (int i = 0; i < 6; i++) cr_expect_eq(find(map, ids[i]), &values[i]);
    cr_expect_null(find(map, 2));
    id_map_remove(map, 2);
    id_map_free(map);
}
