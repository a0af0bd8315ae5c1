#include "tools/tekupd/map/map.h"

#include "tests/replica_fixture.h"
#include "tools/tekupd/map/mapper.h"
#include "tools/tekupd/map/plane.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Each of a document of its own, in one of seven repositories. */
static struct replica *replica_with(unsigned count)
{
    struct fixture_row *rows = malloc((count + 1) * sizeof(*rows));
    for (unsigned i = 0; i < count; i++) rows[i] = (struct fixture_row){i, i % 7, i, 0};
    struct replica *replica = fixture_replica(rows, count);
    free(rows);
    return replica;
}

static struct map *make(struct replica *replica, const struct map *before, size_t most)
{
    struct error err = {0};
    struct map *map;
    cr_assert_eq(map_make(replica, before, most, NULL, &map, &err), 0, "%s", err.message);
    return map;
}

/* Every point where its vector lies, in the order of ids, with its repository. */
static void check(const struct map *map, const struct replica *replica)
{
    float far = 0, scale = 0;
    size_t counted = 0;
    for (size_t i = 0; i < map->count; i++) {
        const struct map_point *point = &map->points[i];
        float vector[EMBEDDING_DIM], xy[2];
        cr_assert(i == 0 || map->points[i - 1].embedding < point->embedding);
        cr_assert_eq(tk_index_get(replica_index(replica), point->embedding, vector, NULL), TK_OK);
        plane_project(map->plane, vector, 1, xy);
        if (scale == 0 && fabsf(point->x) > 0.1f) scale = xy[0] / point->x;
        if (scale != 0) {
            cr_expect_float_eq(xy[0], scale * point->x, 1e-4);
            cr_expect_float_eq(xy[1], scale * point->y, 1e-4);
        }
        far = fmaxf(far, fmaxf(fabsf(point->x), fabsf(point->y)));
        cr_assert_lt(point->repository, map->repository_count);
    }
    cr_expect_float_eq(far, 1, 1e-6);
    for (size_t i = 0; i < map->repository_count; i++) {
        cr_expect_str_eq(map->repositories[i].source, "local");
        cr_expect(i == 0 || strcmp(map->repositories[i - 1].name, map->repositories[i].name) < 0);
        counted += map->repositories[i].count;
    }
    cr_expect_eq(counted, map->count);
}

Test(map, shows_every_vector_where_it_lies)
{
    struct replica *replica = replica_with(600);
    struct map *map = make(replica, NULL, MAP_MOST);
    cr_expect_eq(map->count, 600);
    cr_expect_not(map->sampled);
    cr_expect_eq(map->repository_count, 7);
    check(map, replica);
    for (size_t i = 0; i < map->count; i++) {
        const unsigned repository = (unsigned)i % 7;
        cr_expect_eq(map->points[i].embedding, i + 1);
        cr_expect_eq(map->points[i].repository, repository);
        cr_expect_eq(map->points[i].flags, 0);
    }
    struct replica_stats stats;
    replica_get_stats(replica, &stats);
    cr_expect_eq(stats.index.searches, 0, "the map's own searches are nobody's");
    map_release(map);
    replica_release(replica);
}

Test(map, knows_many_repositories)
{
    enum { COUNT = 700, REPOSITORIES = 300 };
    struct fixture_row rows[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        rows[i] = (struct fixture_row){i, 100 + i % REPOSITORIES, i, 0};
    struct replica *replica = fixture_replica(rows, COUNT);
    struct map *map = make(replica, NULL, MAP_MOST);
    cr_expect_eq(map->count, COUNT);
    cr_assert_eq(map->repository_count, REPOSITORIES);
    check(map, replica);
    for (size_t i = 0; i < map->count; i++)
        cr_expect_eq(map->points[i].repository, i % REPOSITORIES);
    map_release(map);
    replica_release(replica);
}

Test(map, of_more_vectors_than_points_it_shows_a_sample)
{
    struct replica *replica = replica_with(900);
    struct map *map = make(replica, NULL, 300);
    cr_expect(map->sampled);
    cr_expect(map->count > 200 && map->count <= 300, "%zu", map->count);
    check(map, replica);
    /* Half of it of the first half. */
    size_t low = 0;
    for (size_t i = 0; i < map->count; i++) low += map->points[i].embedding <= 450;
    cr_expect(low > map->count / 3 && low < map->count * 2 / 3, "%zu of %zu", low, map->count);
    /* The next one shows the same. */
    struct map *again = make(replica, map, 300);
    cr_assert_eq(again->count, map->count);
    for (size_t i = 0; i < map->count; i++) {
        cr_expect_eq(again->points[i].embedding, map->points[i].embedding);
        cr_expect_float_eq(again->points[i].x, map->points[i].x, 1e-3);
        cr_expect_float_eq(again->points[i].y, map->points[i].y, 1e-3);
    }
    map_release(again);
    map_release(map);
    replica_release(replica);
}

/* What is marked is what comparing every two vectors finds. */
Test(map, marks_near_duplicates_in_other_documents)
{
    enum { COUNT = 240 };
    struct fixture_row rows[COUNT];
    static float vectors[COUNT][EMBEDDING_DIM];
    size_t marked = 0, own = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        /* Documents of two vectors. Threes that are more or less alike, every tenth the same. */
        rows[i] = (struct fixture_row){i / 2, i % 5, i / 3,
                                       i % 10 == 0 ? 0 : 0.02f + 0.00075f * (float)i};
    }
    struct replica *replica = fixture_replica(rows, COUNT);
    struct map *map = make(replica, NULL, MAP_MOST);
    cr_assert_eq(map->count, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert_eq(tk_index_get(replica_index(replica), i + 1, vectors[i], NULL), TK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        float best = -1;
        for (size_t j = 0; j < COUNT; j++) {
            float similarity = 0;
            for (size_t d = 0; d < EMBEDDING_DIM; d++) similarity += vectors[i][d] * vectors[j][d];
            own += i != j && rows[i].document == rows[j].document && similarity > 0.98f;
            if (rows[i].document != rows[j].document) best = fmaxf(best, similarity);
        }
        if (fabsf(best - 0.98f) < 1e-4f) continue; /* as exact as the index is */
        marked += best > 0.98f;
        cr_expect_eq(map->points[i].flags, best > 0.98f ? MAP_DUPLICATE : 0, "%zu: %g", i,
                     (double)best);
    }
    cr_expect(marked > COUNT / 10 && marked < COUNT * 9 / 10 && own > 0, "no test of anything");
    map_release(map);
    replica_release(replica);
}

/* One in another document behind many in the same. */
Test(map, looks_past_a_document_that_repeats_itself)
{
    enum { COUNT = 80 };
    struct fixture_row rows[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        rows[i] = (struct fixture_row){i == COUNT - 1, 0, 7, 0.01f};
    rows[COUNT - 1].from_seed = 0.1f; /* farther than all of the document, and near enough */
    struct replica *replica = fixture_replica(rows, COUNT);
    struct map *map = make(replica, NULL, MAP_MOST);
    for (size_t i = 0; i < map->count; i++) cr_expect_eq(map->points[i].flags, MAP_DUPLICATE);
    map_release(map);
    replica_release(replica);
    replica = fixture_replica(rows, COUNT - 1);
    map = make(replica, NULL, MAP_MOST);
    for (size_t i = 0; i < map->count; i++) cr_expect_eq(map->points[i].flags, 0);
    map_release(map);
    replica_release(replica);
}

Test(map, of_nothing_and_of_little)
{
    for (unsigned count = 0; count < 4; count++) {
        struct replica *replica = replica_with(count);
        struct map *map = make(replica, NULL, MAP_MOST);
        cr_expect_eq(map->count, count);
        cr_expect_eq(map->repository_count, count);
        map_release(map);
        replica_release(replica);
    }
}

Test(map, ends_when_it_is_told_to)
{
    struct replica *replica = replica_with(100);
    struct error err = {0};
    struct map *map;
    atomic_bool stop;
    atomic_init(&stop, true);
    cr_expect_eq(map_make(replica, NULL, MAP_MOST, &stop, &map, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    cr_expect_null(map);
    replica_release(replica);
}

/* ---- The mapper ------------------------------------------------------------------------------ */

static void rest(void)
{
    const struct timespec time = {.tv_nsec = 10000000};
    nanosleep(&time, NULL);
}

static struct map *wait_map(struct mapper *mapper, size_t count)
{
    for (;;) {
        struct error err = {0};
        struct map *map;
        cr_assert_eq(mapper_get(mapper, &map, &err), 0, "%s", err.message);
        if (map != NULL && map->count == count) return map;
        map_release(map);
        rest();
    }
}

Test(map, is_kept_and_made_anew_when_the_index_has_changed)
{
    struct error err = {0};
    struct mirror mirror;
    struct map *map;
    mirror_init(&mirror);
    struct mapper *mapper = mapper_create(&mirror, &err);
    cr_assert_not_null(mapper);
    cr_expect_eq(mapper_get(mapper, &map, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    struct replica *replica = replica_with(50);
    mirror_switch(&mirror, replica);
    map = wait_map(mapper, 50);
    struct map *same = wait_map(mapper, 50);
    cr_expect_eq(same, map);
    map_release(same);
    const int64_t gone = 17;
    replica_remove_embeddings(replica, &gone, 1);
    same = wait_map(mapper, 49);
    cr_expect_neq(same, map);
    map_release(same);
    map_release(map);
    replica_release(replica);
    replica = replica_with(20);
    mirror_switch(&mirror, replica);
    replica_release(replica);
    map_release(wait_map(mapper, 20));
    mapper_stop(mapper);
    cr_expect_eq(mapper_get(mapper, &map, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    mapper_free(mapper);
    mirror_destroy(&mirror);
}

struct crowd {
    struct mapper *mapper;
    struct replica *replica;
    atomic_bool stop;
};

static void *look(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->stop)) {
        struct map *map;
        if (mapper_get(crowd->mapper, &map, NULL) == 0) {
            for (size_t i = 0; map != NULL && i < map->count; i++)
                cr_assert_lt(map->points[i].repository, map->repository_count);
            map_release(map);
        }
        rest();
    }
    return NULL;
}

static void *remove_all(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; !atomic_load(&crowd->stop) && i < 400; i++) {
        char id[DOCUMENT_ID_SIZE];
        snprintf(id, sizeof(id), "document %u", i);
        replica_remove_document(crowd->replica, id, NULL);
        rest();
    }
    return NULL;
}

Test(map, is_looked_at_by_many_while_the_vault_changes)
{
    enum { LOOKING = 3 };
    struct mirror mirror;
    struct crowd crowd = {.replica = replica_with(500)};
    pthread_t threads[LOOKING], remover;
    mirror_init(&mirror);
    mirror_switch(&mirror, crowd.replica);
    crowd.mapper = mapper_create(&mirror, NULL);
    for (int i = 0; i < LOOKING; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, look, &crowd), 0);
    cr_assert_eq(pthread_create(&remover, NULL, remove_all, &crowd), 0);
    for (int i = 0; i < 300; i++) rest();
    mapper_stop(crowd.mapper);
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < LOOKING; i++) pthread_join(threads[i], NULL);
    pthread_join(remover, NULL);
    mapper_free(crowd.mapper);
    mirror_destroy(&mirror);
    replica_release(crowd.replica);
}
