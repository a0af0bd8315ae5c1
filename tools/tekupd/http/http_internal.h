/* http_internal.h: loops and requests, for the files that the server is made of. */
#ifndef TEKUPD_HTTP_INTERNAL_H
#define TEKUPD_HTTP_INTERNAL_H

#include "tools/tekupd/http/http.h"

#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct loop {
    struct http_server *server;
    pthread_t thread;
    bool running;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct evhttp *guarded; /* what comes in by the doors */
    struct door {
        struct evhttp_bound_socket *bound; /* NULL: closed */
        bool changes;                      /* to what fd says; these two under the lock */
        int fd;                            /* -1: is to be closed */
    } doors[HTTP_DOORS];
    struct event *wake;
    struct event *turn; /* a timer: it accepts again whoever has not */
    bool waits;         /* for its turn to accept */
    bool took;          /* a connection in this round; under the server's lock */
    pthread_t self;    /* thread, as the thread itself sees it */
    bool answering;    /* the bytes being written are our own */
    atomic_bool awake; /* it has come round since somebody looked */
    pthread_mutex_t lock;
    struct http_request *finished;
    struct http_stream *streams; /* those that are there */
    int strangers;               /* that may send large bodies just now (http_head.c) */
};

enum { HTTP_MAX_HEAD = 64 << 10, HTTP_KINDS = HTTP_JSON | HTTP_OCTETS | HTTP_FORM };

struct http_server {
    struct http_options options;
    _Atomic long max_body;
    atomic_bool stopping, ended;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct wake_latency *wake; /* NULL: processors sleep as they like */
    int active;
    bool drained; /* handlers are not called any more */
    int loop_count;
    struct loop loops[];
};

struct http_request {
    struct loop *loop;
    struct evhttp_request *ev;
    const struct http_route *route;
    struct timespec began;
    const char *method; /* a static string */
    char *path;         /* undecoded, for the log */
    char *part;
    const char *query;
    int body_kind;
    const char *body;
    size_t body_length;
    bool by_door;
    bool closes; /* the connection, with its answer */
    bool sent; /* the answer is with evhttp */

    struct http_stream *stream; /* its answer, where that goes on */

    int status;
    struct buffer answer;
    char allow[64];
    const char *type;             /* of the answer; NULL: application/json */
    char next_page[24];           /* "": none */
    const struct http_page *page; /* the answer, or what a 304 is about */
    struct http_request *next;
};

/* ---- http.c; on the loop's thread ---- */

/* Out of file descriptors, most likely. A callback for a listener. */
void http_accept_failed(struct evconnlistener *listener, void *arg);

/* Releases the request, when its answer is out or cannot get out any more. */
void http_request_done(struct http_request *request);

/* A callback of evhttp's for when the answer is out; arg is the request. */
void http_answer_written(struct evhttp_request *ev, void *arg);

struct loop *http_this_loop(void);

/* The route of HTTP_OPEN that this is for; NULL: none. */
const struct http_route *http_find_open(const struct http_server *server, const char *method,
                                        const char *path);

/* The most that a route takes, and the most that any does. */
long http_body_limit(struct http_server *server, const struct http_route *route);
long http_read_limit(struct http_server *server);

/* ---- http_head.c; on the loop's thread, for what came in by a door ---- */

/* The next byte of this connection begins a request. */
void http_head_await(struct loop *loop, struct bufferevent *buffer);

/* Its request is there, or never will be. */
void http_head_taken(struct loop *loop, struct bufferevent *buffer);

/* ---- http_turn.c; on the loop's thread ---- */

/* The timer of the loop's turns; NULL when memory ran out. */
struct event *http_turn_create(struct loop *loop);

/* The loop is about to have one connection more. */
void http_turn_pass(struct loop *loop);

/* It was woken: the round may be over. */
void http_turn_look(struct loop *loop);

/* ---- http_door.c; on the loop's thread ---- */

/* Opens and closes doors as it was told. */
void http_doors_work(struct loop *loop);
void http_doors_pause(struct loop *loop); /* no new connections */
void http_doors_free(struct loop *loop);  /* what was to be opened */

/* ---- http.c; from any thread ---- */
void http_wake_all(struct http_server *server);

/* ---- http_stream.c; on the loop's thread ---- */

/* Sends what streams have been given, and ends those that are to end. */
void http_streams_work(struct loop *loop);

/* The connection of the request goes down. */
void http_stream_lost(struct http_stream *stream);

#endif
