/* mapper.c: `lock` protects everything but `stop`. */
#include "tools/tekupd/map/mapper.h"

#include "ingest/clock.h"
#include "storage/base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { PATIENT = 19 };

/* After a map that took so long the next one is made REST times as long later, and LEAST seconds at
 * the earliest. */
static const double REST = 4, LEAST = 2;

/* How the index stood. */
struct stand {
    const struct replica *replica; /* to compare with, not to look at */
    uint64_t adds, replaces, removes;
};

struct mapper {
    struct mirror *mirror;
    pthread_mutex_t lock;
    pthread_t thread;
    bool started; /* a thread is to be joined */
    bool running;
    atomic_bool stop;
    struct map *map;      /* the newest; NULL: none yet */
    struct stand stand;   /* what it shows */
    struct error failure; /* of the last try */
    double rest_until;
};

static struct stand stand_of(const struct replica *replica)
{
    tk_index_stats stats;
    tk_index_get_stats(replica_index(replica), &stats);
    return (struct stand){replica, stats.adds, stats.replaces, stats.removes};
}

static bool is_same(const struct stand *a, const struct stand *b)
{
    return a->replica == b->replica && a->adds == b->adds && a->replaces == b->replaces &&
           a->removes == b->removes;
}

static int make(struct mapper *mapper, const struct map *before, struct map **map,
                struct stand *stand, struct error *err)
{
    struct replica *replica = mirror_use(mapper->mirror);
    if (replica == NULL) return error_set(err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    *stand = stand_of(replica);
    const int rc = map_make(replica, before, MAP_MOST, &mapper->stop, map, err);
    replica_release(replica);
    return rc;
}

static void *run(void *arg)
{
    struct mapper *mapper = arg;
    struct map *map = NULL, *before;
    struct stand stand;
    struct error err = {0};
    setpriority(PRIO_PROCESS, 0, PATIENT); /* of this thread */
    pthread_mutex_lock(&mapper->lock);
    before = mapper->map != NULL ? map_keep(mapper->map) : NULL;
    pthread_mutex_unlock(&mapper->lock);
    const double began = clock_now();
    const int rc = make(mapper, before, &map, &stand, &err);
    const double ended = clock_now();
    if (rc == 0)
        log_info("map.made", "points=%zu seconds=%.2f", map->count, ended - began);
    else if (err.code != ERR_CANCELLED)
        log_warn("map.failed", "error=%s", log_quote(err.message));
    pthread_mutex_lock(&mapper->lock);
    struct map *old = NULL;
    if (rc == 0) {
        old = mapper->map;
        mapper->map = map;
        mapper->stand = stand;
    }
    mapper->failure = err;
    mapper->rest_until = ended + (REST * (ended - began) > LEAST ? REST * (ended - began) : LEAST);
    mapper->running = false;
    pthread_mutex_unlock(&mapper->lock);
    map_release(old);
    map_release(before);
    return NULL;
}

/* With `lock` held, and no thread at work. */
static int start(struct mapper *mapper, struct error *err)
{
    if (mapper->started) pthread_join(mapper->thread, NULL);
    mapper->started = pthread_create(&mapper->thread, NULL, run, mapper) == 0;
    if (!mapper->started) return error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
    pthread_setname_np(mapper->thread, "tekupd-map");
    mapper->running = true;
    return 0;
}

/* With `lock` held. Whether the map is to be made, anew or for the first time. */
static bool is_due(const struct mapper *mapper, const struct replica *replica)
{
    if (mapper->running || (mapper->map != NULL && clock_now() < mapper->rest_until)) return false;
    if (mapper->map == NULL) return true;
    const struct stand now = stand_of(replica);
    return !is_same(&now, &mapper->stand);
}

int mapper_get(struct mapper *mapper, struct map **map, struct error *err)
{
    struct replica *replica = mirror_use(mapper->mirror);
    int rc = 0;
    *map = NULL;
    if (replica == NULL) return error_set(err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    pthread_mutex_lock(&mapper->lock);
    if (atomic_load(&mapper->stop)) {
        rc = error_set(err, ERR_UNAVAILABLE, NULL, "the daemon stops");
    } else {
        /* What has failed is told once, and tried again by whoever asks then. */
        if (mapper->map == NULL && !mapper->running && mapper->failure.code != ERR_NONE) {
            *err = mapper->failure;
            mapper->failure = (struct error){0};
            rc = -1;
        } else if (is_due(mapper, replica)) {
            rc = start(mapper, err);
            if (mapper->map != NULL) rc = 0; /* the one there is still good */
        }
        if (rc == 0 && mapper->map != NULL) *map = map_keep(mapper->map);
    }
    pthread_mutex_unlock(&mapper->lock);
    replica_release(replica);
    return rc;
}

struct mapper *mapper_create(struct mirror *mirror, struct error *err)
{
    struct mapper *mapper = calloc(1, sizeof(*mapper));
    if (mapper == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    mapper->mirror = mirror;
    pthread_mutex_init(&mapper->lock, NULL);
    return mapper;
}

void mapper_stop(struct mapper *mapper)
{
    if (mapper == NULL) return;
    pthread_mutex_lock(&mapper->lock);
    atomic_store(&mapper->stop, true);
    const bool started = mapper->started;
    mapper->started = false;
    pthread_mutex_unlock(&mapper->lock);
    if (started) pthread_join(mapper->thread, NULL);
}

void mapper_free(struct mapper *mapper)
{
    if (mapper == NULL) return;
    mapper_stop(mapper);
    map_release(mapper->map);
    pthread_mutex_destroy(&mapper->lock);
    free(mapper);
}
