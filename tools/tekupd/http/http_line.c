#include "tools/tekupd/http/http_line.h"

#include "tools/tekupd/http/http_error.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

enum { ENOUGH = 24, ROOM_LEAST = 64 }; /* the longest method, and the beginning of a path */

static _Thread_local bool *is_old; /* by descriptor */
static _Thread_local size_t room;

static bool make_room(size_t wanted)
{
    size_t more = room > 0 ? room : ROOM_LEAST;
    while (more <= wanted) more *= 2;
    if (more == room) return true;
    bool *grown = realloc(is_old, more * sizeof(*grown));
    if (grown == NULL) return false;
    memset(grown + room, 0, (more - room) * sizeof(*grown));
    is_old = grown;
    room = more;
    return true;
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
    if (make_room((size_t)fd)) is_old[fd] = path != NULL && http_path_is_old(path + 1);
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
    const evutil_socket_t fd = bufferevent_getfd(connection);
    return fd >= 0 && (size_t)fd < room && is_old[fd];
}

void http_line_forget(void)
{
    free(is_old);
    is_old = NULL;
    room = 0;
}
