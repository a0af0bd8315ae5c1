#include "tools/tekupd/workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct work {
    work_fn fn;
    void *arg;
};

/* `lock` protects the queue and `stopping`; `changed` is signalled for both. */
struct workers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct work *queue; /* a ring */
    size_t limit, first, count;
    bool stopping;
    int threads;
    pthread_t thread[];
};

static void *run(void *arg)
{
    struct workers *workers = arg;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (workers->count == 0 && !workers->stopping)
            pthread_cond_wait(&workers->changed, &workers->lock);
        if (workers->count == 0) break;
        const struct work work = workers->queue[workers->first];
        workers->first = (workers->first + 1) % workers->limit;
        workers->count--;
        pthread_mutex_unlock(&workers->lock);
        work.fn(work.arg);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct workers *workers_create(const char *name, int threads, size_t queue_limit, struct error *err)
{
    struct workers *workers = calloc(1, sizeof(*workers) + (size_t)threads * sizeof(pthread_t));
    if (workers == NULL) goto fail;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    workers->limit = queue_limit;
    workers->queue = calloc(queue_limit, sizeof(*workers->queue));
    if (workers->queue == NULL) goto fail;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&workers->thread[i], NULL, run, workers) != 0) goto fail;
        pthread_setname_np(workers->thread[i], name);
        workers->threads++;
    }
    return workers;
fail:
    error_set(err, ERR_INTERNAL, NULL, "no memory or no threads for %d workers", threads);
    workers_free(workers);
    return NULL;
}

int workers_submit(struct workers *workers, work_fn fn, void *arg)
{
    int rc = -1;
    pthread_mutex_lock(&workers->lock);
    if (workers->count < workers->limit) {
        const size_t last = (workers->first + workers->count) % workers->limit;
        workers->queue[last] = (struct work){fn, arg};
        workers->count++;
        pthread_cond_signal(&workers->changed);
        rc = 0;
    }
    pthread_mutex_unlock(&workers->lock);
    return rc;
}

void workers_free(struct workers *workers)
{
    if (workers == NULL) return;
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->threads; i++) pthread_join(workers->thread[i], NULL);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers->queue);
    free(workers);
}
