/*
 * http_route.c: what is to become of a request, by its head.
 *
 * A stranger, who comes in by a door, is asked who they are before the body is read, so that nobody
 * has the daemon hold what it will not look at. Where a request is refused by its head a small body
 * is still read, and the connection kept; a larger one costs the connection.
 */
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/http_internal.h"
#include "tools/tekupd/http/query.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    HTTP_KINDS = HTTP_JSON | HTTP_OCTETS | HTTP_FORM,
    SMALL_BODY = 64 << 10, /* what is read of a request that is refused, or a stranger's */
    STRANGERS = 4          /* that may send more to a call that is open, in one loop at a time */
};

/* ---- What a handler may ask ------------------------------------------------------------------ */

void *http_context(const struct http_request *request)
{
    return request->connection->loop->server->options.context;
}

const struct http_route *http_route(const struct http_request *request)
{
    return request->route;
}

const char *http_query(const struct http_request *request)
{
    return request->connection->head.query;
}

const char *http_part(const struct http_request *request)
{
    return request->part;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return http_head_field(&request->connection->head, name);
}

bool http_came_by_door(const struct http_request *request)
{
    return request->connection->by_door;
}

bool http_is_head(const struct http_request *request)
{
    return strcmp(request->connection->head.method, "HEAD") == 0;
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

static bool refuse(struct http_request *request, int status, const char *why)
{
    request->refused = status;
    request->why = why;
    return false;
}

/* Finds the route of the request, and where there is none the methods that its path has. */
static void find_route(struct http_request *request)
{
    const struct http_options *options = &request->connection->loop->server->options;
    const struct http_head *head = &request->connection->head;
    const char *part;
    size_t used = 0, length = 0;
    bool fixed = false; /* a path that stands in the table is no "*" */
    for (size_t i = 0; i < options->route_count; i++) {
        const struct http_route *route = &options->routes[i];
        if (!path_matches(route->path, head->path, &part, &length) || (fixed && part != NULL))
            continue;
        fixed = fixed || part == NULL;
        if (method_matches(route->method, head->method)) {
            request->allow[0] = '\0';
            request->route = route;
            if (part == NULL) return;
            request->part = strndup(part, length);
            if (request->part == NULL) refuse(request, 500, "memory ran out");
            return;
        }
        used += (size_t)snprintf(request->allow + used, sizeof(request->allow) - used, "%s%s",
                                 used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
}

/* The kind of body that the head names; 0 for one that is not known. */
static int body_kind(const char *type)
{
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {{"application/json", HTTP_JSON},
                 {"application/octet-stream", HTTP_OCTETS},
                 {"application/x-www-form-urlencoded", HTTP_FORM}};
    if (type == NULL) return HTTP_JSON;
    const size_t length = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strlen(kinds[i].name) == length && strncasecmp(kinds[i].name, type, length) == 0)
            return kinds[i].kind;
    }
    return 0;
}

/* ---- Judging --------------------------------------------------------------------------------- */

static bool is_admitted(struct http_request *request)
{
    const struct http_options *options = &request->connection->loop->server->options;
    const bool open = request->route != NULL && (request->route->bodies & HTTP_OPEN) != 0;
    if (!request->connection->by_door || open) return true;
    const struct http_caller caller = {.host = http_header(request, "Host"),
                                       .origin = http_header(request, "Origin"),
                                       .api_key = http_header(request, "X-API-Key"),
                                       .authorization = http_header(request, "Authorization")};
    int status = 0;
    const char *why = options->admit(options->context, &caller, &status);
    if (why == NULL) return true;
    request->allow[0] = '\0';
    return refuse(request, status, why);
}

static bool has_a_place(struct http_request *request)
{
    const struct http_route *route = request->route;
    if (route == NULL && request->allow[0] == '\0')
        return refuse(request, 404, "there is no such call");
    if (route == NULL) return refuse(request, 405, NULL);
    if ((route->bodies & HTTP_KINDS) != 0 && (request->body_kind & route->bodies) == 0)
        return refuse(request, 415, NULL);
    if (request->part != NULL && query_decode(request->part) != 0)
        return refuse(request, 400, "the path is not valid UTF-8 in percent-encoding");
    return true;
}

static long body_limit(const struct http_request *request)
{
    return (request->route->bodies & HTTP_LARGE) != 0
               ? HTTP_LARGE_BODY
               : atomic_load(&request->connection->loop->server->max_body);
}

/* How much a stranger may send to a call that is open. */
static long open_limit(struct http_request *request)
{
    struct connection *connection = request->connection;
    const struct http_head *head = &connection->head;
    const long most = body_limit(request);
    if (most <= SMALL_BODY) return most;
    if ((request->route->bodies & HTTP_KINDS) == 0) return SMALL_BODY;
    if (!head->chunked && head->length <= SMALL_BODY) return SMALL_BODY;
    if (connection->loop->strangers >= STRANGERS) {
        request->too_large = 503;
        return SMALL_BODY;
    }
    connection->loop->strangers++;
    connection->counts = true;
    return most;
}

long http_request_judge(struct http_request *request)
{
    struct connection *connection = request->connection;
    request->body_kind = body_kind(connection->head.type);
    find_route(request);
    if (!is_admitted(request) || request->refused != 0 || !has_a_place(request)) return SMALL_BODY;
    return connection->by_door && (request->route->bodies & HTTP_OPEN) != 0 ? open_limit(request)
                                                                            : body_limit(request);
}

/* ---- What becomes of it ---------------------------------------------------------------------- */

static void answer_refusal(struct http_request *request)
{
    char message[256];
    const int bodies = request->route != NULL ? request->route->bodies : 0;
    if (request->refused == 405) {
        snprintf(message, sizeof(message), "this call takes %s", request->allow);
    } else if (request->refused == 415) {
        snprintf(message, sizeof(message), "send Content-Type: application/json%s%s",
                 (bodies & HTTP_OCTETS) != 0 ? " or application/octet-stream" : "",
                 (bodies & HTTP_FORM) != 0 ? " or application/x-www-form-urlencoded" : "");
    } else {
        snprintf(message, sizeof(message), "%s", request->why);
    }
    http_respond_refusal(request, request->refused, NULL, message);
}

void http_request_too_large(struct http_request *request)
{
    char message[64];
    if (request->refused != 0) {
        answer_refusal(request);
    } else if (request->too_large != 0) {
        http_respond_refusal(request, request->too_large, NULL,
                             "too many large requests of strangers are under way");
    } else {
        snprintf(message, sizeof(message), "the body is larger than %ld bytes",
                 request->connection->limit);
        http_respond_refusal(request, 413, NULL, message);
    }
}

void http_request_dispatch(struct http_request *request)
{
    if (!http_request_begin(request))
        http_respond_refusal(request, 503, NULL, "tekupd is stopping");
    else if (request->refused != 0)
        answer_refusal(request);
    else
        request->route->handler(request);
}
