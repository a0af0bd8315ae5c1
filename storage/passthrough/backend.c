/* backend.c: the servers' side: connections that libpq opens and the relay then reads and writes
 * by itself, what has been sent on them and waits for its answer, and their end. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/wire.h"

#include "storage/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- What is expected ---- */

struct expectation *backend_expected(struct backend *backend, size_t at)
{
    if (at >= backend->expected_count) return NULL;
    return &backend->expected[(backend->expected_first + at) % backend->expected_room];
}

static bool grow_expected(struct backend *backend)
{
    const size_t room = backend->expected_room == 0 ? 32 : backend->expected_room * 2;
    struct expectation *grown = malloc(room * sizeof(*grown));
    if (grown == NULL) return false;
    for (size_t i = 0; i < backend->expected_count; i++) grown[i] = *backend_expected(backend, i);
    free(backend->expected);
    backend->expected = grown;
    backend->expected_first = 0;
    backend->expected_room = room;
    return true;
}

void backend_expect(struct backend *backend, const struct expectation *expectation)
{
    if (backend->expected_count == backend->expected_room && !grow_expected(backend)) {
        /* Without a record of what was sent the answers cannot be told apart. */
        backend->channel.broken = true;
        event_active(&backend->channel.read_event, EV_READ, 0);
        return;
    }
    const size_t at = (backend->expected_first + backend->expected_count) % backend->expected_room;
    backend->expected[at] = *expectation;
    if (expectation->statement != NULL) statement_use(expectation->statement);
    backend->expected_count++;
}

void backend_met(struct backend *backend, size_t at)
{
    statement_release(&backend->hub->statements, backend_expected(backend, at)->statement);
    for (; at > 0; at--) *backend_expected(backend, at) = *backend_expected(backend, at - 1);
    backend->expected_first = (backend->expected_first + 1) % backend->expected_room;
    backend->expected_count--;
}

/* ---- Reading ---- */

void backend_update_reading(struct backend *backend)
{
    if (backend->closed || backend->state == BACKEND_CONNECTING) return;
    const struct client *client = backend->client;
    channel_read_events(&backend->channel,
                        client == NULL || channel_backlog(&client->channel) == 0);
}

static bool hold(struct backend *backend, const char *data, size_t length)
{
    if (backend->held_length + length > backend->held_room) {
        const size_t room = backend->held_length + length;
        char *grown = realloc(backend->held, room);
        if (grown == NULL) return false;
        backend->held = grown;
        backend->held_room = room;
    }
    memcpy(backend->held + backend->held_length, data, length);
    backend->held_length += length;
    return true;
}

static void drop_held(struct backend *backend)
{
    free(backend->held);
    backend->held = NULL;
    backend->held_length = backend->held_room = 0;
}

static void take_in(struct backend *backend, const char *data, size_t length)
{
    size_t used;
    if (backend->held_length == 0) {
        used = relay_down(backend, data, length);
        if (!backend->closed && used < length && !hold(backend, data + used, length - used))
            backend_close(backend, "memory ran out");
        return;
    }
    if (!hold(backend, data, length)) {
        backend_close(backend, "memory ran out");
        return;
    }
    used = relay_down(backend, backend->held, backend->held_length);
    if (backend->closed) return;
    backend->held_length -= used;
    if (backend->held_length == 0)
        drop_held(backend);
    else if (used > 0)
        memmove(backend->held, backend->held + used, backend->held_length);
}

/* The relay has passed on what it read; now what came of it is done, since that may begin with
 * reading and writing anew. */
static void follow_up(struct backend *backend)
{
    if (backend->closed) return;
    backend_update_reading(backend);
    if (backend->expected_count > 0 || backend->held_length > 0 || backend->passing > 0) return;
    if (backend->state == BACKEND_ERRAND && backend->errand_ended)
        session_errand_done(backend);
    else if (backend->state == BACKEND_LEASED && backend->status == 'I' && !backend->unsynced &&
             backend->sending == 0 && backend->answered)
        session_ended(backend);
    else if (backend->state == BACKEND_DRAINING && backend->answered)
        session_drained(backend);
    else if (backend->state == BACKEND_LEASED && backend->client != NULL &&
             backend->client->held_length > 0)
        client_go_on(backend->client);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct backend *backend = arg;
    struct passthrough *hub = backend->hub;
    (void)fd;
    (void)what;
    hub_bury(hub);
    const long got = channel_read(&backend->channel, hub->room, READ_ROOM);
    if (got == CHANNEL_LATER && !backend->channel.broken) return;
    if (got <= 0) {
        backend_close(backend, "the server closed the connection");
        return;
    }
    take_in(backend, hub->room, (size_t)got);
    follow_up(backend);
    if (!backend->closed && backend->channel.reading && channel_pending(&backend->channel))
        event_active(&backend->channel.read_event, EV_READ, 0);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct backend *backend = arg;
    (void)fd;
    (void)what;
    hub_bury(backend->hub);
    channel_flush(&backend->channel);
    if (backend->client != NULL && channel_backlog(&backend->channel) == 0)
        client_go_on(backend->client);
}

/* ---- Opening ---- */

static void on_connecting(evutil_socket_t fd, short what, void *arg);

static void await(struct backend *backend, PostgresPollingStatusType next)
{
    struct event *event = &backend->channel.read_event;
    const struct timeval most = {.tv_sec = CONNECT_S};
    if (event_initialized(event)) event_del(event);
    event_assign(event, backend->hub->base, PQsocket(backend->conn),
                 next == PGRES_POLLING_READING ? EV_READ : EV_WRITE, on_connecting, backend);
    event_add(event, &most);
}

/* What libpq says of a failure, as the server would have told the client. With
 * PQERRORS_VERBOSE a server's own message is "FATAL:  28000: role ... does not exist". */
static void put_failure(struct buffer *out, const char *said)
{
    char state[6] = "08006", text[400];
    const char *fatal = strstr(said, "FATAL:  ");
    const char *message = said;
    if (fatal != NULL) {
        message = fatal + 8;
        if (strlen(message) > 7 && message[5] == ':' && message[6] == ' ') {
            memcpy(state, message, 5);
            message += 7;
        }
    }
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(message, "\n"), message);
    wire_put_error(out, "FATAL", state, text);
}

static void connect_failed(struct backend *backend, const char *said)
{
    struct role *role = backend->role;
    char line[400];
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(said, "\n"), said);
    buffer_clear(&role->failure);
    put_failure(&role->failure, said);
    role->failed_at = hub_now();
    backend_close(backend, line);
}

static void connected(struct backend *backend)
{
    static const char *const names[] = {"server_version",
                                        "server_encoding",
                                        "client_encoding",
                                        "application_name",
                                        "default_transaction_read_only",
                                        "in_hot_standby",
                                        "is_superuser",
                                        "session_authorization",
                                        "DateStyle",
                                        "IntervalStyle",
                                        "TimeZone",
                                        "integer_datetimes",
                                        "standard_conforming_strings",
                                        "scram_iterations",
                                        "search_path"};
    PGconn *conn = backend->conn;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = PQparameterStatus(conn, names[i]);
        if (value == NULL) continue;
        parameters_set(&backend->parameters, names[i], value);
        parameters_set(&backend->defaults, names[i], value);
    }
    SSL *ssl = PQsslInUse(conn) ? PQsslStruct(conn, "OpenSSL") : NULL;
    channel_open(&backend->channel, backend->hub->base, PQsocket(conn), ssl, false, on_readable,
                 on_writable, backend);
    PQsetnonblocking(conn, 1); /* so that PQfinish does not wait */
    backend->role->failed_at = 0;
    backend->status = 'I';
    COUNT(backend->role, opened, 1);
    lease_connected(backend);
}

static void on_connecting(evutil_socket_t fd, short what, void *arg)
{
    struct backend *backend = arg;
    (void)fd;
    hub_bury(backend->hub);
    if (what & EV_TIMEOUT) {
        connect_failed(backend, "the connection to the server timed out");
        return;
    }
    const PostgresPollingStatusType next = PQconnectPoll(backend->conn);
    if (next == PGRES_POLLING_OK)
        connected(backend);
    else if (next == PGRES_POLLING_FAILED)
        connect_failed(backend, PQerrorMessage(backend->conn));
    else
        await(backend, next);
}

static void drop_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

struct backend *backend_open(struct passthrough *hub, struct role *role)
{
    enum { MOST = 64 };
    const char *keywords[MOST + 1], *values[MOST + 1];
    size_t count = 0;
    struct backend *backend = calloc(1, sizeof(*backend));
    if (backend == NULL) return NULL;
    for (const PQconninfoOption *option = role->conninfo; option->keyword != NULL; option++) {
        if (option->val == NULL || count == MOST) continue;
        keywords[count] = option->keyword;
        values[count++] = option->val;
    }
    keywords[count] = values[count] = NULL;
    backend->conn = PQconnectStartParams(keywords, values, 0);
    if (backend->conn == NULL) {
        free(backend);
        return NULL;
    }
    backend->hub = hub;
    backend->role = role;
    backend->state = BACKEND_CONNECTING;
    backend->since = hub_now();
    backend->channel.fd = -1;
    prepared_init(&backend->prepared);
    PQsetErrorVerbosity(backend->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(backend->conn, drop_notice, NULL);
    TAILQ_INSERT_TAIL(&hub->backends, backend, link);
    hub->backend_count++;
    role->connections++;
    COUNT(role, connections, 1);
    atomic_store(&hub->figure_connections, hub->backend_count);
    if (PQstatus(backend->conn) == CONNECTION_BAD) {
        /* Told from the loop, like every other failure. */
        const struct timeval now = {0};
        event_assign(&backend->channel.read_event, hub->base, -1, 0, on_connecting, backend);
        event_add(&backend->channel.read_event, &now);
    } else {
        await(backend, PGRES_POLLING_WRITING);
    }
    return backend;
}

/* ---- States ---- */

void backend_set(struct backend *backend, enum backend_state state)
{
    struct passthrough *hub = backend->hub;
    if (backend->state == BACKEND_IDLE) TAILQ_REMOVE(&hub->idle, backend, idle);
    if (backend->state == BACKEND_LEASED) COUNT(backend->role, leased, -1);
    backend->state = state;
    backend->answered = false;
    backend->since = hub_now();
    if (state == BACKEND_IDLE) TAILQ_INSERT_HEAD(&hub->idle, backend, idle);
    if (state == BACKEND_LEASED) COUNT(backend->role, leased, 1);
}

/* Nothing is lying in an idle connection's socket, not even its end. Of one that was read to the
 * end of an answer a moment ago that need not be asked. */
bool backend_is_alive(struct backend *backend)
{
    static const double moment = 0.001;
    char byte;
    if (backend->channel.broken) return false;
    if (hub_now() - backend->since < moment) return true;
    const ssize_t got = recv(backend->channel.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    /* With TLS a byte may be a new session's ticket. */
    return got < 0 || (got > 0 && backend->channel.ssl != NULL);
}

void backend_run(struct backend *backend, enum errand errand, const char *sql)
{
    struct buffer out = {0};
    const struct expectation ready = {.kind = EXPECT_READY};
    backend_set(backend, BACKEND_ERRAND);
    backend->errand = errand;
    backend->errand_ended = false;
    buffer_clear(&backend->errand_error);
    buffer_clear(&backend->errand_row);
    wire_put_query(&out, sql);
    if (out.failed) {
        buffer_free(&out);
        backend_close(backend, "memory ran out");
        return;
    }
    backend_expect(backend, &ready);
    channel_write(&backend->channel, out.data, out.length);
    buffer_free(&out);
    backend_update_reading(backend);
}

/* ---- The end ---- */

void backend_close(struct backend *backend, const char *why)
{
    struct passthrough *hub = backend->hub;
    struct role *role = backend->role;
    if (backend->closed) return;
    if (backend->state != BACKEND_IDLE || why != NULL)
        log_debug("passthrough.closed", "role=%s why=%s", role->name,
                  log_quote(why != NULL ? why : "not needed"));
    const bool opening = backend->state == BACKEND_CONNECTING;
    backend_set(backend, BACKEND_DRAINING);
    backend->closed = true;
    if (opening) event_del(&backend->channel.read_event);
    channel_close(&backend->channel);
    TAILQ_REMOVE(&hub->backends, backend, link);
    TAILQ_INSERT_TAIL(&hub->buried_backends, backend, link);
    hub->backend_count--;
    role->connections--;
    COUNT(role, connections, -1);
    atomic_store(&hub->figure_connections, hub->backend_count);
    cancel_detach(backend);
    PQfinish(backend->conn);
    backend->conn = NULL;
    struct client *client = backend->client;
    backend->client = NULL;
    if (client != NULL) {
        COUNT(role, lost, 1);
        client->backend = NULL;
        if (backend->told_fatal)
            client_close(client);
        else
            client_fail(client, "57P01", "terminating connection due to administrator command");
    }
    struct client *waits = backend->errand_for;
    backend->errand_for = NULL;
    if (waits != NULL) lease_again(waits);
    lease_serve(hub);
}

void backend_release(struct backend *backend)
{
    while (backend->expected_count > 0) backend_met(backend, 0);
    prepared_clear(&backend->prepared, &backend->hub->statements);
    profile_release(&backend->hub->profiles, backend->profile);
    profile_release(&backend->hub->profiles, backend->next_profile);
    parameters_free(&backend->parameters);
    parameters_free(&backend->defaults);
    buffer_free(&backend->errand_error);
    buffer_free(&backend->errand_row);
    free(backend->expected);
    free(backend->held);
    free(backend);
}
