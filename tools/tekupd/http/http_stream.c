/*
 * http_stream.c: answers that go on.
 *
 * The loop's lock protects pending and what the sender has asked for (leaving). The rest is the
 * loop's own, but for the atomic figures, which both sides read. A connection that goes down takes
 * its request off evhttp's hands; the stream keeps it until the sender has let go.
 */
#include "tools/tekupd/http/http_internal.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>

enum leaving { STAYS, ENDS, IS_CUT };

struct http_stream {
    struct http_request *request;
    struct loop *loop;
    struct http_stream *next; /* of the loop's */
    struct evbuffer *output;  /* of the connection */
    struct evbuffer_cb_entry *watch;
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

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
    struct http_stream *stream = arg;
    (void)output;
    atomic_store(&stream->output_bytes, info->orig_size + info->n_added - info->n_deleted);
    atomic_fetch_add(&stream->taken, info->n_deleted);
    if (info->orig_size + info->n_added == info->n_deleted &&
        atomic_load(&stream->pending_bytes) == 0 && atomic_exchange(&stream->awaited, false))
        stream->taken_fn(stream->taken_arg);
}

static void refuse(struct http_request *request)
{
    struct error err;
    error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    http_respond_error(request, &err);
}

/* Nothing of what the client might say is of interest any more; that it is silent is as it should
 * be. */
static void prepare(struct http_stream *stream, const char *type)
{
    struct evhttp_request *ev = stream->request->ev;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(ev);
    struct bufferevent *connection =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(ev));
    stream->output = bufferevent_get_output(connection);
    stream->watch = evbuffer_add_cb(stream->output, on_output, stream);
    bufferevent_set_timeouts(connection, NULL, NULL);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-cache");
    evhttp_add_header(headers, "Connection", "close");
    stream->loop->answering = true;
    evhttp_send_reply_start(ev, 200, "OK");
    stream->loop->answering = false;
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
    stream->loop = request->loop;
    stream->taken_fn = taken;
    stream->taken_arg = arg;
    request->stream = stream;
    request->status = 200;
    prepare(stream, type);
    stream->next = request->loop->streams;
    request->loop->streams = stream;
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

static void stop_watching(struct http_stream *stream)
{
    if (stream->watch != NULL) evbuffer_remove_cb_entry(stream->output, stream->watch);
    stream->watch = NULL;
}

void http_stream_lost(struct http_stream *stream)
{
    stop_watching(stream);
    atomic_store(&stream->gone, true);
}

static void pass_on(struct http_stream *stream, const struct buffer *bytes)
{
    struct evbuffer *chunk = evbuffer_new();
    if (chunk == NULL || bytes->failed || evbuffer_add(chunk, bytes->data, bytes->length) != 0) {
        /* A client that misses something must not believe that it has everything. */
        stream->broken = true;
        atomic_store(&stream->gone, true);
    } else {
        stream->loop->answering = true;
        evhttp_send_reply_chunk(stream->request->ev, chunk);
        stream->loop->answering = false;
    }
    if (chunk != NULL) evbuffer_free(chunk);
}

/* Lets the request go, in the way that its connection's state wants. */
static void finish(struct http_stream *stream, enum leaving how)
{
    struct http_request *request = stream->request;
    struct evhttp_request *ev = request->ev;
    struct evhttp_connection *connection = evhttp_request_get_connection(ev);
    struct loop *loop = stream->loop;
    request->stream = NULL;
    stop_watching(stream);
    if (connection == NULL) {
        evhttp_send_reply_end(ev); /* only releases it */
        http_request_done(request);
    } else if (how == IS_CUT || stream->broken) {
        evhttp_connection_set_closecb(connection, NULL, NULL);
        evhttp_connection_free(connection); /* and the request with it */
        http_request_done(request);
    } else {
        const struct timeval idle = {.tv_sec = request->loop->server->options.idle_timeout};
        bufferevent_set_timeouts(evhttp_connection_get_bufferevent(connection), &idle, &idle);
        request->sent = true;
        loop->answering = true;
        evhttp_request_set_on_complete_cb(ev, http_answer_written, request);
        evhttp_send_reply_end(ev);
        loop->answering = false;
    }
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
            place = &stream->next; /* the loop has been woken again for what is pending */
        } else {
            *place = stream->next;
            finish(stream, how);
        }
    }
}
