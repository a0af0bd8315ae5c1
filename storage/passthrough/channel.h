/*
 * channel.h: one socket of the pass-through: what is read at once, what its peer has not taken yet,
 * and the events of both.
 *
 * Everything runs on the loop's thread. What is written goes to the system at once; only what that
 * does not take is kept, and as long as there is such a backlog the owner reads nothing from the
 * other side (channel_read_events).
 */
#ifndef STORAGE_PASSTHROUGH_CHANNEL_H
#define STORAGE_PASSTHROUGH_CHANNEL_H

#include "storage/base/buffer.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct channel {
    int fd;   /* -1: closed */
    SSL *ssl; /* libpq's, or NULL */
    bool owns_fd;
    bool reading; /* wants to be told of bytes */
    bool broken;  /* nothing can be written any more */
    struct event read_event, write_event;
    char *backlog; /* what the peer has not taken, or NULL */
    size_t backlog_start, backlog_end, backlog_room;
};

/* changed is called with arg when there is something to read or when the backlog is gone. */
void channel_open(struct channel *channel, struct event_base *base, int fd, SSL *ssl, bool owns_fd,
                  event_callback_fn readable, event_callback_fn writable, void *arg);
void channel_close(struct channel *channel);

void channel_read_events(struct channel *channel, bool wanted);

/* Bytes that were read, 0 at the end of the stream, -1 on failure, CHANNEL_LATER for none now. */
enum { CHANNEL_LATER = -2 };
long channel_read(struct channel *channel, char *data, size_t room);

/* Whether TLS holds bytes that no event will tell of. */
bool channel_pending(const struct channel *channel);

/* Where the peer is gone the bytes are dropped, broken is set and the read event is made active. */
void channel_write(struct channel *channel, const char *data, size_t length);

/* Nothing can be written any more: as if the peer were gone. */
void channel_give_up(struct channel *channel);

/* Writes of the backlog what the peer takes now. Returns whether it took any. */
bool channel_flush(struct channel *channel);

static inline size_t channel_backlog(const struct channel *channel)
{
    return channel->backlog_end - channel->backlog_start;
}

#endif
