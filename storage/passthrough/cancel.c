/* cancel.c: cancelling what a server connection runs, by a thread of its own since libpq waits.
 *
 * A connection with a cancel on its way is not leased to anybody else until that has arrived. */
#include "storage/passthrough/internal.h"

#include <stdlib.h>

struct cancel {
    struct cancel *next;
    PGcancel *handle;
    struct backend *backend; /* the loop's; NULL once it is gone */
};

struct canceler {
    struct passthrough *hub;
    pthread_t thread;
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct cancel *wanted, **last_wanted, *done;
    struct cancel *current;
    bool stopping, joined;
};

static void *run(void *arg)
{
    struct canceler *canceler = arg;
    char why[256];
    pthread_mutex_lock(&canceler->lock);
    for (;;) {
        while (canceler->wanted == NULL && !canceler->stopping)
            pthread_cond_wait(&canceler->changed, &canceler->lock);
        if (canceler->stopping) break;
        struct cancel *cancel = canceler->wanted;
        canceler->wanted = cancel->next;
        if (canceler->wanted == NULL) canceler->last_wanted = &canceler->wanted;
        canceler->current = cancel;
        PGcancel *handle = cancel->handle;
        pthread_mutex_unlock(&canceler->lock);
        PQcancel(handle, why, sizeof(why));
        PQfreeCancel(handle);
        pthread_mutex_lock(&canceler->lock);
        canceler->current = NULL;
        cancel->handle = NULL;
        cancel->next = canceler->done;
        canceler->done = cancel;
        event_active(canceler->hub->wake, EV_READ, 0);
    }
    pthread_mutex_unlock(&canceler->lock);
    return NULL;
}

struct canceler *canceler_create(struct passthrough *hub, struct error *err)
{
    struct canceler *canceler = calloc(1, sizeof(*canceler));
    if (canceler == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    canceler->hub = hub;
    canceler->last_wanted = &canceler->wanted;
    pthread_mutex_init(&canceler->lock, NULL);
    pthread_cond_init(&canceler->changed, NULL);
    if (pthread_create(&canceler->thread, NULL, run, canceler) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
        pthread_cond_destroy(&canceler->changed);
        pthread_mutex_destroy(&canceler->lock);
        free(canceler);
        return NULL;
    }
    pthread_setname_np(canceler->thread, "tekupd-cancel");
    return canceler;
}

void canceler_stop(struct canceler *canceler)
{
    if (canceler == NULL || canceler->joined) return;
    pthread_mutex_lock(&canceler->lock);
    canceler->stopping = true;
    pthread_cond_signal(&canceler->changed);
    pthread_mutex_unlock(&canceler->lock);
    pthread_join(canceler->thread, NULL);
    canceler->joined = true;
}

static void free_list(struct cancel *list)
{
    while (list != NULL) {
        struct cancel *next = list->next;
        if (list->handle != NULL) PQfreeCancel(list->handle);
        free(list);
        list = next;
    }
}

void canceler_free(struct canceler *canceler)
{
    if (canceler == NULL) return;
    canceler_stop(canceler);
    free_list(canceler->wanted);
    free_list(canceler->done);
    pthread_cond_destroy(&canceler->changed);
    pthread_mutex_destroy(&canceler->lock);
    free(canceler);
}

/* ---- The loop's ---- */

void cancel_backend(struct backend *backend)
{
    struct canceler *canceler = backend->hub->canceler;
    PGcancel *handle = backend->conn != NULL ? PQgetCancel(backend->conn) : NULL;
    struct cancel *cancel = handle != NULL ? malloc(sizeof(*cancel)) : NULL;
    if (cancel == NULL) {
        if (handle != NULL) PQfreeCancel(handle);
        return;
    }
    *cancel = (struct cancel){.handle = handle, .backend = backend};
    backend->cancels++;
    pthread_mutex_lock(&canceler->lock);
    *canceler->last_wanted = cancel;
    canceler->last_wanted = &cancel->next;
    pthread_cond_signal(&canceler->changed);
    pthread_mutex_unlock(&canceler->lock);
}

void cancel_request(struct passthrough *hub, uint32_t id, uint32_t secret)
{
    struct client *client;
    TAILQ_FOREACH(client, &hub->by_id[id % 1024], same)
    {
        if (client->id != id) continue;
        const uint32_t differs = client->secret ^ secret;
        struct backend *backend = client->backend;
        /* One that is on its way cancels what a second one would. */
        if (differs == 0 && backend != NULL && backend->state == BACKEND_LEASED &&
            backend->expected_count > 0 && backend->cancels == 0)
            cancel_backend(backend);
        return;
    }
}

void cancel_collect(struct passthrough *hub)
{
    struct canceler *canceler = hub->canceler;
    pthread_mutex_lock(&canceler->lock);
    struct cancel *done = canceler->done;
    canceler->done = NULL;
    pthread_mutex_unlock(&canceler->lock);
    while (done != NULL) {
        struct cancel *next = done->next;
        struct backend *backend = done->backend;
        free(done);
        done = next;
        if (backend == NULL) continue;
        backend->cancels--;
        if (backend->state == BACKEND_DRAINING && backend->answered &&
            backend->expected_count == 0 && !backend->closed)
            session_drained(backend);
    }
}

static void detach(struct cancel *list, const struct backend *backend)
{
    for (; list != NULL; list = list->next)
        if (list->backend == backend) list->backend = NULL;
}

void cancel_detach(struct backend *backend)
{
    struct canceler *canceler = backend->hub->canceler;
    if (backend->cancels == 0) return;
    pthread_mutex_lock(&canceler->lock);
    detach(canceler->wanted, backend);
    detach(canceler->done, backend);
    if (canceler->current != NULL && canceler->current->backend == backend)
        canceler->current->backend = NULL;
    pthread_mutex_unlock(&canceler->lock);
    backend->cancels = 0;
}
