/*
 * http.h: HTTP/1.1 on listening sockets, over libevent's event loops.
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

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;

/* Kinds of body that a route takes, to be or-ed. HTTP_LARGE: up to HTTP_LARGE_BODY bytes, whatever
 * the limit of the others is. HTTP_OPEN: at the doors, too, nobody is asked who they are. */
enum { HTTP_JSON = 1, HTTP_OCTETS = 2, HTTP_FORM = 4, HTTP_LARGE = 8, HTTP_OPEN = 16 };
enum { HTTP_LARGE_BODY = 25 << 20 };

struct http_route {
    const char *method; /* "GET" answers HEAD as well */
    const char *path;   /* one part "*" stands for any one part */
    int bodies;         /* 0: a body is not looked at */
    void (*handler)(struct http_request *request);
    const void *arg; /* the handler's own */
};

/* How many answers there were with each status, those included that no handler gave. */
enum { HTTP_STATUSES = 600 };
struct http_tally {
    _Atomic uint64_t answers[HTTP_STATUSES];
};

/* Who calls, as a request's head says; NULL where it does not. */
struct http_caller {
    const char *host, *origin, *api_key, *authorization;
};

struct http_options {
    int fd;      /* listening, non-blocking; stays the caller's */
    int threads; /* event loops */
    long max_body;
    int idle_timeout;        /* seconds; in as many the head of a request has to come */
    int most_strangers;      /* connections by doors that a loop has at a time; 0: 500 */
    const int *wake_latency; /* microseconds (http/wake_latency.h); NULL: as the kernel likes */
    const struct http_route *routes;
    size_t route_count;
    void *context; /* for the handlers */
    /* Asked about every request that comes in by a door, but for those of HTTP_OPEN, before its
     * body is read, of which there is little where it may not come in. Returns NULL to let it in;
     * else why not, a static string, with 401 or 403 in *status. */
    const char *(*admit)(void *context, const struct http_caller *caller, int *status);
    struct http_tally *tally; /* NULL: nobody wants to know */
};

/* Starts the loops. The routes and the context must outlive the server. */
struct http_server *http_server_create(const struct http_options *options, struct error *err);

/* Takes effect with the next request. */
void http_server_set_max_body(struct http_server *server, long max_body);

/* Whether every event loop has come round since this was asked last; for a watchdog, by one thread.
 */
bool http_server_is_alive(struct http_server *server);

/*
 * A door is a socket on which strangers come in. The server has HTTP_DOORS of them, closed at
 * first. http_door_open takes over fd, which listens and is non-blocking, also where it fails
 * (memory, or file descriptors ran out). http_door_close ends the listening within moments;
 * connections that came in stay, and are let in or not with each request. Both from any thread.
 */
enum { HTTP_DOORS = 2 };
int http_door_open(struct http_server *server, int door, int fd, struct error *err);
void http_door_close(struct http_server *server, int door);

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
const char *http_header(const struct http_request *request, const char *name); /* NULL: not given */
bool http_came_by_door(const struct http_request *request);
bool http_is_head(const struct http_request *request);
int http_body_kind(const struct http_request *request); /* HTTP_JSON, HTTP_OCTETS or HTTP_FORM */
const char *http_body(const struct http_request *request, size_t *length);

/* Answers with a JSON body, which is taken over (and emptied). Exactly one answer a request, from
 * any thread; the request is gone afterwards. An answer for which memory ran out becomes a 500. */
void http_respond(struct http_request *request, int status, struct buffer *body);

/* The same with 200 and a body in the text form of Prometheus. */
void http_respond_metrics(struct http_request *request, struct buffer *body);

/* The same with a body of application/octet-stream. Where `next` is not NULL, the header Tekup-Next
 * says it: where the page behind this one begins. */
void http_respond_octets(struct http_request *request, struct buffer *body, const char *next);

/* A file of the console: bytes that outlive the server. */
struct http_page {
    const char *type;
    const unsigned char *bytes;
    size_t length;
    const char *etag; /* with its quotes; changes whenever the bytes do */
};

/* The same with 200 and a page, or 304 where the client has it. Headers forbid the page everything
 * but its own origin, and everybody else to frame it. */
void http_respond_page(struct http_request *request, const struct http_page *page);

/* Answers in the error form. field may be NULL. */
void http_respond_refusal(struct http_request *request, int status, const char *field,
                          const char *message);

/* The same with the status that fits the code. */
void http_respond_error(struct http_request *request, const struct error *err);

/* ---- Answers that go on ---- */

/*
 * A stream is an answer in the making: it is sent to from any thread, keeps what the client has not
 * taken yet, and says how much that is. What is too much is the sender's to decide. It takes no
 * thread. Every stream is ended or cut, by one thread, which then knows it no more; all of them
 * before the server is drained.
 */
struct http_stream;

/* Takes the request over and answers it with status 200 and this type. By the handler, on the
 * loop's thread. NULL when memory ran out; the request has then been answered. taken is for
 * http_stream_wait(), and must not call anything of this file. */
struct http_stream *http_stream_begin(struct http_request *request, const char *type,
                                      void (*taken)(void *arg), void *arg);

/* Nothing happens where the client is gone. */
void http_stream_send(struct http_stream *stream, const void *bytes, size_t length);

struct http_stream_state {
    bool gone;                /* the client has closed the connection */
    size_t backlog;           /* bytes that the system has not taken yet */
    unsigned long long taken; /* bytes that it has, so far */
};
struct http_stream_state http_stream_state(struct http_stream *stream);

/* Has taken(arg) called once, by the loop's thread, when the system has taken everything. */
void http_stream_wait(struct http_stream *stream);

/* Closes the connection, after what was sent or at once. */
void http_stream_end(struct http_stream *stream);
void http_stream_cut(struct http_stream *stream);

#endif
