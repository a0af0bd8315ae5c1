/*
 * http_connection.h: a connection with a client: bytes in, one request at a time, bytes out.
 *
 * A request is read whole, given to its handler, and answered; what the client sends meanwhile
 * waits in the socket, and so does the handler's answer in here where the client does not take it.
 * A request is a part of its connection, which stays after the client is gone for as long as a
 * handler has it. Everything here happens on the loop's thread.
 */
#ifndef TEKUPD_HTTP_CONNECTION_H
#define TEKUPD_HTTP_CONNECTION_H

#include "storage/base/buffer.h"
#include "tools/tekupd/http/http_chunks.h"
#include "tools/tekupd/http/http_head.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <time.h>

struct loop;
struct http_page;
struct http_route;
struct http_stream;

struct http_request {
    struct connection *connection;
    const struct http_route *route;
    struct timespec began; /* when it was complete */
    char *part;
    int body_kind;
    const char *body;
    size_t body_length;

    int refused;     /* with this status; 0: it is not */
    const char *why; /* NULL: the status says it, with what is in `allow` */
    char allow[64];  /* methods that the path has */
    int too_large;   /* what to say of a body over its limit in place of 413; 0: nothing else */

    struct http_stream *stream; /* its answer, where that goes on */
    int status;
    struct buffer answer;
    const char *type;             /* of the answer; NULL: application/json */
    char next_page[24];           /* "": none */
    const struct http_page *page; /* the answer, or what a 304 is about */
    struct http_request *next;    /* in the loop's list of those that were answered elsewhere */
};

enum connection_state {
    READS_HEAD,
    READS_BODY,
    READS_CHUNKS,
    IS_BUSY,  /* a handler has the request, or its stream goes on */
    WRITES,   /* what the client has not taken of the answer yet */
    ANSWERED, /* it has it all */
    LINGERS   /* the client has its answer and may go on with what nobody reads */
};

struct connection {
    TAILQ_ENTRY(connection) entry;
    struct loop *loop;
    int fd; /* -1: the client is gone, and a handler has the request */
    enum connection_state state;
    bool by_door; /* it is a stranger's */
    bool going;   /* connection_go_on() is at it */
    bool paused;  /* nothing is read */
    bool late;    /* it goes on, with what was read, when others had their turn */
    bool ended;   /* the client sends nothing more */
    bool broken;  /* it takes nothing more */
    bool closes;  /* after this answer */
    bool rest;    /* of the request is still to come, when it is answered */
    bool counts;  /* among its loop's strangers that may send much */
    struct event readable, writable;
    struct timespec since; /* it has lingered, or its head has been coming */

    char *in; /* NULL: nothing was read */
    size_t in_length, in_capacity;
    size_t head_seen;   /* bytes in which its end is not */
    size_t head_length; /* 0: it is not there yet */
    long limit;         /* of the body */
    struct http_head head;
    struct http_chunks chunks;
    struct http_request request;

    struct buffer out; /* what is not written yet, from `written` on */
    size_t written;
};

/* Those of a loop. */
struct connections {
    TAILQ_HEAD(, connection) all;
    const struct timeval *idle, *linger; /* how long one may be silent */
    int by_door;                         /* so many of them are strangers' */
    char *spare;                         /* memory for one that is read from next; NULL: none */
};

/* Returns -1 when memory ran out. */
int connections_init(struct loop *loop, int idle_seconds);

/* Closes them all; no handler has a request. */
void connections_free(struct loop *loop);

/* Takes over a socket that was accepted. */
void connection_open(struct loop *loop, int fd, bool by_door);

/* Writes what can be written now of both, and keeps a copy of the rest for later. */
void connection_write(struct connection *connection, const void *head, size_t head_length,
                      const void *body, size_t body_length);

/* Takes what has come of a request without having been told that anything has. Returns false where
 * that is nothing. The connection may be gone afterwards. */
bool connection_look(struct connection *connection);

/* The answer to its request has been given to connection_write(). */
void connection_answered(struct connection *connection);

/* Takes it as far as what has come in allows. The connection may be gone afterwards. */
void connection_go_on(struct connection *connection);

/* ---- Between http_connection.c and http_intake.c ---- */

/* Reads nothing until it is resumed. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/* How long the client may be silent counts from here on. */
void connection_await(struct connection *connection);

/* Lets others have their turn before it goes on with what it has read. */
void connection_yield(struct connection *connection);

/* Lets its memory go: nothing that was read is needed any more. */
void connection_give_back(struct connection *connection);

/* Keeps no more of it than what is left needs. */
void connection_shrink(struct connection *connection);

/* It is none of the strangers that may send much. */
void connection_count_no_more(struct connection *connection);

/* Ends it when the client has, too, or after a while. */
void connection_linger(struct connection *connection);

/* Ends it, whatever it is at. A request that a handler has stays. */
void connection_close(struct connection *connection);

#endif
