/*
 * http_stream.c: answers that go on.
 *
 * The loop's lock protects pending and what the sender has asked for (leaving). The rest is the
 * loop's own, but for the atomic figures, which both sides read. A connection that goes down
 * stays, without its client, until the sender has let go.
 */
#include "tools/tekupd/http/http_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum leaving { STAYS, ENDS, IS_CUT };

struct http_stream {
    struct http_request *request;
    struct loop *loop;
    struct http_stream *next; /* of the loop's */
    struct buffer pending;
    enum leaving leaving;
    bool broken; /* something of it could not be sent */
    void (*taken_fn)(void *arg);
    void *taken_arg;
    atomic_bool awaited; /* taken_fn is to be called */
    atomic_bool gone;
    _Atomic size_t pending_bytes, output_bytes;
    _Atomic unsigned long long taken;
};

/* ---- Beginning ------------------------------------------------------------------------------- */

static void tell_sender(struct http_stream *stream)
{
    if (atomic_load(&stream->output_bytes) == 0 && atomic_load(&stream->pending_bytes) == 0 &&
        atomic_exchange(&stream->awaited, false))
        stream->taken_fn(stream->taken_arg);
}

void http_stream_written(struct http_stream *stream, size_t written, size_t left)
{
    atomic_store(&stream->output_bytes, left);
    atomic_fetch_add(&stream->taken, written);
    tell_sender(stream);
}

static void refuse(struct http_request *request)
{
    struct error err;
    error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    http_respond_error(request, &err);
}

static bool is_chunked(const struct http_stream *stream)
{
    return !stream->request->connection->head.old_version;
}

static void send_head(struct http_stream *stream)
{
    struct buffer *head = http_answer_head(stream->request);
    buffer_text(head, "Cache-Control: no-cache\r\n");
    if (is_chunked(stream)) buffer_text(head, "Transfer-Encoding: chunked\r\n");
    buffer_text(head, "\r\n");
    if (head->failed)
        stream->request->connection->broken = true;
    else
        connection_write(stream->request->connection, head->data, head->length, NULL, 0);
}

struct http_stream *http_stream_begin(struct http_request *request, const char *type,
                                      void (*taken)(void *arg), void *arg)
{
    struct http_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        refuse(request);
        return NULL;
    }
    stream->request = request;
    stream->loop = request->connection->loop;
    stream->taken_fn = taken;
    stream->taken_arg = arg;
    request->stream = stream;
    request->status = 200;
    request->type = type;
    send_head(stream);
    stream->next = stream->loop->streams;
    stream->loop->streams = stream;
    return stream;
}

/* ---- For the sender -------------------------------------------------------------------------- */

void http_stream_send(struct http_stream *stream, const void *bytes, size_t length)
{
    if (atomic_load(&stream->gone)) return;
    pthread_mutex_lock(&stream->loop->lock);
    buffer_append(&stream->pending, bytes, length);
    atomic_store(&stream->pending_bytes, stream->pending.length);
    event_active(stream->loop->wake, EV_READ, 0);
    pthread_mutex_unlock(&stream->loop->lock);
}

struct http_stream_state http_stream_state(struct http_stream *stream)
{
    return (struct http_stream_state){
        .gone = atomic_load(&stream->gone),
        .backlog = atomic_load(&stream->pending_bytes) + atomic_load(&stream->output_bytes),
        .taken = atomic_load(&stream->taken),
    };
}

void http_stream_wait(struct http_stream *stream)
{
    atomic_store(&stream->awaited, true);
    /* What was taken a moment ago the loop has not been asked about yet. */
    if (http_stream_state(stream).backlog == 0) event_active(stream->loop->wake, EV_READ, 0);
}

static void leave(struct http_stream *stream, enum leaving how)
{
    struct loop *loop = stream->loop;
    pthread_mutex_lock(&loop->lock);
    stream->leaving = how; /* from here on it is the loop's to free */
    event_active(loop->wake, EV_READ, 0);
    pthread_mutex_unlock(&loop->lock);
}

void http_stream_end(struct http_stream *stream)
{
    leave(stream, ENDS);
}

void http_stream_cut(struct http_stream *stream)
{
    leave(stream, IS_CUT);
}

/* ---- For the loop ---------------------------------------------------------------------------- */

void http_stream_lost(struct http_stream *stream)
{
    atomic_store(&stream->gone, true);
}

static void pass_on(struct http_stream *stream, const struct buffer *bytes)
{
    struct connection *connection = stream->request->connection;
    struct buffer chunk = {0};
    if (is_chunked(stream)) buffer_format(&chunk, "%zx\r\n", bytes->length);
    buffer_append(&chunk, bytes->data, bytes->length);
    if (is_chunked(stream)) buffer_append(&chunk, "\r\n", 2);
    if (chunk.failed || bytes->failed) {
        /* A client that misses something must not believe that it has everything. */
        stream->broken = true;
        atomic_store(&stream->gone, true);
    } else {
        connection_write(connection, chunk.data, chunk.length, NULL, 0);
        if (connection->broken) connection_close(connection);
    }
    buffer_free(&chunk);
}

static void finish(struct http_stream *stream, enum leaving how)
{
    struct connection *connection = stream->request->connection;
    if (how == IS_CUT || stream->broken)
        connection->broken = true;
    else if (is_chunked(stream))
        connection_write(connection, "0\r\n\r\n", 5, NULL, 0);
    stream->request->stream = NULL;
    connection_answered(connection);
    buffer_free(&stream->pending);
    free(stream);
}

void http_streams_work(struct loop *loop)
{
    struct http_stream **place = &loop->streams;
    while (*place != NULL) {
        struct http_stream *stream = *place;
        pthread_mutex_lock(&loop->lock);
        struct buffer bytes = stream->pending;
        stream->pending = (struct buffer){0};
        pthread_mutex_unlock(&loop->lock);
        if ((bytes.length > 0 || bytes.failed) && !atomic_load(&stream->gone))
            pass_on(stream, &bytes);
        buffer_free(&bytes);

        pthread_mutex_lock(&loop->lock);
        atomic_store(&stream->pending_bytes, stream->pending.length);
        /* What was sent in between comes first, unless nobody is to get it. */
        const bool more = stream->pending.length > 0 && stream->leaving != IS_CUT;
        const enum leaving how = more ? STAYS : stream->leaving;
        pthread_mutex_unlock(&loop->lock);
        if (how == STAYS) {
            tell_sender(stream);
            place = &stream->next; /* the loop has been woken again for what is pending */
        } else {
            *place = stream->next;
            finish(stream, how);
        }
    }
}
