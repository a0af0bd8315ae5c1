/*
 * http_door.c: sockets on which strangers come in.
 *
 * Each loop listens on a duplicate of its own, which libevent closes with the listener, so that
 * nobody has to wait for the loops before a socket can be closed.
 */
#include "tools/tekupd/http/http_internal.h"

#include <errno.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void set_door(struct loop *loop, int door, int fd)
{
    pthread_mutex_lock(&loop->lock);
    struct door *this = &loop->doors[door];
    if (this->changes && this->fd >= 0) close(this->fd);
    this->changes = true;
    this->fd = fd;
    pthread_mutex_unlock(&loop->lock);
}

int http_door_open(struct http_server *server, int door, int fd, struct error *err)
{
    int rc = 0;
    for (int i = 0; i < server->loop_count && rc == 0; i++) {
        const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (own < 0)
            rc = error_set(err, ERR_UNAVAILABLE, NULL, "cannot listen: %s", strerror(errno));
        else
            set_door(&server->loops[i], door, own);
    }
    close(fd);
    if (rc != 0)
        http_door_close(server, door);
    else
        http_wake_all(server);
    return rc;
}

void http_door_close(struct http_server *server, int door)
{
    for (int i = 0; i < server->loop_count; i++) set_door(&server->loops[i], door, -1);
    http_wake_all(server);
}

static struct evconnlistener *listen_on(struct loop *loop, int fd)
{
    struct evconnlistener *listener = http_listen(loop, fd, true, LEV_OPT_CLOSE_ON_FREE);
    if (listener == NULL) close(fd);
    return listener;
}

void http_doors_work(struct loop *loop)
{
    for (int i = 0; i < HTTP_DOORS; i++) {
        struct door *door = &loop->doors[i];
        pthread_mutex_lock(&loop->lock);
        const bool changes = door->changes;
        const int fd = door->fd;
        door->changes = false;
        pthread_mutex_unlock(&loop->lock);
        if (!changes) continue;
        if (door->listener != NULL) evconnlistener_free(door->listener);
        door->listener = fd >= 0 ? listen_on(loop, fd) : NULL;
    }
}

void http_doors_pause(struct loop *loop)
{
    for (int i = 0; i < HTTP_DOORS; i++)
        if (loop->doors[i].listener != NULL) evconnlistener_disable(loop->doors[i].listener);
}

void http_doors_go_on(struct loop *loop)
{
    for (int i = 0; i < HTTP_DOORS; i++)
        if (loop->doors[i].listener != NULL) evconnlistener_enable(loop->doors[i].listener);
}

void http_doors_free(struct loop *loop)
{
    for (int i = 0; i < HTTP_DOORS; i++) {
        struct door *door = &loop->doors[i];
        if (door->changes && door->fd >= 0) close(door->fd);
        if (door->listener != NULL) evconnlistener_free(door->listener);
    }
}
