#include "tools/tekupd/search/words_keeper.h"

#include "storage/base/log.h"
#include "storage/vault/vault_text.h"
#include "tools/tekupd/daemon.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    LOOK_S = 60, /* a database that is restored may be an older one */
    RETRY_S = 2,
};

struct words_keeper {
    struct daemon *daemon;
    pthread_t thread;
    bool joined;
    atomic_bool complete;
    atomic_bool stop;
    pthread_mutex_t lock; /* for the condition alone */
    pthread_cond_t stopped;
};

static void pause_for(struct words_keeper *keeper, int seconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    pthread_mutex_lock(&keeper->lock);
    while (!atomic_load(&keeper->stop) &&
           pthread_cond_timedwait(&keeper->stopped, &keeper->lock, &end) == 0) {
    }
    pthread_mutex_unlock(&keeper->lock);
}

static void *run(void *arg)
{
    struct words_keeper *keeper = arg;
    bool failed = false, filled = false;
    while (!atomic_load(&keeper->stop)) {
        struct error err = {0};
        bool complete;
        if (vault_text_fill(keeper->daemon->pool, &complete, &err) != 0) {
            if (!failed && err.code != ERR_UNAVAILABLE)
                log_warn("words.failed", "reason=%s", log_quote(err.message));
            failed = true;
            pause_for(keeper, RETRY_S);
            continue;
        }
        failed = false;
        if (complete && filled) log_info("words.complete", "passages=%s", "all");
        filled = !complete;
        atomic_store(&keeper->complete, complete);
        if (complete) pause_for(keeper, LOOK_S);
    }
    return NULL;
}

struct words_keeper *words_keeper_create(struct daemon *daemon, struct error *err)
{
    struct words_keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    keeper->daemon = daemon;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->stopped, NULL);
    if (pthread_create(&keeper->thread, NULL, run, keeper) == 0) {
        pthread_setname_np(keeper->thread, "tekupd-words");
        return keeper;
    }
    error_set(err, ERR_INTERNAL, NULL, "a thread cannot be started");
    keeper->joined = true;
    words_keeper_free(keeper);
    return NULL;
}

bool words_keeper_complete(const struct daemon *daemon)
{
    const struct words_keeper *keeper = atomic_load(&daemon->words_keeper);
    return keeper == NULL || atomic_load(&keeper->complete);
}

void words_keeper_stop(struct words_keeper *keeper)
{
    if (keeper == NULL || keeper->joined) return;
    pthread_mutex_lock(&keeper->lock);
    atomic_store(&keeper->stop, true);
    pthread_cond_broadcast(&keeper->stopped);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    keeper->joined = true;
}

void words_keeper_free(struct words_keeper *keeper)
{
    if (keeper == NULL) return;
    words_keeper_stop(keeper);
    pthread_cond_destroy(&keeper->stopped);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
