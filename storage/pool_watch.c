#include "storage/pool_watch.h"

#include "storage/base/log.h"
#include "storage/pool_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* One sign of life may get lost where there are too many clients for a moment. */
enum { OLD_MS = 2000, PINGS = 2, PAUSE_S = 1 };

/* `lock` protects stopping, which `changed` is signalled for. */
struct pool_watch {
    struct pool *pool;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
};

/* Returns whether to go on. */
static bool pause_a_while(struct pool_watch *watch)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PAUSE_S;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping && pthread_cond_timedwait(&watch->changed, &watch->lock, &end) == 0) {
    }
    const bool go_on = !watch->stopping;
    pthread_mutex_unlock(&watch->lock);
    return go_on;
}

static void *run(void *arg)
{
    struct pool_watch *watch = arg;
    int unanswered = 0;
    while (pause_a_while(watch)) {
        if (unanswered == 0 && pool_longest_lease(watch->pool) < OLD_MS) continue;
        if (!pool_answers(watch->pool)) {
            if (unanswered < PINGS && ++unanswered == PINGS)
                log_warn("database.hangs", "waited_ms=%d", pool_longest_lease(watch->pool));
            if (unanswered == PINGS) pool_silence(watch->pool, true);
            continue;
        }
        if (unanswered == PINGS) pool_silence(watch->pool, false);
        unanswered = 0;
    }
    pool_silence(watch->pool, false);
    return NULL;
}

struct pool_watch *pool_watch_create(struct pool *pool, struct error *err)
{
    struct pool_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    watch->pool = pool;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&watch->thread, NULL, run, watch) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
        pthread_cond_destroy(&watch->changed);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
        return NULL;
    }
    pthread_setname_np(watch->thread, "tekupd-watch");
    return watch;
}

void pool_watch_free(struct pool_watch *watch)
{
    if (watch == NULL) return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
