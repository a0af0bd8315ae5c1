#include "storage/passthrough/channel.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void channel_open(struct channel *channel, struct event_base *base, int fd, SSL *ssl, bool owns_fd,
                  event_callback_fn readable, event_callback_fn writable, void *arg)
{
    *channel = (struct channel){.fd = fd, .ssl = ssl, .owns_fd = owns_fd};
    event_assign(&channel->read_event, base, fd, EV_READ | EV_PERSIST, readable, arg);
    event_assign(&channel->write_event, base, fd, EV_WRITE | EV_PERSIST, writable, arg);
}

void channel_close(struct channel *channel)
{
    if (channel->fd < 0) return;
    event_del(&channel->read_event);
    event_del(&channel->write_event);
    if (channel->owns_fd) close(channel->fd);
    channel->fd = -1;
    channel->reading = false;
    channel->broken = true;
    free(channel->backlog);
    channel->backlog = NULL;
    channel->backlog_start = channel->backlog_end = channel->backlog_room = 0;
}

void channel_read_events(struct channel *channel, bool wanted)
{
    if (channel->fd < 0 || channel->reading == wanted) return;
    channel->reading = wanted;
    if (!wanted) {
        event_del(&channel->read_event);
        return;
    }
    event_add(&channel->read_event, NULL);
    if (channel_pending(channel)) event_active(&channel->read_event, EV_READ, 0);
}

/* ---- Reading ---- */

static long read_tls(struct channel *channel, char *data, size_t room)
{
    size_t used = 0;
    while (used < room) {
        const size_t most = room - used < INT_MAX ? room - used : INT_MAX;
        ERR_clear_error();
        const int got = SSL_read(channel->ssl, data + used, (int)most);
        if (got > 0) {
            used += (size_t)got;
            continue;
        }
        if (used > 0) break;
        const int why = SSL_get_error(channel->ssl, got);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return CHANNEL_LATER;
        return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
    }
    return (long)used;
}

long channel_read(struct channel *channel, char *data, size_t room)
{
    if (channel->ssl != NULL) return read_tls(channel, data, room);
    for (;;) {
        const ssize_t got = recv(channel->fd, data, room, 0);
        if (got >= 0) return got;
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? CHANNEL_LATER : -1;
    }
}

bool channel_pending(const struct channel *channel)
{
    return channel->ssl != NULL && SSL_has_pending(channel->ssl) == 1;
}

/* ---- Writing ---- */

/* Bytes that the system took, 0 for none now, -1 where the peer is gone. */
static long write_some(struct channel *channel, const char *data, size_t length)
{
    if (channel->ssl != NULL) {
        ERR_clear_error();
        const int put = SSL_write(channel->ssl, data, length < INT_MAX ? (int)length : INT_MAX);
        if (put > 0) return put;
        const int why = SSL_get_error(channel->ssl, put);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    for (;;) {
        const ssize_t put = send(channel->fd, data, length, MSG_NOSIGNAL);
        if (put >= 0) return put;
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
}

void channel_give_up(struct channel *channel)
{
    if (channel->fd < 0) return;
    channel->broken = true;
    channel->backlog_start = channel->backlog_end = 0;
    event_del(&channel->write_event);
    event_active(&channel->read_event, EV_READ, 0);
}

static bool keep(struct channel *channel, const char *data, size_t length)
{
    if (channel->backlog_start > 0 && channel->backlog_end + length > channel->backlog_room) {
        memmove(channel->backlog, channel->backlog + channel->backlog_start,
                channel_backlog(channel));
        channel->backlog_end -= channel->backlog_start;
        channel->backlog_start = 0;
    }
    if (channel->backlog_end + length > channel->backlog_room) {
        const size_t room = (channel->backlog_end + length) * 3 / 2;
        char *grown = realloc(channel->backlog, room);
        if (grown == NULL) return false;
        channel->backlog = grown;
        channel->backlog_room = room;
    }
    memcpy(channel->backlog + channel->backlog_end, data, length);
    channel->backlog_end += length;
    return true;
}

void channel_write(struct channel *channel, const char *data, size_t length)
{
    if (channel->broken || channel->fd < 0) return;
    const bool behind = channel_backlog(channel) > 0;
    while (!behind && length > 0) {
        const long put = write_some(channel, data, length);
        if (put < 0) {
            channel_give_up(channel);
            return;
        }
        if (put == 0) break;
        data += put;
        length -= (size_t)put;
    }
    if (length == 0) return;
    if (!keep(channel, data, length))
        channel_give_up(channel);
    else if (!behind)
        event_add(&channel->write_event, NULL);
}

bool channel_flush(struct channel *channel)
{
    bool took = false;
    while (!channel->broken && channel_backlog(channel) > 0) {
        const long put = write_some(channel, channel->backlog + channel->backlog_start,
                                    channel_backlog(channel));
        if (put < 0) {
            channel_give_up(channel);
            return took;
        }
        if (put == 0) return took;
        took = true;
        channel->backlog_start += (size_t)put;
    }
    if (channel->fd >= 0) event_del(&channel->write_event);
    free(channel->backlog);
    channel->backlog = NULL;
    channel->backlog_start = channel->backlog_end = channel->backlog_room = 0;
    return took;
}
