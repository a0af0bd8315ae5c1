/*
 * http.h: HTTP/1.1 on a listening socket, over libevent's evhttp.
 *
 * A few event-loop threads share the socket. Each request is matched with a table of routes and
 * given to the route's handler, which runs on the loop's thread and must not wait: it answers at
 * once, or keeps the request and answers later, from any thread. What no handler needs to see is
 * answered here, in the interface's error form: unknown paths (404) and methods (405), bodies of
 * the wrong kind (415) or size (413), heads that are not HTTP (400).
 */
#ifndef TEKUPD_HTTP_H
#define TEKUPD_HTTP_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http_server;
struct http_request;

/* Kinds of body that a route takes, to be or-ed. */
enum { HTTP_JSON = 1, HTTP_OCTETS = 2 };

struct http_route {
    const char *method; /* "GET" answers HEAD as well */
    const char *path;   /* a final part "*" stands for any one part */
    int bodies;         /* 0: a body is not looked at */
    void (*handler)(struct http_request *request);
    const void *arg; /* the handler's own */
};

struct http_options {
    int fd;      /* listening, non-blocking; stays the caller's */
    int threads; /* event loops */
    long max_body;
    int idle_timeout; /* seconds */
    const struct http_route *routes;
    size_t route_count;
    void *context; /* for the handlers */
};

/* Starts the loops. The routes and the context must outlive the server. */
struct http_server *http_server_create(const struct http_options *options, struct error *err);

/* Takes effect with the next connection. */
void http_server_set_max_body(struct http_server *server, long max_body);

/* Takes no new connections, lets requests that are under way end for up to timeout_ms, and returns
 * how many have not. Answers close their connection from now on. Requests that come in afterwards,
 * on connections that were idle, are answered with 503 and reach no handler. May be called again.
 */
int http_server_drain(struct http_server *server, int timeout_ms);

/* Ends the loops and releases everything. Every request must have been answered by now. NULL is
 * allowed. */
void http_server_free(struct http_server *server);

/* ---- A request: the handler's until it answers ---- */

void *http_context(const struct http_request *request);
const struct http_route *http_route(const struct http_request *request);
double http_elapsed_ms(const struct http_request *request); /* since it was complete */
const char *http_query(const struct http_request *request); /* undecoded, NULL without '?' */
const char *http_part(const struct http_request *request);  /* what "*" stands for, decoded */
int http_body_kind(const struct http_request *request);     /* HTTP_JSON or HTTP_OCTETS */
const char *http_body(const struct http_request *request, size_t *length);

/* Answers with a JSON body, which is taken over (and emptied). Exactly one answer a request, from
 * any thread; the request is gone afterwards. An answer for which memory ran out becomes a 500. */
void http_respond(struct http_request *request, int status, struct buffer *body);

/* The same with a body of application/octet-stream. Where `next` is not NULL, the header Tekup-Next
 * says it: where the page behind this one begins. */
void http_respond_octets(struct http_request *request, struct buffer *body, const char *next);

/* Answers in the error form, with the status that fits the code. */
void http_respond_error(struct http_request *request, const struct error *err);

#endif
