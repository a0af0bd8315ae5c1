/*
 * http_turn.c: whose turn it is to accept.
 *
 * All loops listen on the same socket, and one that is told of connections would take all there
 * are. So they go round: who has taken one waits until each has, or for a moment, as others may be
 * busy.
 */
#include "tools/tekupd/http/http_internal.h"

#include <event2/listener.h>

static void accept_on(struct loop *loop)
{
    loop->waits = false;
    evtimer_del(loop->turn);
    if (!atomic_load(&loop->server->stopping)) evconnlistener_enable(loop->listener);
}

static void turn_is_late(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    pthread_mutex_lock(&loop->server->lock);
    loop->took = false;
    pthread_mutex_unlock(&loop->server->lock);
    accept_on(loop);
}

struct event *http_turn_create(struct loop *loop)
{
    return evtimer_new(loop->base, turn_is_late, loop);
}

void http_turn_pass(struct loop *loop)
{
    static const struct timeval moment = {.tv_usec = 1000};
    struct http_server *server = loop->server;
    bool round = true;
    pthread_mutex_lock(&server->lock);
    loop->took = true;
    for (int i = 0; i < server->loop_count; i++) round = round && server->loops[i].took;
    for (int i = 0; i < server->loop_count && round; i++) server->loops[i].took = false;
    pthread_mutex_unlock(&server->lock);
    if (round) {
        for (int i = 0; i < server->loop_count; i++)
            if (&server->loops[i] != loop) event_active(server->loops[i].wake, EV_READ, 0);
    } else {
        loop->waits = true;
        evconnlistener_disable(loop->listener);
        evtimer_add(loop->turn, &moment);
    }
}

void http_turn_look(struct loop *loop)
{
    if (!loop->waits) return;
    pthread_mutex_lock(&loop->server->lock);
    const bool took = loop->took;
    pthread_mutex_unlock(&loop->server->lock);
    if (!took) accept_on(loop);
}
