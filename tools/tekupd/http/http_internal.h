/* http_internal.h: loops and requests, for the files that the server is made of. */
#ifndef TEKUPD_HTTP_INTERNAL_H
#define TEKUPD_HTTP_INTERNAL_H

#include "tools/tekupd/http/http.h"
#include "tools/tekupd/http/http_connection.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct evconnlistener;

struct loop {
    struct http_server *server;
    pthread_t thread;
    bool running;
    struct event_base *base;
    struct evconnlistener *listener;
    struct door {
        struct evconnlistener *listener; /* NULL: closed */
        bool changes;                    /* to what fd says; these two under the lock */
        int fd;                          /* -1: is to be closed */
    } doors[HTTP_DOORS];
    struct event *wake;
    struct event *turn; /* a timer: it accepts again whoever has not */
    struct event *rest; /* a timer: until those that could not accept try again */
    bool waits;         /* for its turn to accept */
    bool took;          /* a connection in this round; under the server's lock */
    pthread_t self;     /* thread, as the thread itself sees it */
    atomic_bool awake;  /* it has come round since somebody looked */
    struct connections connections;
    struct look {                 /* http_look.c */
        struct connection *last;  /* that asked; NULL: it is gone */
        struct timespec answered; /* when it was answered */
        unsigned in_a_row;        /* questions of the last one that came soon after an answer */
    } look;
    int strangers;      /* that may send large bodies just now (http_route.c) */
    struct buffer head; /* of the answer in the making */
    struct date {
        time_t of;
        char text[32];
    } date;
    pthread_mutex_t lock;
    struct http_request *finished;
    struct http_stream *streams; /* those that are there */
};

struct http_server {
    struct http_options options;
    _Atomic long max_body;
    atomic_bool stopping, ended;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct wake_latency *wake;  /* NULL: processors sleep as they like */
    struct loop *_Atomic alone; /* the loop whose client is the only one that asks just now */
    int active;
    bool drained; /* handlers are not called any more */
    int loop_count;
    struct loop loops[];
};

/* ---- http_route.c; on the loop's thread ---- */

/* The head is there: finds the route and whether the request is refused, and says how large its
 * body may be. */
long http_request_judge(struct http_request *request);

/* The request is there: gives it to its handler, or refuses it. */
void http_request_dispatch(struct http_request *request);

/* Its body is too large: refuses it. */
void http_request_too_large(struct http_request *request);

/* ---- http_answer.c; on the loop's thread ---- */

/* Counts the request among those that are to be answered. Returns false where nothing may be given
 * to handlers any more. */
bool http_request_begin(struct http_request *request);

/* Releases what the request holds: its answer is out, or cannot get out any more. */
void http_request_done(struct http_request *request);

/* Sends the answer that the request has. */
void http_answer_send(struct http_request *request);

/* The head of an answer, without its last, empty line; the loop's, until the next one. */
struct buffer *http_answer_head(struct http_request *request);

/* ---- http_turn.c; on the loop's thread ---- */

/* The timer of the loop's turns; NULL when memory ran out. */
struct event *http_turn_create(struct loop *loop);

/* The loop has one connection more. */
void http_turn_pass(struct loop *loop);

/* It was woken: the round may be over. */
void http_turn_look(struct loop *loop);

/* ---- http_look.c; on the loop's thread ---- */

/* A question has come; it is answered now. */
void http_look_asked(struct connection *connection);
void http_look_answered(struct loop *loop);

/* The connection is gone. */
void http_look_forget(const struct connection *connection);

/* Looks for the next question before the loop sleeps, where it may be worth it. */
void http_look_on(struct loop *loop);

/* ---- http_door.c; on the loop's thread ---- */

/* Opens and closes doors as it was told. */
void http_doors_work(struct loop *loop);
void http_doors_pause(struct loop *loop); /* no new connections */
void http_doors_go_on(struct loop *loop);
void http_doors_free(struct loop *loop);

/* ---- http.c ---- */

/* A listener of the loop's, whose connections are strangers' or not. NULL where there are none to
 * be had; the descriptor then stays the caller's. */
struct evconnlistener *http_listen(struct loop *loop, int fd, bool door, unsigned flags);

void http_wake_all(struct http_server *server); /* from any thread */

/* ---- http_stream.c; on the loop's thread ---- */

/* Sends what streams have been given, and ends those that are to end. */
void http_streams_work(struct loop *loop);

/* The connection of the request has written so many bytes, with so many left, or goes down. */
void http_stream_written(struct http_stream *stream, size_t written, size_t left);
void http_stream_lost(struct http_stream *stream);

#endif
