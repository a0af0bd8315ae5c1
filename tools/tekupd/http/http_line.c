#include "tools/tekupd/http/http_line.h"

#include "tools/tekupd/http/http_error.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

enum { ENOUGH = 24, ROOM_LEAST = 64 }; /* the longest method, and the beginning of a path */

struct line {
    bool old, counts;
    int status;
    const char *message;
};

static _Thread_local struct line *lines; /* by descriptor */
static _Thread_local size_t room;

static bool make_room(size_t wanted)
{
    size_t more = room > 0 ? room : ROOM_LEAST;
    while (more <= wanted) more *= 2;
    if (more == room) return true;
    struct line *grown = realloc(lines, more * sizeof(*grown));
    if (grown == NULL) return false;
    memset(grown + room, 0, (more - room) * sizeof(*grown));
    lines = grown;
    room = more;
    return true;
}

/* NULL where nothing is known of it. */
static struct line *find(struct bufferevent *connection)
{
    const evutil_socket_t fd = bufferevent_getfd(connection);
    return fd >= 0 && (size_t)fd < room ? &lines[fd] : NULL;
}

/* Returns whether there was enough to look at. */
static bool look(struct bufferevent *connection)
{
    char line[ENOUGH + 1];
    const evutil_socket_t fd = bufferevent_getfd(connection);
    const ev_ssize_t length = evbuffer_copyout(bufferevent_get_input(connection), line, ENOUGH);
    line[length > 0 ? length : 0] = '\0';
    if (fd < 0 || (length < ENOUGH && strchr(line, '\n') == NULL)) return false;
    const char *path = strchr(line, ' ');
    /* Where memory ran out an error has the other form, which is better than none. */
    if (make_room((size_t)fd)) lines[fd].old = path != NULL && http_path_is_old(path + 1);
    return true;
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *connection)
{
    if (info->n_added > 0 && look(connection)) evbuffer_remove_cb(input, on_input, connection);
}

void http_line_await(struct bufferevent *connection)
{
    if (!look(connection)) evbuffer_add_cb(bufferevent_get_input(connection), on_input, connection);
}

bool http_line_is_old(struct bufferevent *connection)
{
    const struct line *line = find(connection);
    return line != NULL && line->old;
}

void http_line_refuse(struct bufferevent *connection, int status, const char *message)
{
    const evutil_socket_t fd = bufferevent_getfd(connection);
    if (fd < 0 || !make_room((size_t)fd)) return;
    lines[fd].status = status;
    lines[fd].message = message;
}

const char *http_line_refusal(struct bufferevent *connection, int *status)
{
    const struct line *line = find(connection);
    *status = line != NULL ? line->status : 0;
    return line != NULL ? line->message : NULL;
}

bool http_line_count(struct bufferevent *connection, bool counts)
{
    const evutil_socket_t fd = bufferevent_getfd(connection);
    if (fd < 0 || !make_room((size_t)fd) || lines[fd].counts == counts) return false;
    lines[fd].counts = counts;
    return true;
}

void http_line_forget(void)
{
    free(lines);
    lines = NULL;
    room = 0;
}
