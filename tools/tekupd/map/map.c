/*
 * map.c: see map.h.
 *
 * Three passes over the vectors: for the plane, for where each lies on it, and for the marks. A
 * vector that is gone by one of them is no point.
 */
#include "tools/tekupd/map/map.h"

#include "ingest/clock.h"
#include "tools/tekupd/map/duplicates.h"
#include "tools/tekupd/map/plane.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Vectors at once, between two looks at `stop`. */
enum { BLOCK = 256 };

/* A repository of the catalog's, and its number in the map. */
struct home {
    const struct repository *repository;
    uint16_t number;
};

struct making {
    struct replica *replica;
    const atomic_bool *stop;
    struct map *map;
    struct catalog_survey survey;
    struct home *homes; /* by address */
    size_t home_count;
    float *vectors; /* BLOCK */
};

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

static int check_stop(const struct making *making, struct error *err)
{
    if (making->stop == NULL || !atomic_load(making->stop)) return 0;
    return error_set(err, ERR_CANCELLED, NULL, "told to stop");
}

/* ---- Repositories ---------------------------------------------------------------------------- */

static int compare_addresses(const void *left, const void *right)
{
    const uintptr_t a = (uintptr_t)((const struct home *)left)->repository;
    const uintptr_t b = (uintptr_t)((const struct home *)right)->repository;
    return (a > b) - (a < b);
}

static int compare_names(const void *left, const void *right)
{
    const struct repository *a = ((const struct home *)left)->repository;
    const struct repository *b = ((const struct home *)right)->repository;
    const int by_source = strcmp(catalog_source(a), catalog_source(b));
    return by_source != 0 ? by_source : strcmp(catalog_repository(a), catalog_repository(b));
}

/* Keeps one of those with the same address. */
static void keep_different(struct making *making)
{
    size_t kept = 0;
    for (size_t i = 0; i < making->home_count; i++)
        if (kept == 0 || making->homes[kept - 1].repository != making->homes[i].repository)
            making->homes[kept++] = making->homes[i];
    making->home_count = kept;
}

static void put_in_order(struct making *making)
{
    qsort(making->homes, making->home_count, sizeof(*making->homes), compare_addresses);
    keep_different(making);
}

/* Leaves out those that came before; takes more memory only where that does not make much room. */
static int make_room(struct making *making, size_t *room)
{
    put_in_order(making);
    if (making->home_count <= *room / 2) return 0;
    struct home *grown = realloc(making->homes, 2 * *room * sizeof(*grown));
    if (grown == NULL) return -1;
    making->homes = grown;
    *room *= 2;
    return 0;
}

static int find_homes(struct making *making)
{
    const struct catalog_survey *survey = &making->survey;
    size_t room = 64;
    making->homes = malloc(room * sizeof(*making->homes));
    if (making->homes == NULL) return -1;
    for (size_t i = 0; i < survey->count; i++) {
        const struct repository *repository = survey->spots[i].repository;
        if (i > 0 && repository == survey->spots[i - 1].repository) continue;
        if (making->home_count == room && make_room(making, &room) != 0) return -1;
        making->homes[making->home_count++] = (struct home){repository, 0};
    }
    put_in_order(making);
    return 0;
}

/* Numbers them by their names, and gives those to the map. */
static int name_homes(struct making *making)
{
    struct map *map = making->map;
    const size_t named =
        making->home_count < MAP_OTHER_REPOSITORY ? making->home_count : MAP_OTHER_REPOSITORY;
    map->repositories = calloc(named + 1, sizeof(*map->repositories));
    if (map->repositories == NULL) return -1;
    qsort(making->homes, making->home_count, sizeof(*making->homes), compare_names);
    for (size_t i = 0; i < making->home_count; i++) {
        making->homes[i].number = i < named ? (uint16_t)i : MAP_OTHER_REPOSITORY;
        if (i >= named) continue;
        struct map_repository *repository = &map->repositories[map->repository_count++];
        repository->source = strdup(catalog_source(making->homes[i].repository));
        repository->name = strdup(catalog_repository(making->homes[i].repository));
        if (repository->source == NULL || repository->name == NULL) return -1;
    }
    qsort(making->homes, making->home_count, sizeof(*making->homes), compare_addresses);
    return 0;
}

static uint16_t number_of(const struct making *making, const struct repository *repository)
{
    const struct home key = {repository, 0};
    const struct home *home =
        bsearch(&key, making->homes, making->home_count, sizeof(*making->homes), compare_addresses);
    return home != NULL ? home->number : MAP_OTHER_REPOSITORY;
}

/* ---- The plane ------------------------------------------------------------------------------- */

/* The vectors of the survey from *at on, as many as there is room for; their places in the survey
 * go to which. */
static size_t take_block(const struct making *making, size_t *at, size_t which[BLOCK])
{
    size_t count = 0;
    for (; *at < making->survey.count && count < BLOCK; (*at)++) {
        which[count] = *at;
        count +=
            tk_index_get(replica_index(making->replica), (tk_id)making->survey.spots[*at].embedding,
                         making->vectors + count * EMBEDDING_DIM, NULL) == TK_OK;
    }
    return count;
}

static int fit_plane(struct making *making, const struct plane *before, struct error *err)
{
    size_t which[BLOCK], at = 0;
    int rc = 0;
    struct plane_fit *fit = plane_fit_create(EMBEDDING_DIM, err);
    if (fit == NULL) return -1;
    while (at < making->survey.count && (rc = check_stop(making, err)) == 0)
        plane_fit_add(fit, making->vectors, take_block(making, &at, which));
    if (rc == 0) rc = check_stop(making, err);
    if (rc == 0) {
        making->map->plane = plane_fit_finish(fit, before, err);
        rc = making->map->plane != NULL ? 0 : -1;
    }
    plane_fit_free(fit);
    return rc;
}

static int place_points(struct making *making, struct error *err)
{
    struct map *map = making->map;
    size_t which[BLOCK];
    float xy[2 * BLOCK];
    map->points = malloc((making->survey.count + 1) * sizeof(*map->points));
    if (map->points == NULL) return no_memory(err);
    for (size_t at = 0; at < making->survey.count;) {
        if (check_stop(making, err) != 0) return -1;
        const size_t count = take_block(making, &at, which);
        plane_project(map->plane, making->vectors, count, xy);
        for (size_t i = 0; i < count; i++) {
            const struct catalog_spot *spot = &making->survey.spots[which[i]];
            map->points[map->count++] =
                (struct map_point){xy[2 * i], xy[2 * i + 1], (uint32_t)spot->embedding,
                                   number_of(making, spot->repository), 0};
        }
    }
    return 0;
}

/* The farthest coordinate becomes 1; a step to the right is as long as one upwards. */
static void scale_points(struct map *map)
{
    float far = 0;
    for (size_t i = 0; i < map->count; i++)
        far = fmaxf(far, fmaxf(fabsf(map->points[i].x), fabsf(map->points[i].y)));
    if (far < 1e-5f) far = 1; /* all in one place, apart from rounding */
    for (size_t i = 0; i < map->count; i++) {
        map->points[i].x /= far;
        map->points[i].y /= far;
    }
}

/* ---- Marks ----------------------------------------------------------------------------------- */

static int compare_points(const void *left, const void *right)
{
    const uint32_t a = ((const struct map_point *)left)->embedding;
    const uint32_t b = ((const struct map_point *)right)->embedding;
    return (a > b) - (a < b);
}

/* Ids are 32 bits in the database. */
static int64_t id_of(const struct map_point *point)
{
    return (int32_t)point->embedding;
}

/* What is found for one holds for the other, which then need not be asked. */
static void mark_other(struct map *map, int64_t other)
{
    const struct map_point key = {.embedding = (uint32_t)other};
    struct map_point *point =
        bsearch(&key, map->points, map->count, sizeof(*map->points), compare_points);
    if (point != NULL) point->flags |= MAP_DUPLICATE;
}

static int mark_duplicates(struct making *making, struct error *err)
{
    struct map *map = making->map;
    for (size_t i = 0; i < map->count; i++) {
        struct map_point *point = &map->points[i];
        bool any = false;
        int64_t other = 0;
        if (check_stop(making, err) != 0) return -1;
        if ((point->flags & MAP_DUPLICATE) != 0) continue;
        if (tk_index_get(replica_index(making->replica), (tk_id)id_of(point), making->vectors,
                         NULL) != TK_OK)
            continue;
        if (duplicates_any(making->replica, id_of(point), making->vectors, &any, &other, err) != 0)
            return -1;
        if (!any) continue;
        point->flags |= MAP_DUPLICATE;
        mark_other(map, other);
    }
    return 0;
}

/* ---- Making one ------------------------------------------------------------------------------ */

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void count_repositories(struct map *map)
{
    for (size_t i = 0; i < map->count; i++)
        if (map->points[i].repository != MAP_OTHER_REPOSITORY)
            map->repositories[map->points[i].repository].count++;
}

/* Chance may have chosen some more than there may be. */
static void thin_out(struct catalog_survey *survey, size_t most)
{
    const size_t count = survey->count;
    if (count <= most) return;
    for (size_t i = 0; i < most; i++) survey->spots[i] = survey->spots[i * count / most];
    survey->count = most;
}

static int make(struct making *making, const struct map *before, size_t most, struct error *err)
{
    struct map *map = making->map;
    struct catalog_counts counts;
    const struct catalog *catalog = replica_catalog(making->replica);
    catalog_count(catalog, &counts);
    const size_t one_in = (counts.embeddings + most - 1) / most;
    if (catalog_survey(catalog, one_in, 0, &making->survey, err) != 0) return -1;
    thin_out(&making->survey, most);
    map->sampled = one_in > 1;
    if (find_homes(making) != 0 || name_homes(making) != 0) return no_memory(err);
    if (making->survey.count == 0) return 0;
    making->vectors = malloc(BLOCK * EMBEDDING_DIM * sizeof(*making->vectors));
    if (making->vectors == NULL) return no_memory(err);
    if (fit_plane(making, before != NULL ? before->plane : NULL, err) != 0 ||
        place_points(making, err) != 0)
        return -1;
    scale_points(map);
    qsort(map->points, map->count, sizeof(*map->points), compare_points);
    count_repositories(map);
    return mark_duplicates(making, err);
}

int map_make(struct replica *replica, const struct map *before, size_t most,
             const atomic_bool *stop, struct map **map, struct error *err)
{
    struct making making = {.replica = replica, .stop = stop};
    const double began = clock_now();
    making.map = calloc(1, sizeof(*making.map));
    if (making.map == NULL) return no_memory(err);
    atomic_init(&making.map->references, 1);
    making.map->made_at = wall_clock();
    const int rc = make(&making, before, most, err);
    making.map->took_s = clock_now() - began;
    catalog_survey_free(&making.survey);
    free(making.homes);
    free(making.vectors);
    *map = making.map;
    if (rc == 0) return 0;
    map_release(making.map);
    *map = NULL;
    return -1;
}

struct map *map_keep(struct map *map)
{
    atomic_fetch_add(&map->references, 1);
    return map;
}

void map_release(struct map *map)
{
    if (map == NULL || atomic_fetch_sub(&map->references, 1) > 1) return;
    for (size_t i = 0; i < map->repository_count; i++) {
        free(map->repositories[i].source);
        free(map->repositories[i].name);
    }
    free(map->repositories);
    free(map->points);
    free(map->plane);
    free(map);
}
