/*
 * http.c: event loops, and the server that they are.
 *
 * Threads. A connection and its request are touched by its loop's thread only, but for
 * http_respond(), which may come from anywhere: it leaves the answer in the loop's list of finished
 * requests and wakes the loop. What a handler reads of a request lies in memory that stays until
 * the answer, whatever happens to the connection.
 *
 * Locks. loop->lock protects loop->finished. server->lock protects server->active, the number of
 * requests that are not yet answered, or lost, and server->drained; server->idle is signalled when
 * active is 0.
 */
#include "storage/base/log.h"
#include "tools/tekupd/http/http_internal.h"
#include "tools/tekupd/http/wake_latency.h"

#include <errno.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <stdlib.h>
#include <string.h>

enum { ACCEPT_PAUSE_MS = 100 };

/* ---- Listening ------------------------------------------------------------------------------- */

/* Whoever rested, and is there still. */
static void accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    if (atomic_load(&loop->server->stopping)) return;
    if (!loop->waits) evconnlistener_enable(loop->listener);
    http_doors_go_on(loop);
}

/* Out of file descriptors, most likely. Trying again at once would only burn the processor. */
static void accept_failed(struct evconnlistener *listener, void *arg)
{
    static const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct loop *loop = arg;
    log_error("http.accept", "error=%s", log_quote(strerror(errno)));
    evconnlistener_disable(listener);
    evtimer_add(loop->rest, &pause);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                     int length, void *loop)
{
    (void)listener;
    (void)address;
    (void)length;
    http_turn_pass(loop);
    connection_open(loop, fd, false);
}

static void accepted_by_door(struct evconnlistener *listener, evutil_socket_t fd,
                             struct sockaddr *address, int length, void *loop)
{
    (void)listener;
    (void)address;
    (void)length;
    connection_open(loop, fd, true);
}

struct evconnlistener *http_listen(struct loop *loop, int fd, bool door, unsigned flags)
{
    struct evconnlistener *listener = evconnlistener_new(
        loop->base, door ? accepted_by_door : accepted, loop, LEV_OPT_CLOSE_ON_EXEC | flags, 0, fd);
    if (listener != NULL) evconnlistener_set_error_cb(listener, accept_failed);
    return listener;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

/* What was answered elsewhere. */
static void send_finished(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct http_request *finished = loop->finished;
    loop->finished = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (finished != NULL) {
        struct http_request *request = finished;
        finished = request->next;
        http_answer_send(request);
    }
    http_streams_work(loop);
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    atomic_store(&loop->awake, true);
    send_finished(loop);
    http_doors_work(loop);
    http_turn_look(loop);
    if (atomic_load(&loop->server->stopping)) {
        evconnlistener_disable(loop->listener);
        http_doors_pause(loop);
    }
    if (atomic_load(&loop->server->ended)) event_base_loopbreak(loop->base);
}

static void *run_loop(void *arg)
{
    struct loop *loop = arg;
    loop->self = pthread_self();
    while (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) == 0) {
        if (!event_base_got_break(loop->base)) http_look_on(loop);
        if (event_base_got_break(loop->base)) break;
    }
    send_finished(loop); /* between the last look and the end */
    return NULL;
}

static int loop_open(struct loop *loop, struct http_server *server)
{
    loop->server = server;
    pthread_mutex_init(&loop->lock, NULL);
    /* Without EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST: it takes a descriptor from epoll after it was
     * closed, when another thread may have one of that number, and doors are duplicates, which it
     * does not bear. */
    loop->base = event_base_new();
    if (loop->base == NULL || connections_init(loop, server->options.idle_timeout) != 0) return -1;
    loop->wake = event_new(loop->base, -1, EV_PERSIST, woken, loop);
    loop->turn = http_turn_create(loop);
    loop->rest = evtimer_new(loop->base, accept_again, loop);
    loop->listener = http_listen(loop, server->options.fd, false, 0);
    return loop->wake != NULL && loop->turn != NULL && loop->rest != NULL && loop->listener != NULL
               ? 0
               : -1;
}

static void loop_close(struct loop *loop)
{
    if (loop->server == NULL) return;
    if (loop->listener != NULL) evconnlistener_free(loop->listener);
    http_doors_free(loop);
    if (loop->base != NULL) connections_free(loop);
    if (loop->wake != NULL) event_free(loop->wake);
    if (loop->turn != NULL) event_free(loop->turn);
    if (loop->rest != NULL) event_free(loop->rest);
    if (loop->base != NULL) event_base_free(loop->base);
    buffer_free(&loop->head);
    pthread_mutex_destroy(&loop->lock);
}

void http_wake_all(struct http_server *server)
{
    for (int i = 0; i < server->loop_count; i++)
        if (server->loops[i].running) event_active(server->loops[i].wake, EV_READ, 0);
}

/* ---- The server ------------------------------------------------------------------------------ */

static void libevent_said(int severity, const char *message)
{
    log_event(severity >= EVENT_LOG_ERR    ? LOG_ERROR
              : severity >= EVENT_LOG_WARN ? LOG_WARN
                                           : LOG_DEBUG,
              "http.libevent", "message=%s", log_quote(message));
}

struct http_server *http_server_create(const struct http_options *options, struct error *err)
{
    event_set_log_callback(libevent_said);
    if (evthread_use_pthreads() != 0) {
        error_set(err, ERR_INTERNAL, NULL, "libevent has no threads");
        return NULL;
    }
    struct http_server *server =
        calloc(1, sizeof(*server) + (size_t)options->threads * sizeof(struct loop));
    if (server == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    server->options = *options;
    atomic_init(&server->max_body, options->max_body);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    for (int i = 0; i < options->threads; i++) {
        server->loop_count = i + 1;
        if (loop_open(&server->loops[i], server) != 0) goto fail;
    }
    if (options->wake_latency != NULL)
        server->wake = wake_latency_create(server->loops[0].base, *options->wake_latency);
    for (int i = 0; i < options->threads; i++) {
        struct loop *loop = &server->loops[i];
        if (pthread_create(&loop->thread, NULL, run_loop, loop) != 0) goto fail;
        loop->running = true;
        atomic_store(&loop->awake, true);
        pthread_setname_np(loop->thread, "tekupd-http");
    }
    return server;
fail:
    error_set(err, ERR_INTERNAL, NULL, "cannot start %d event loops: %s", options->threads,
              strerror(errno));
    http_server_free(server);
    return NULL;
}

void http_server_set_max_body(struct http_server *server, long max_body)
{
    atomic_store(&server->max_body, max_body);
    http_wake_all(server);
}

bool http_server_is_alive(struct http_server *server)
{
    bool alive = true;
    for (int i = 0; i < server->loop_count; i++)
        if (!atomic_exchange(&server->loops[i].awake, false)) alive = false;
    http_wake_all(server);
    return alive;
}

int http_server_drain(struct http_server *server, int timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    atomic_store(&server->stopping, true);
    http_wake_all(server);
    pthread_mutex_lock(&server->lock);
    while (server->active > 0 && pthread_cond_timedwait(&server->idle, &server->lock, &end) == 0) {
    }
    const int left = server->active;
    server->drained = true;
    pthread_mutex_unlock(&server->lock);
    return left;
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) return;
    atomic_store(&server->stopping, true);
    atomic_store(&server->ended, true);
    http_wake_all(server);
    for (int i = 0; i < server->loop_count; i++)
        if (server->loops[i].running) pthread_join(server->loops[i].thread, NULL);
    wake_latency_free(server->wake);
    for (int i = 0; i < server->loop_count; i++) loop_close(&server->loops[i]);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
