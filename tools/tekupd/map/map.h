/*
 * map.h: the passages of the vault as points on a plane (plane.h), with their repositories and with
 * those marked that another document nearly repeats.
 *
 * It is computed from the index's own vectors, a block at a time: beside 16 bytes a point and as
 * much for the survey it takes some 30 MB, however many vectors there are. A map does not change
 * once it is made, holds names of its own, and lives until its last reference is given back, from
 * any thread.
 */
#ifndef TEKUPD_MAP_H
#define TEKUPD_MAP_H

#include "tools/tekupd/mirror/replica.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Points of a map at most: of more vectors it shows an even sample. */
enum { MAP_MOST = 1000000 };

enum { MAP_DUPLICATE = 1 };             /* flags */
enum { MAP_OTHER_REPOSITORY = 0xffff }; /* of points in a repository that is not among the named */

struct map_point {
    float x, y;         /* -1 to 1, in one scale */
    uint32_t embedding; /* its id */
    uint16_t repository;
    uint16_t flags;
};

struct map_repository {
    char *source, *name;
    size_t count; /* points */
};

struct plane;

struct map {
    atomic_int references;
    double made_at; /* when it was begun, by the clock on the wall */
    double took_s;
    bool sampled;             /* there were more vectors than points */
    struct map_point *points; /* in the order of their ids */
    size_t count;
    struct map_repository *repositories; /* by source and name */
    size_t repository_count;
    struct plane *plane; /* NULL without points */
};

/* Makes one of at most `most` points. before (may be NULL): a map whose place it takes, so that it
 * lies the same way. Errors: ERR_CANCELLED soon after *stop (may be NULL) is set. */
int map_make(struct replica *replica, const struct map *before, size_t most,
             const atomic_bool *stop, struct map **map, struct error *err);

struct map *map_keep(struct map *map);
void map_release(struct map *map); /* NULL is allowed */

#endif
