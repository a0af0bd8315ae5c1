/* client.c: the clients' side: accepting them, taking in what they send, holding what cannot go on
 * yet, and ending them. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Beyond the limit so many more are listened to for as long as it takes to tell them. */
enum { TURNED_AWAY = 64 };

void client_send(struct client *client, const struct buffer *out)
{
    if (client->closed || out->length == 0) return;
    if (out->failed) {
        client_close(client);
        return;
    }
    if (channel_backlog(&client->channel) == 0) client->since = hub_now();
    channel_write(&client->channel, out->data, out->length);
    if (client->role != NULL) COUNT(client->role, sent, out->length);
}

/* ---- What it sends ---- */

void client_update_reading(struct client *client)
{
    if (client->closed) return;
    bool wanted = client->held_length < READ_ROOM ||
                  (client->gathering && client->held_length < GATHER_MOST + READ_ROOM);
    const struct backend *backend = client->backend;
    if (backend != NULL &&
        (channel_backlog(&backend->channel) > 0 || backend->expected_count >= EXPECT_MOST))
        wanted = false;
    if (client->answer != NULL && client->held_length > 0) wanted = false;
    channel_read_events(&client->channel, wanted);
}

/* Gives the bytes to whoever the client's state says; returns how many were used. */
static size_t consume(struct client *client, const char *data, size_t length)
{
    size_t used = 0;
    client->gathering = false;
    client->busy = true;
    while (used < length && !client->closed) {
        size_t more = 0;
        const enum client_state state = client->state;
        switch (state) {
        case CLIENT_STARTING:
            more = startup_read(client, data + used, length - used);
            client->gathering = true;
            break;
        case CLIENT_LOGIN:
            break;
        case CLIENT_READY:
            more = relay_up(client, data + used, length - used);
            break;
        case CLIENT_INDEX:
            more = answer_read(client, data + used, length - used);
            break;
        }
        used += more;
        if (more == 0 && client->state == state) break;
    }
    client->busy = false;
    return used;
}

static bool hold(struct client *client, const char *data, size_t length)
{
    if (client->held_length + length > client->held_room) {
        const size_t room = client->held_length + length;
        char *grown = realloc(client->held, room);
        if (grown == NULL) return false;
        client->held = grown;
        client->held_room = room;
    }
    memcpy(client->held + client->held_length, data, length);
    client->held_length += length;
    return true;
}

static void let_go(struct client *client, size_t used)
{
    if (client->closed) return;
    client->held_length -= used;
    if (client->held_length > 0) {
        if (used > 0) memmove(client->held, client->held + used, client->held_length);
        return;
    }
    free(client->held);
    client->held = NULL;
    client->held_room = 0;
}

void client_go_on(struct client *client)
{
    if (client->closed || client->busy) return;
    if (client->held_length > 0) let_go(client, consume(client, client->held, client->held_length));
    client_update_reading(client);
}

static void take_in(struct client *client, const char *data, size_t length)
{
    if (client->role != NULL) COUNT(client->role, received, length);
    if (client->held_length == 0) {
        const size_t used = consume(client, data, length);
        if (client->closed) return;
        if (used < length && !hold(client, data + used, length - used)) {
            client_fail(client, "53200", "out of memory");
            return;
        }
        client_update_reading(client);
        return;
    }
    if (!hold(client, data, length)) {
        client_fail(client, "53200", "out of memory");
        return;
    }
    client_go_on(client);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    struct passthrough *hub = client->hub;
    (void)fd;
    (void)what;
    hub_bury(hub);
    if (client->channel.broken) {
        client_close(client);
        return;
    }
    const long got = channel_read(&client->channel, hub->room, READ_ROOM);
    if (got == CHANNEL_LATER) return;
    if (got <= 0)
        client_close(client);
    else
        take_in(client, hub->room, (size_t)got);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    (void)fd;
    (void)what;
    hub_bury(client->hub);
    if (channel_flush(&client->channel)) client->since = hub_now();
    if (client->backend != NULL && channel_backlog(&client->channel) == 0)
        backend_update_reading(client->backend);
}

/* ---- Its beginning and its end ---- */

void client_forget_unnamed(struct client *client)
{
    free(client->unnamed);
    client->unnamed = NULL;
    client->unnamed_length = client->unnamed_room = 0;
    client->unnamed_long = false;
}

/* Without a StartupMessage there is nobody to log in; the error is told all the same. */
static void turn_away(struct passthrough *hub, int fd)
{
    struct buffer out = {0};
    COUNT_REFUSED(hub);
    wire_put_error(&out, "FATAL", "53300", "sorry, too many clients already");
    if (!out.failed) (void)!send(fd, out.data, out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    buffer_free(&out);
    close(fd);
}

void client_accept(struct passthrough *hub, int fd)
{
    struct client *client = NULL;
    if (hub->client_count < hub->options.clients + TURNED_AWAY) client = calloc(1, sizeof(*client));
    if (client == NULL) {
        turn_away(hub, fd);
        return;
    }
    client->hub = hub;
    client->since = hub_now();
    client->state = CLIENT_STARTING;
    channel_open(&client->channel, hub->base, fd, NULL, true, on_readable, on_writable, client);
    TAILQ_INSERT_TAIL(&hub->clients, client, link);
    TAILQ_INSERT_TAIL(&hub->starting, client, starts);
    hub->client_count++;
    atomic_store(&hub->figure_clients, hub->client_count);
    if (identity_peer(fd, &client->peer) != 0) {
        client_close(client);
        return;
    }
    channel_read_events(&client->channel, true);
}

void client_fail(struct client *client, const char *sqlstate, const char *format, ...)
{
    char message[512];
    va_list args;
    if (client->closed) return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct buffer out = {0};
    wire_put_error(&out, "FATAL", sqlstate, message);
    client_send(client, &out);
    buffer_free(&out);
    client_close(client);
}

void client_fail_with(struct client *client, const struct buffer *error)
{
    const char *body = error->data + WIRE_HEADER;
    const size_t length = error->length - WIRE_HEADER;
    const char *state = wire_error_field(body, length, 'C');
    const char *message = wire_error_field(body, length, 'M');
    client_fail(client, state != NULL ? state : "XX000", "%s", message != NULL ? message : "error");
}

void client_close(struct client *client)
{
    struct passthrough *hub = client->hub;
    if (client->closed) return;
    client->closed = true;
    if (client->waiting) lease_forget(client);
    if (client->answer != NULL) answer_detach(client);
    if (client->state == CLIENT_STARTING || client->state == CLIENT_LOGIN)
        TAILQ_REMOVE(&hub->starting, client, starts);
    if (client->state == CLIENT_READY) COUNT(client->role, clients, -1);
    if (client->role != NULL && client->id != 0)
        TAILQ_REMOVE(&hub->by_id[client->id % 1024], client, same);
    const bool pinned = client->pins != 0;
    session_set_pins(client, 0);
    channel_close(&client->channel);
    TAILQ_REMOVE(&hub->clients, client, link);
    TAILQ_INSERT_TAIL(&hub->buried, client, link);
    hub->client_count--;
    atomic_store(&hub->figure_clients, hub->client_count);
    struct backend *backend = client->backend;
    client->backend = NULL;
    if (backend != NULL) session_abandoned(backend, pinned);
}

void client_release(struct client *client)
{
    struct profiles *profiles = &client->hub->profiles;
    profile_release(profiles, client->profile);
    profile_release(profiles, client->initial);
    names_free(&client->names, &client->hub->statements);
    free(client->unnamed);
    free(client->held);
    free(client);
}
