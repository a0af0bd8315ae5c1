/*
 * http.c: event loops, routes and answers.
 *
 * Threads. A request is touched by its loop's thread only, but for http_respond(), which may come
 * from anywhere: it leaves the answer in the loop's list of finished requests and wakes the loop
 * (evhttp may be used by one thread only). What a handler reads of a request lies in memory that
 * stays until the answer, whatever happens to the connection: evhttp takes a request from a
 * connection that breaks and leaves it to us, and sending the answer then just releases it.
 *
 * Locks. loop->lock protects loop->finished. server->lock protects server->active, the number of
 * requests given to handlers and not yet sent or lost, and server->drained; server->idle is
 * signalled when active is 0.
 */
#include "storage/base/log.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/http_flow.h"
#include "tools/tekupd/http/http_internal.h"
#include "tools/tekupd/http/http_line.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/http/wake_latency.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>

enum { ACCEPT_PAUSE_MS = 100 };

static const struct {
    enum evhttp_cmd_type type;
    const char *name;
} methods[] = {
    {EVHTTP_REQ_GET, "GET"},     {EVHTTP_REQ_POST, "POST"},     {EVHTTP_REQ_HEAD, "HEAD"},
    {EVHTTP_REQ_PUT, "PUT"},     {EVHTTP_REQ_DELETE, "DELETE"}, {EVHTTP_REQ_OPTIONS, "OPTIONS"},
    {EVHTTP_REQ_TRACE, "TRACE"}, {EVHTTP_REQ_PATCH, "PATCH"},   {EVHTTP_REQ_CONNECT, "CONNECT"},
};

/* ---- The error form -------------------------------------------------------------------------- */

void http_respond_refusal(struct http_request *request, int status, const char *field,
                          const char *message)
{
    struct buffer body = {0};
    http_write_refusal(&body, http_path_is_old(request->path), status, field, message);
    http_respond(request, status, &body);
}

void http_respond_error(struct http_request *request, const struct error *err)
{
    http_respond_refusal(request, http_status_of(err->code), err->field, err->message);
}

/* ---- Requests -------------------------------------------------------------------------------- */

void *http_context(const struct http_request *request)
{
    return request->loop->server->options.context;
}

const struct http_route *http_route(const struct http_request *request)
{
    return request->route;
}

double http_elapsed_ms(const struct http_request *request)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - request->began.tv_sec) * 1e3 +
           (double)(now.tv_nsec - request->began.tv_nsec) / 1e6;
}

const char *http_query(const struct http_request *request)
{
    return request->query;
}

const char *http_part(const struct http_request *request)
{
    return request->part;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(request->ev), name);
}

bool http_came_by_door(const struct http_request *request)
{
    return request->by_door;
}

bool http_is_head(const struct http_request *request)
{
    return strcmp(request->method, "HEAD") == 0;
}

int http_body_kind(const struct http_request *request)
{
    return request->body_kind;
}

const char *http_body(const struct http_request *request, size_t *length)
{
    *length = request->body_length;
    return request->body;
}

static void count_answer(const struct http_server *server, int status)
{
    struct http_tally *tally = server->options.tally;
    if (tally != NULL && status > 0 && status < HTTP_STATUSES)
        atomic_fetch_add_explicit(&tally->answers[status], 1, memory_order_relaxed);
}

/* Called by the loop when the answer is out, or cannot get out any more. */
void http_request_done(struct http_request *request)
{
    struct http_server *server = request->loop->server;
    log_debug("http.request", "method=%s path=%s status=%d ms=%.2f", request->method,
              log_quote(request->path), request->status, http_elapsed_ms(request));
    count_answer(server, request->status);
    buffer_free(&request->answer);
    free(request->path);
    free(request->part);
    free(request);

    pthread_mutex_lock(&server->lock);
    if (--server->active == 0) pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

/* evhttp has written the answer to the socket. */
void http_answer_written(struct evhttp_request *ev, void *arg)
{
    struct http_request *request = arg;
    struct evhttp_connection *connection = evhttp_request_get_connection(ev);
    struct loop *loop = request->loop;
    const bool by_door = request->by_door;
    if (connection != NULL) evhttp_connection_set_closecb(connection, NULL, NULL);
    http_request_done(request);
    if (connection == NULL) return;
    struct bufferevent *buffer = evhttp_connection_get_bufferevent(connection);
    http_line_await(buffer);
    if (by_door) http_head_await(loop, buffer);
}

/* The connection goes down with this request on it. An answer that was being sent is lost; one that
 * is still to come finds the request without a connection. */
static void connection_closed(struct evhttp_connection *connection, void *arg)
{
    struct http_request *request = arg;
    evhttp_connection_set_closecb(connection, NULL, NULL);
    if (request->stream != NULL) http_stream_lost(request->stream);
    if (request->sent) http_request_done(request);
}

static void release_answer(const void *data, size_t length, void *arg)
{
    (void)length;
    (void)arg;
    free((void *)data);
}

/* What a browser is told with a page: nothing is loaded, run, sent or framed but from and to this
 * origin, no text becomes a script, and no other page learns where one was. */
static void add_page_headers(const struct http_page *page, struct evkeyvalq *headers)
{
    static const char *const rows[][2] = {
        {"Cache-Control", "no-cache"},
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
         "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
         "require-trusted-types-for 'script'; trusted-types 'none'"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
        {"X-Content-Type-Options", "nosniff"},
    };
    evhttp_add_header(headers, "ETag", page->etag);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        evhttp_add_header(headers, rows[i][0], rows[i][1]);
}

static void add_headers(const struct http_request *request, size_t length)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request->ev);
    char text[32];
    evhttp_add_header(headers, "Content-Type",
                      request->type != NULL ? request->type : "application/json");
    snprintf(text, sizeof(text), "%zu", length);
    if (request->status != 304) evhttp_add_header(headers, "Content-Length", text);
    if (request->page != NULL) add_page_headers(request->page, headers);
    if (request->next_page[0] != '\0') evhttp_add_header(headers, "Tekup-Next", request->next_page);
    if (request->allow[0] != '\0') evhttp_add_header(headers, "Allow", request->allow);
    if (request->status == 401 && request->by_door)
        evhttp_add_header(headers, "WWW-Authenticate", HTTP_CHALLENGE);
    if (request->status == 503) evhttp_add_header(headers, "Retry-After", "2");
    if (request->closes || atomic_load(&request->loop->server->stopping))
        evhttp_add_header(headers, "Connection", "close");
}

/* Gives the answer to evhttp. On the loop's thread. */
static void send_answer(struct http_request *request)
{
    struct evhttp_request *ev = request->ev;
    struct loop *loop = request->loop;
    if (evhttp_request_get_connection(ev) == NULL) {
        evhttp_send_reply(ev, request->status, NULL, NULL); /* only releases it */
        http_request_done(request);
        return;
    }
    if (request->answer.failed) {
        static const char sorry[] = "{\"error\":{\"code\":\"internal\",\"message\":\"memory ran "
                                    "out\",\"field\":null}}";
        static const char sorry_old[] = "{\"success\":false,\"error\":\"memory ran out\"}";
        buffer_free(&request->answer);
        request->answer = (struct buffer){0};
        request->status = 500;
        request->type = NULL;
        request->next_page[0] = '\0';
        buffer_text(&request->answer, http_path_is_old(request->path) ? sorry_old : sorry);
    }
    const struct http_page *page = request->status == 200 ? request->page : NULL;
    const size_t length = page != NULL ? page->length : request->answer.length;
    struct evbuffer *body = NULL;
    add_headers(request, length);
    if (page != NULL && strcmp(request->method, "HEAD") != 0) {
        body = evbuffer_new();
        if (body != NULL) evbuffer_add_reference(body, page->bytes, length, NULL, NULL);
    } else if (length > 0 && strcmp(request->method, "HEAD") != 0) {
        body = evbuffer_new();
        char *data = buffer_take(&request->answer);
        if (body == NULL || data == NULL ||
            evbuffer_add_reference(body, data, length, release_answer, NULL) != 0)
            free(data);
    }
    request->sent = true;
    loop->answering = true;
    evhttp_request_set_on_complete_cb(ev, http_answer_written, request);
    evhttp_send_reply(ev, request->status, http_reason(request->status), body);
    http_flow_write(evhttp_connection_get_bufferevent(evhttp_request_get_connection(ev)));
    loop->answering = false;
    if (body != NULL) evbuffer_free(body);
}

void http_respond(struct http_request *request, int status, struct buffer *body)
{
    struct loop *loop = request->loop;
    request->status = status;
    request->answer = *body;
    *body = (struct buffer){0};
    if (pthread_equal(pthread_self(), loop->self)) {
        send_answer(request);
        return;
    }
    pthread_mutex_lock(&loop->lock);
    const bool first = loop->finished == NULL;
    request->next = loop->finished;
    loop->finished = request;
    if (first) event_active(loop->wake, EV_READ, 0);
    pthread_mutex_unlock(&loop->lock);
}

void http_respond_octets(struct http_request *request, struct buffer *body, const char *next)
{
    request->type = "application/octet-stream";
    if (next != NULL) snprintf(request->next_page, sizeof(request->next_page), "%s", next);
    http_respond(request, 200, body);
}

void http_respond_metrics(struct http_request *request, struct buffer *body)
{
    request->type = "text/plain; version=0.0.4; charset=utf-8";
    http_respond(request, 200, body);
}

void http_respond_page(struct http_request *request, const struct http_page *page)
{
    struct buffer none = {0};
    const char *known = http_header(request, "If-None-Match");
    /* A list of tags, each perhaps marked as weak: ours is in it or not. */
    const bool unchanged = known != NULL && strstr(known, page->etag) != NULL;
    request->type = page->type;
    request->page = page;
    http_respond(request, unchanged ? 304 : 200, &none);
}

/* ---- Routes ---------------------------------------------------------------------------------- */

/* Whether the path is of this pattern; *part is what "*" stands for, undecoded, and *length how
 * many bytes of it; NULL for a pattern without. */
static bool path_matches(const char *pattern, const char *path, const char **part, size_t *length)
{
    const char *star = strchr(pattern, '*');
    *part = NULL;
    if (star == NULL) return strcmp(pattern, path) == 0;
    const size_t before = (size_t)(star - pattern);
    if (strncmp(pattern, path, before) != 0) return false;
    *part = path + before;
    *length = strcspn(*part, "/");
    return *length > 0 && strcmp(*part + *length, star + 1) == 0;
}

static bool method_matches(const char *method, const char *wanted)
{
    return strcmp(method, wanted) == 0 ||
           (strcmp(method, "GET") == 0 && strcmp(wanted, "HEAD") == 0);
}

/* The route of the request; otherwise the methods that its path has, "" where there is none. */
static const struct http_route *find_route(const struct http_server *server,
                                           struct http_request *request, char *allow, size_t room)
{
    const struct http_options *options = &server->options;
    const char *part;
    size_t used = 0, length = 0;
    bool fixed = false; /* a path that stands in the table is no "*" */
    allow[0] = '\0';
    for (size_t i = 0; i < options->route_count; i++) {
        const struct http_route *route = &options->routes[i];
        if (!path_matches(route->path, request->path, &part, &length) || (fixed && part != NULL))
            continue;
        fixed = fixed || part == NULL;
        if (method_matches(route->method, request->method)) {
            request->part = part != NULL ? strndup(part, length) : NULL;
            return route;
        }
        used += (size_t)snprintf(allow + used, room - used, "%s%s", used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
    return NULL;
}

const struct http_route *http_find_open(const struct http_server *server, const char *method,
                                        const char *path)
{
    const struct http_options *options = &server->options;
    for (size_t i = 0; i < options->route_count; i++) {
        const struct http_route *route = &options->routes[i];
        if ((route->bodies & HTTP_OPEN) != 0 && strcmp(route->path, path) == 0 &&
            (strcmp(method, route->method) == 0 ||
             (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0)))
            return route;
    }
    return NULL;
}

/* The kind of body that the headers name; 0 for one that is not known. */
static int body_kind(struct evhttp_request *ev)
{
    const char *type = evhttp_find_header(evhttp_request_get_input_headers(ev), "Content-Type");
    if (type == NULL) return HTTP_JSON;
    const size_t length = strcspn(type, "; \t");
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {{"application/json", HTTP_JSON},
                 {"application/octet-stream", HTTP_OCTETS},
                 {"application/x-www-form-urlencoded", HTTP_FORM}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strlen(kinds[i].name) == length && strncasecmp(kinds[i].name, type, length) == 0)
            return kinds[i].kind;
    }
    return 0;
}

/* evhttp knows of it before it knows the route. */
long http_read_limit(struct http_server *server)
{
    const struct http_options *options = &server->options;
    const long max_body = atomic_load(&server->max_body);
    bool large = false;
    for (size_t i = 0; i < options->route_count; i++)
        large = large || (options->routes[i].bodies & HTTP_LARGE) != 0;
    return large && max_body < HTTP_LARGE_BODY ? HTTP_LARGE_BODY : max_body;
}

long http_body_limit(struct http_server *server, const struct http_route *route)
{
    return route != NULL && (route->bodies & HTTP_LARGE) != 0 ? HTTP_LARGE_BODY
                                                              : atomic_load(&server->max_body);
}

static const char *refuse_to_admit(const struct http_request *request, int *status)
{
    const struct http_options *options = &request->loop->server->options;
    const struct http_caller caller = {.host = http_header(request, "Host"),
                                       .origin = http_header(request, "Origin"),
                                       .api_key = http_header(request, "X-API-Key"),
                                       .authorization = http_header(request, "Authorization")};
    return options->admit(options->context, &caller, status);
}

static void dispatch(struct http_request *request)
{
    struct http_server *server = request->loop->server;
    char allow[sizeof(request->allow)];
    const struct http_route *route = find_route(server, request, allow, sizeof(allow));
    const long max_body = http_body_limit(server, route);
    char message[256];
    int status = 0;
    const bool asks = request->by_door && (route == NULL || (route->bodies & HTTP_OPEN) == 0);
    const char *refusal = asks ? refuse_to_admit(request, &status) : NULL;
    if (refusal != NULL) {
        http_respond_refusal(request, status, NULL, refusal);
    } else if (route == NULL && allow[0] == '\0') {
        http_respond_refusal(request, 404, NULL, "there is no such call");
    } else if (route == NULL) {
        memcpy(request->allow, allow, sizeof(allow));
        snprintf(message, sizeof(message), "this call takes %s", allow);
        http_respond_refusal(request, 405, NULL, message);
    } else if (request->body_length > (size_t)max_body) {
        snprintf(message, sizeof(message), "the body is larger than %ld bytes", max_body);
        http_respond_refusal(request, 413, NULL, message);
    } else if ((route->bodies & HTTP_KINDS) != 0 && (request->body_kind & route->bodies) == 0) {
        snprintf(message, sizeof(message), "send Content-Type: application/json%s%s",
                 (route->bodies & HTTP_OCTETS) != 0 ? " or application/octet-stream" : "",
                 (route->bodies & HTTP_FORM) != 0 ? " or application/x-www-form-urlencoded" : "");
        http_respond_refusal(request, 415, NULL, message);
    } else if (request->part != NULL && query_decode(request->part) != 0) {
        http_respond_refusal(request, 400, NULL, "the path is not valid UTF-8 in percent-encoding");
    } else {
        request->route = route;
        route->handler(request);
    }
}

/* Whether another server may see the body's end elsewhere, and take what follows for a request
 * (RFC 9112, 6.3). A length beside chunks evhttp refuses itself. */
static bool has_two_lengths(struct evhttp_request *ev)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(ev);
    const struct evkeyval *header;
    const char *length = NULL;
    TAILQ_FOREACH(header, headers, next)
    {
        if (strcasecmp(header->key, "Content-Length") != 0) continue;
        if (length != NULL && strcmp(length, header->value) != 0) return true;
        length = header->value;
    }
    return false;
}

static void take_request(struct loop *loop, struct evhttp_request *ev, bool by_door)
{
    struct http_server *server = loop->server;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(ev);
    struct evbuffer *input = evhttp_request_get_input_buffer(ev);
    struct evhttp_connection *connection = evhttp_request_get_connection(ev);
    struct http_request *request = calloc(1, sizeof(*request));
    const char *path = evhttp_uri_get_path(uri);
    if (by_door) http_head_taken(loop, evhttp_connection_get_bufferevent(connection));
    if (request != NULL) request->path = strdup(path != NULL ? path : "");
    if (request == NULL || request->path == NULL) {
        free(request);
        evhttp_send_error(ev, 500, NULL);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &request->began);
    wake_latency_hold(server->wake);
    request->loop = loop;
    request->ev = ev;
    request->by_door = by_door;
    request->method = "?";
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        if (methods[i].type == evhttp_request_get_command(ev)) request->method = methods[i].name;
    }
    request->query = evhttp_uri_get_query(uri);
    request->body_kind = body_kind(ev);
    request->body_length = evbuffer_get_length(input);
    request->body = request->body_length > 0 ? (char *)evbuffer_pullup(input, -1) : "";

    pthread_mutex_lock(&server->lock);
    const bool drained = server->drained;
    server->active++;
    pthread_mutex_unlock(&server->lock);
    evhttp_connection_set_closecb(connection, connection_closed, request);
    request->closes = has_two_lengths(ev);
    if (drained)
        http_respond_refusal(request, 503, NULL, "tekupd is stopping");
    else if (request->closes)
        http_respond_refusal(request, 400, NULL, "the head has two different Content-Length");
    else if (request->body == NULL)
        http_respond_refusal(request, 500, NULL, "memory ran out");
    else
        dispatch(request);
}

static void on_request(struct evhttp_request *ev, void *loop)
{
    take_request(loop, ev, false);
}

static void on_request_by_door(struct evhttp_request *ev, void *loop)
{
    take_request(loop, ev, true);
}

static _Thread_local struct loop *this_loop; /* where this thread is one's */

struct loop *http_this_loop(void)
{
    return this_loop;
}

/* What evhttp writes by itself goes past here. */
static void look_at_output(struct evbuffer *output, const struct evbuffer_cb_info *info,
                           struct bufferevent *connection, bool by_door)
{
    struct loop *loop = this_loop;
    if (info->n_added == 0 || loop == NULL || loop->answering) return;
    loop->answering = true; /* what replaces it comes past here too */
    struct http_too_large too_large = {.max_body = atomic_load(&loop->server->max_body)};
    if (by_door) too_large.message = http_line_refusal(connection, &too_large.status);
    count_answer(loop->server, http_replace_page(output, http_line_is_old(connection), &too_large));
    loop->answering = false;
}

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
    look_at_output(output, info, arg, false);
}

static void on_output_by_door(struct evbuffer *output, const struct evbuffer_cb_info *info,
                              void *arg)
{
    look_at_output(output, info, arg, true);
}

static struct bufferevent *make_connection(struct event_base *base, void *loop)
{
    struct bufferevent *connection = bufferevent_socket_new(base, -1, 0);
    http_turn_pass(loop);
    if (connection == NULL) return NULL;
    evbuffer_add_cb(bufferevent_get_output(connection), on_output, connection);
    http_flow_read_on(connection);
    http_line_await(connection);
    return connection;
}

static struct bufferevent *make_connection_by_door(struct event_base *base, void *loop)
{
    struct bufferevent *connection = bufferevent_socket_new(base, -1, 0);
    if (connection == NULL) return NULL;
    evbuffer_add_cb(bufferevent_get_output(connection), on_output_by_door, connection);
    http_line_await(connection);
    http_head_await(loop, connection);
    return connection;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

static void accept_again(evutil_socket_t fd, short what, void *listener)
{
    (void)fd;
    (void)what;
    evconnlistener_enable(listener);
}

/* Trying again at once would only burn the processor. */
void http_accept_failed(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    (void)arg; /* evhttp's own */
    log_error("http.accept", "error=%s", log_quote(strerror(errno)));
    evconnlistener_disable(listener);
    event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, accept_again, listener,
                    &pause);
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    atomic_store(&loop->awake, true);
    pthread_mutex_lock(&loop->lock);
    struct http_request *finished = loop->finished;
    loop->finished = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (finished != NULL) {
        struct http_request *request = finished;
        finished = request->next;
        send_answer(request);
    }
    http_streams_work(loop);
    evhttp_set_max_body_size(loop->http, http_read_limit(loop->server));
    http_doors_work(loop);
    http_turn_look(loop);
    if (atomic_load(&loop->server->stopping)) {
        evconnlistener_disable(loop->listener);
        http_doors_pause(loop);
    }
    if (atomic_load(&loop->server->ended)) event_base_loopbreak(loop->base);
}

static void *run_loop(void *arg)
{
    struct loop *loop = arg;
    loop->self = pthread_self();
    this_loop = loop;
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    http_line_forget();
    return NULL;
}

static struct evhttp *make_http(struct loop *loop,
                                struct bufferevent *(*make)(struct event_base *, void *),
                                void (*callback)(struct evhttp_request *, void *))
{
    const struct timeval idle = {.tv_sec = loop->server->options.idle_timeout};
    struct evhttp *http = evhttp_new(loop->base);
    if (http == NULL) return NULL;
    evhttp_set_bevcb(http, make, loop);
    evhttp_set_gencb(http, callback, loop);
    evhttp_set_allowed_methods(http, 0xffff);
    evhttp_set_max_headers_size(http, HTTP_MAX_HEAD);
    evhttp_set_max_body_size(http, http_read_limit(loop->server));
    evhttp_set_timeout_tv(http, &idle);
    /* A body that is too large is read to its end, and dropped, before the answer: most clients
     * look for an answer only after they have sent everything. */
    evhttp_set_flags(http, EVHTTP_SERVER_LINGERING_CLOSE);
    return http;
}

static int loop_open(struct loop *loop, struct http_server *server)
{
    loop->server = server;
    pthread_mutex_init(&loop->lock, NULL);
    /* Without EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST: it takes a descriptor from epoll after it was
     * closed, when another thread may have one of that number, and doors are duplicates, which it
     * does not bear. */
    loop->base = event_base_new();
    if (loop->base == NULL) return -1;
    loop->http = make_http(loop, make_connection, on_request);
    loop->guarded = make_http(loop, make_connection_by_door, on_request_by_door);
    loop->wake = event_new(loop->base, -1, EV_PERSIST, woken, loop);
    loop->turn = http_turn_create(loop);
    if (loop->http == NULL || loop->guarded == NULL || loop->wake == NULL || loop->turn == NULL)
        return -1;
    struct evconnlistener *listener =
        evconnlistener_new(loop->base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, server->options.fd);
    if (listener == NULL) return -1;
    if (evhttp_bind_listener(loop->http, listener) == NULL) {
        evconnlistener_free(listener);
        return -1;
    }
    evconnlistener_set_error_cb(listener, http_accept_failed);
    loop->listener = listener;
    return 0;
}

static void loop_close(struct loop *loop)
{
    if (loop->server == NULL) return;
    if (loop->http != NULL) evhttp_free(loop->http); /* with the listener */
    if (loop->guarded != NULL) evhttp_free(loop->guarded);
    http_doors_free(loop);
    if (loop->wake != NULL) event_free(loop->wake);
    if (loop->turn != NULL) event_free(loop->turn);
    if (loop->base != NULL) event_base_free(loop->base);
    pthread_mutex_destroy(&loop->lock);
}

void http_wake_all(struct http_server *server)
{
    for (int i = 0; i < server->loop_count; i++)
        if (server->loops[i].running) event_active(server->loops[i].wake, EV_READ, 0);
}

/* ---- The server ------------------------------------------------------------------------------ */

static void libevent_said(int severity, const char *message)
{
    log_event(severity >= EVENT_LOG_ERR    ? LOG_ERROR
              : severity >= EVENT_LOG_WARN ? LOG_WARN
                                           : LOG_DEBUG,
              "http.libevent", "message=%s", log_quote(message));
}

struct http_server *http_server_create(const struct http_options *options, struct error *err)
{
    event_set_log_callback(libevent_said);
    if (evthread_use_pthreads() != 0) {
        error_set(err, ERR_INTERNAL, NULL, "libevent has no threads");
        return NULL;
    }
    struct http_server *server =
        calloc(1, sizeof(*server) + (size_t)options->threads * sizeof(struct loop));
    if (server == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    server->options = *options;
    atomic_init(&server->max_body, options->max_body);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    for (int i = 0; i < options->threads; i++) {
        server->loop_count = i + 1;
        if (loop_open(&server->loops[i], server) != 0) goto fail;
    }
    if (options->wake_latency != NULL)
        server->wake = wake_latency_create(server->loops[0].base, *options->wake_latency);
    for (int i = 0; i < options->threads; i++) {
        struct loop *loop = &server->loops[i];
        if (pthread_create(&loop->thread, NULL, run_loop, loop) != 0) goto fail;
        loop->running = true;
        atomic_store(&loop->awake, true);
        pthread_setname_np(loop->thread, "tekupd-http");
    }
    return server;
fail:
    error_set(err, ERR_INTERNAL, NULL, "cannot start %d event loops: %s", options->threads,
              strerror(errno));
    http_server_free(server);
    return NULL;
}

void http_server_set_max_body(struct http_server *server, long max_body)
{
    atomic_store(&server->max_body, max_body);
    http_wake_all(server);
}

bool http_server_is_alive(struct http_server *server)
{
    bool alive = true;
    for (int i = 0; i < server->loop_count; i++)
        if (!atomic_exchange(&server->loops[i].awake, false)) alive = false;
    http_wake_all(server);
    return alive;
}

int http_server_drain(struct http_server *server, int timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    atomic_store(&server->stopping, true);
    http_wake_all(server);
    pthread_mutex_lock(&server->lock);
    while (server->active > 0 && pthread_cond_timedwait(&server->idle, &server->lock, &end) == 0) {
    }
    const int left = server->active;
    server->drained = true;
    pthread_mutex_unlock(&server->lock);
    return left;
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) return;
    atomic_store(&server->stopping, true);
    atomic_store(&server->ended, true);
    http_wake_all(server);
    for (int i = 0; i < server->loop_count; i++)
        if (server->loops[i].running) pthread_join(server->loops[i].thread, NULL);
    wake_latency_free(server->wake);
    for (int i = 0; i < server->loop_count; i++) loop_close(&server->loops[i]);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
