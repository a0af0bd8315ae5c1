#include "tools/tekupd/http/http_connection.h"

#include "tools/tekupd/http/http_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SPARE_BYTES = 32 << 10,   /* as most questions fit into */
    MOST_AT_ONCE = 256 << 10, /* that is read before others get their turn */
    MOST_KEPT = 512 << 10,    /* of memory, between one request and the next */
    MOST_STRANGERS = 500,
    LINGER_SECONDS = 30,
    LINGER_SILENT = 10
};

/* ---- Beginning and end ----------------------------------------------------------------------- */

void connection_give_back(struct connection *connection)
{
    struct connections *all = &connection->loop->connections;
    if (connection->in_capacity == SPARE_BYTES && all->spare == NULL)
        all->spare = connection->in;
    else
        free(connection->in);
    connection->in = NULL;
    connection->in_length = connection->in_capacity = 0;
}

void connection_shrink(struct connection *connection)
{
    const size_t wanted = connection->in_length > SPARE_BYTES ? connection->in_length : SPARE_BYTES;
    if (connection->in_capacity <= MOST_KEPT || wanted > connection->in_capacity / 2) return;
    char *bytes = realloc(connection->in, wanted);
    if (bytes == NULL) return;
    connection->in = bytes;
    connection->in_capacity = wanted;
}

static void release(struct connection *connection)
{
    TAILQ_REMOVE(&connection->loop->connections.all, connection, entry);
    http_look_forget(connection);
    free(connection->request.part); /* of one whose body did not come */
    connection_give_back(connection);
    buffer_free(&connection->out);
    free(connection);
}

void connection_count_no_more(struct connection *connection)
{
    if (connection->counts) connection->loop->strangers--;
    connection->counts = false;
}

static void hang_up(struct connection *connection)
{
    if (connection->fd < 0) return;
    event_del(&connection->readable);
    event_del(&connection->writable);
    close(connection->fd);
    connection->fd = -1;
    connection->broken = true;
    connection_count_no_more(connection);
    if (connection->by_door) connection->loop->connections.by_door--;
}

void connection_close(struct connection *connection)
{
    hang_up(connection);
    if (connection->state == IS_BUSY) {
        if (connection->request.stream != NULL) http_stream_lost(connection->request.stream);
        return; /* until the answer */
    }
    if (connection->state == WRITES) http_request_done(&connection->request);
    release(connection);
}

/* A socket that is closed while something of it is unread takes the answer from the client, which
 * may be sending all the while and look for it only then. */
void connection_linger(struct connection *connection)
{
    if (connection->ended || connection->broken || shutdown(connection->fd, SHUT_WR) != 0) {
        connection_close(connection);
        return;
    }
    connection_count_no_more(connection);
    connection_give_back(connection);
    connection->state = LINGERS;
    connection->paused = false;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &connection->since);
    if (event_add(&connection->readable, connection->loop->connections.linger) != 0)
        connection_close(connection);
}

static bool has_taken(const struct connection *connection, long seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec - connection->since.tv_sec > seconds;
}

static void drop_what_comes(struct connection *connection)
{
    char bytes[16 << 10];
    for (int i = 0; i < MOST_AT_ONCE / (int)sizeof(bytes); i++) {
        const ssize_t got = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (got <= 0) {
            connection_close(connection);
            return;
        }
    }
    if (has_taken(connection, LINGER_SECONDS)) connection_close(connection);
}

/* ---- Bytes in -------------------------------------------------------------------------------- */

void connection_pause(struct connection *connection)
{
    event_del(&connection->readable);
    connection->paused = true;
}

void connection_resume(struct connection *connection)
{
    if (connection->paused) connection_await(connection);
}

void connection_await(struct connection *connection)
{
    connection->paused = false;
    if (event_add(&connection->readable, connection->loop->connections.idle) != 0)
        connection->broken = true; /* it would never be heard again */
}

void connection_yield(struct connection *connection)
{
    connection->late = true;
    event_active(&connection->readable, EV_READ, 0);
}

/* Room for at least one byte more. The head may move, which nobody else knows of yet. */
static bool make_room(struct connection *connection)
{
    struct connections *all = &connection->loop->connections;
    if (connection->in_length < connection->in_capacity) return true;
    if (connection->in == NULL) {
        connection->in = all->spare != NULL ? all->spare : malloc(SPARE_BYTES);
        all->spare = NULL;
        connection->in_capacity = connection->in != NULL ? SPARE_BYTES : 0;
        return connection->in != NULL;
    }
    const size_t capacity = connection->in_capacity * 2;
    char *bytes = malloc(capacity);
    if (bytes == NULL) return false;
    memcpy(bytes, connection->in, connection->in_length);
    if (connection->head_length > 0) http_head_move(&connection->head, connection->in, bytes);
    free(connection->in);
    connection->in = bytes;
    connection->in_capacity = capacity;
    return true;
}

/* Reads what there is, within bounds: of who asks much in a row no more than fits, as each answer
 * moves what is behind its request. */
static void read_in(struct connection *connection)
{
    size_t all = 0;
    while (all < MOST_AT_ONCE && !connection->ended) {
        if (!make_room(connection)) {
            connection->broken = true;
            return;
        }
        const size_t room = connection->in_capacity - connection->in_length;
        const ssize_t got =
            recv(connection->fd, connection->in + connection->in_length, room, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != EAGAIN) connection->broken = true;
        if (got < 0) return;
        connection->ended = got == 0;
        if (connection->in_length == 0) clock_gettime(CLOCK_MONOTONIC_COARSE, &connection->since);
        connection->in_length += (size_t)got;
        all += (size_t)got;
        if ((size_t)got < room || connection->state == READS_HEAD) return;
    }
}

bool connection_look(struct connection *connection)
{
    const size_t known = connection->in_length;
    if (connection->state > READS_CHUNKS || connection->paused || connection->late) return false;
    read_in(connection);
    if (connection->in_length == known && !connection->ended && !connection->broken) {
        if (known == 0) connection_give_back(connection);
        return false;
    }
    connection_go_on(connection);
    return true;
}

/* Of a client whose answer goes on nothing is of interest but that it is there. */
static void watch_stream(struct connection *connection)
{
    char bytes[4096];
    const ssize_t got = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) connection_close(connection);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;
    (void)fd;
    const bool silent = (what & EV_READ) == 0;
    const struct http_options *options = &connection->loop->server->options;
    switch (connection->state) {
    case IS_BUSY:
        if (connection->request.stream == NULL && !silent)
            connection_pause(connection);
        else if (!silent)
            watch_stream(connection);
        return;
    case WRITES:
        if (!silent) connection_pause(connection);
        return;
    case LINGERS:
        if (silent)
            connection_close(connection);
        else
            drop_what_comes(connection);
        return;
    case READS_HEAD:
    case READS_BODY:
    case READS_CHUNKS:
    case ANSWERED:
        break;
    }
    /* A head that comes byte by byte is not to take longer than none at all. */
    if (silent || (connection->state == READS_HEAD && connection->in_length > 0 &&
                   has_taken(connection, options->idle_timeout))) {
        connection_close(connection);
        return;
    }
    /* What has been read comes first, so that it does not pile up. */
    if (!connection->late) read_in(connection);
    connection->late = false;
    connection_go_on(connection);
}

/* ---- Bytes out ------------------------------------------------------------------------------- */

/* Returns how much of it was written. */
static size_t write_some(struct connection *connection, struct iovec *parts, size_t count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;
    do {
        sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) connection->broken = true;
    return sent > 0 ? (size_t)sent : 0;
}

static void tell_stream(struct connection *connection, size_t written)
{
    struct http_stream *stream = connection->request.stream;
    if (stream != NULL)
        http_stream_written(stream, written, connection->out.length - connection->written);
}

static void keep(struct connection *connection, const void *bytes, size_t length, size_t written)
{
    struct buffer *out = &connection->out;
    if (written == length) return;
    if (connection->written > out->length / 2) { /* what was written need not stay */
        out->length -= connection->written;
        memmove(out->data, out->data + connection->written, out->length);
        connection->written = 0;
    }
    buffer_append(out, (const char *)bytes + written, length - written);
    if (out->failed) connection->broken = true;
}

void connection_write(struct connection *connection, const void *head, size_t head_length,
                      const void *body, size_t body_length)
{
    struct iovec parts[2] = {{(void *)head, head_length}, {(void *)body, body_length}};
    size_t written = 0;
    if (connection->broken || connection->fd < 0) return;
    const bool waits = connection->out.length > 0;
    if (!waits) written = write_some(connection, parts, body_length > 0 ? 2 : 1);
    if (connection->broken) return;
    keep(connection, head, head_length, written < head_length ? written : head_length);
    keep(connection, body, body_length, written > head_length ? written - head_length : 0);
    tell_stream(connection, written);
    if (connection->out.length == 0) return;
    /* Until it is all there is, it may take as long as it likes. */
    if (!waits && !connection->broken) event_add(&connection->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;
    (void)fd;
    if ((what & EV_WRITE) == 0) {
        connection_close(connection);
        return;
    }
    struct iovec part = {connection->out.data + connection->written,
                         connection->out.length - connection->written};
    const size_t written = write_some(connection, &part, 1);
    if (connection->broken) {
        connection_close(connection);
        return;
    }
    connection->written += written;
    tell_stream(connection, written);
    if (connection->written < connection->out.length) return;
    event_del(&connection->writable);
    buffer_free(&connection->out);
    connection->written = 0;
    if (connection->state == WRITES) connection_answered(connection);
}

/* ---- Those of a loop ------------------------------------------------------------------------- */

static void turn_away(int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                                 "Retry-After: 2\r\nContent-Length: 0\r\n\r\n";
    (void)!send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

void connection_open(struct loop *loop, int fd, bool by_door)
{
    const int most = loop->server->options.most_strangers;
    struct connections *all = &loop->connections;
    if (by_door && all->by_door >= (most > 0 ? most : MOST_STRANGERS)) {
        turn_away(fd);
        return;
    }
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->loop = loop;
    connection->fd = fd;
    connection->by_door = by_door;
    connection->request.connection = connection;
    event_assign(&connection->readable, loop->base, fd, EV_READ | EV_PERSIST, on_readable,
                 connection);
    event_assign(&connection->writable, loop->base, fd, EV_WRITE | EV_PERSIST, on_writable,
                 connection);
    TAILQ_INSERT_TAIL(&all->all, connection, entry);
    if (by_door) all->by_door++;
    if (event_add(&connection->readable, all->idle) != 0) connection_close(connection);
}

int connections_init(struct loop *loop, int idle_seconds)
{
    struct connections *all = &loop->connections;
    TAILQ_INIT(&all->all);
    all->idle =
        event_base_init_common_timeout(loop->base, &(struct timeval){.tv_sec = idle_seconds});
    all->linger =
        event_base_init_common_timeout(loop->base, &(struct timeval){.tv_sec = LINGER_SILENT});
    return all->idle != NULL && all->linger != NULL ? 0 : -1;
}

void connections_free(struct loop *loop)
{
    struct connections *all = &loop->connections;
    struct connection *connection;
    while ((connection = TAILQ_FIRST(&all->all)) != NULL) connection_close(connection);
    free(all->spare);
    all->spare = NULL;
}
