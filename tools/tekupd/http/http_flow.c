#include "tools/tekupd/http/http_flow.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

enum {
    LIBEVENT_READS = 4096, /* EVBUFFER_MAX_READ */
    MOST = 256 << 10       /* that is read at a time, so that others get their turn */
};

static _Thread_local bool reading; /* what is read comes past the callback, too */

static void read_on(struct evbuffer *input, const struct evbuffer_cb_info *info, void *connection)
{
    if (info->n_added < LIBEVENT_READS || reading) return;
    const evutil_socket_t fd = bufferevent_getfd(connection);
    struct evbuffer_iovec space;
    int waiting = 0;
    if (fd < 0 || ioctl(fd, FIONREAD, &waiting) != 0 || waiting <= 0) return;
    if (waiting > MOST) waiting = MOST;
    if (evbuffer_reserve_space(input, waiting, &space, 1) != 1) return;
    if (space.iov_len > (size_t)waiting) space.iov_len = (size_t)waiting;
    const ssize_t got = readv(fd, &space, 1);
    if (got <= 0) return; /* the bufferevent comes upon the end, or the error, by itself */
    space.iov_len = (size_t)got;
    reading = true;
    evbuffer_commit_space(input, &space, 1);
    reading = false;
}

/* Callbacks are called from the latest on. This one, which the connection begins with, comes last,
 * so that those before it may remove themselves while it reads. */
void http_flow_read_on(struct bufferevent *connection)
{
    evbuffer_add_cb(bufferevent_get_input(connection), read_on, connection);
}

void http_flow_write(struct bufferevent *connection)
{
    struct evbuffer *output = bufferevent_get_output(connection);
    const evutil_socket_t fd = bufferevent_getfd(connection);
    if (fd < 0 || evbuffer_get_length(output) == 0) return;
    /* Its beginning is frozen, so that only the bufferevent takes from there. */
    evbuffer_unfreeze(output, 1);
    const int written = evbuffer_write(output, fd);
    evbuffer_freeze(output, 1);
    if (written <= 0 || evbuffer_get_length(output) > 0) return;
    bufferevent_disable(connection, EV_WRITE);
    bufferevent_trigger(connection, EV_WRITE,
                        BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}
