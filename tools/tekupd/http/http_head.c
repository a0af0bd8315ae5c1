/*
 * http_head.c: what may be read of a request's body, by its head.
 *
 * evhttp 2.1 shows a program nothing of a request before its body is there, so that a stranger
 * could have the daemon hold large ones. At the doors the head is therefore looked at while it lies
 * in the connection's input: until it is complete, the low watermark keeps evhttp from taking it.
 * Then the connection's limit is set for this one request. What goes beyond it evhttp reads and
 * drops, or refuses at once, and http_line.h has why. Whether the request may come in is decided
 * again when it is there, by what evhttp has made of its head.
 *
 * Where a request is sent behind another one, before that is answered, evhttp does not wait. If
 * only a part of its head is there by then, it is a stranger's here, with a small body at most.
 */
#include "storage/base/buffer.h"
#include "tools/tekupd/http/http_internal.h"
#include "tools/tekupd/http/http_line.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What strangers may send, and how many of them may send more to a call that is open, in one loop
 * at a time. */
enum { STRANGER_BODY = 64 << 10, STRANGERS = 4 };

struct head {
    const char *method, *path;
    const char *length; /* of the body, as it is said; NULL: it is not */
    struct http_caller caller;
};

/* ---- Reading it ------------------------------------------------------------------------------ */

/* Where the line that begins here goes on; ends it. */
static char *end_line(char *line)
{
    char *end = strchr(line, '\n');
    if (end == NULL) return line + strlen(line);
    *end = '\0';
    if (end > line && end[-1] == '\r') end[-1] = '\0';
    return end + 1;
}

static void read_first_line(char *line, struct head *head)
{
    head->method = line;
    char *path = strchr(line, ' ');
    if (path == NULL) return;
    *path++ = '\0';
    path[strcspn(path, " ?#")] = '\0';
    head->path = path;
}

/* As evhttp finds it: the first of a name counts. */
static void read_header(char *line, struct head *head)
{
    const struct {
        const char *name, **value;
    } known[] = {{"Host", &head->caller.host},
                 {"Origin", &head->caller.origin},
                 {"X-API-Key", &head->caller.api_key},
                 {"Authorization", &head->caller.authorization},
                 {"Content-Length", &head->length}};
    char *value = strchr(line, ':');
    if (value == NULL) return;
    *value++ = '\0';
    value += strspn(value, " \t");
    size_t length = strlen(value);
    while (length > 0 && strchr(" \t\r", value[length - 1]) != NULL) value[--length] = '\0';
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (*known[i].value == NULL && strcasecmp(line, known[i].name) == 0)
            *known[i].value = value;
}

static void read_head(char *text, struct head *head)
{
    *head = (struct head){.method = "", .path = ""};
    char *line = text;
    text = end_line(line);
    read_first_line(line, head);
    while (*text != '\0') {
        line = text;
        text = end_line(line);
        read_header(line, head);
    }
}

/* ---- Deciding -------------------------------------------------------------------------------- */

static void stranger_gone(struct evhttp_connection *connection, void *loop)
{
    http_head_taken(loop, evhttp_connection_get_bufferevent(connection));
}

/* How much an open call may be sent. */
static long open_limit(struct loop *loop, struct evhttp_connection *connection,
                       const struct http_route *route, const struct head *head)
{
    const long most = http_body_limit(loop->server, route);
    if (most <= STRANGER_BODY) return most;
    if ((route->bodies & HTTP_KINDS) == 0) return STRANGER_BODY;
    if (head->length != NULL && strtoll(head->length, NULL, 10) <= STRANGER_BODY)
        return STRANGER_BODY;
    struct bufferevent *buffer = evhttp_connection_get_bufferevent(connection);
    if (loop->strangers >= STRANGERS || !http_line_count(buffer, true)) {
        http_line_refuse(buffer, 503, "too many large requests of strangers are under way");
        return STRANGER_BODY;
    }
    loop->strangers++;
    evhttp_connection_set_closecb(connection, stranger_gone, loop);
    return most;
}

static void decide(struct loop *loop, struct bufferevent *buffer, char *text)
{
    struct http_server *server = loop->server;
    struct head head;
    void *arg;
    /* A server's connection is the argument of its bufferevent's callbacks; evhttp tells a program
     * of it with the request, which would be too late. */
    bufferevent_getcb(buffer, NULL, NULL, NULL, &arg);
    struct evhttp_connection *connection = arg;
    if (connection == NULL) return;
    read_head(text, &head);
    http_line_refuse(buffer, 0, NULL);
    const struct http_route *route = http_find_open(server, head.method, head.path);
    long limit = http_read_limit(server);
    if (route != NULL) {
        limit = open_limit(loop, connection, route, &head);
    } else {
        int status = 0;
        const char *why = server->options.admit(server->options.context, &head.caller, &status);
        if (why != NULL) {
            http_line_refuse(buffer, status, why);
            if (limit > STRANGER_BODY) limit = STRANGER_BODY;
        }
    }
    evhttp_connection_set_max_body_size(connection, limit);
}

void http_head_taken(struct loop *loop, struct bufferevent *buffer)
{
    if (http_line_count(buffer, false)) loop->strangers--;
}

/* ---- Waiting for it -------------------------------------------------------------------------- */

/* How many bytes the head has, looked for from there on; 0: it is not complete. */
static size_t find_end(struct evbuffer *input, size_t from)
{
    struct evbuffer_ptr at;
    if (evbuffer_ptr_set(input, &at, from, EVBUFFER_PTR_SET) != 0) return 0;
    for (;;) {
        char behind[3] = "";
        at = evbuffer_search(input, "\n", 1, &at);
        if (at.pos < 0) return 0;
        const ev_ssize_t got = evbuffer_copyout_from(input, &at, behind, sizeof(behind));
        if (got >= 2 && behind[1] == '\n') return (size_t)at.pos + 2;
        if (got >= 3 && behind[1] == '\r' && behind[2] == '\n') return (size_t)at.pos + 3;
        if (evbuffer_ptr_set(input, &at, 1, EVBUFFER_PTR_ADD) != 0) return 0;
    }
}

/* Returns whether the head has been dealt with, as one that is too large is by evhttp. */
static bool look(struct loop *loop, struct bufferevent *buffer, size_t from)
{
    struct evbuffer *input = bufferevent_get_input(buffer);
    const size_t there = evbuffer_get_length(input);
    size_t length = find_end(input, from);
    if (length == 0 && there <= HTTP_MAX_HEAD) {
        bufferevent_setwatermark(buffer, EV_READ, HTTP_MAX_HEAD + 1, 0);
        return false;
    }
    if (length == 0) length = HTTP_MAX_HEAD;
    char *text = malloc(length + 1);
    if (text != NULL) {
        const ev_ssize_t got = evbuffer_copyout(input, text, length);
        text[got > 0 ? got : 0] = '\0';
    }
    char none[1] = "";
    decide(loop, buffer, text != NULL ? text : none);
    free(text);
    bufferevent_setwatermark(buffer, EV_READ, 0, 0);
    return true;
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *buffer)
{
    const size_t before = info->orig_size > 3 ? info->orig_size - 3 : 0;
    if (info->n_added > 0 && look(http_this_loop(), buffer, before))
        evbuffer_remove_cb(input, on_input, buffer);
}

void http_head_await(struct loop *loop, struct bufferevent *buffer)
{
    struct evbuffer *input = bufferevent_get_input(buffer);
    const size_t there = evbuffer_get_length(input);
    char none[1] = "";
    if (there == 0)
        evbuffer_add_cb(input, on_input, buffer);
    else if (find_end(input, 0) > 0)
        look(loop, buffer, 0);
    else
        decide(loop, buffer, none);
}
