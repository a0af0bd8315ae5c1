/* passthrough.c: the whole: its thread and loop, the listener, what happens once a tick, and the
 * figures. */
#include "storage/passthrough/passthrough.h"

#include "storage/base/log.h"
#include "storage/conninfo.h"
#include "storage/passthrough/internal.h"
#include "storage/roles.h"

#include <errno.h>
#include <event2/thread.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS = 64, /* in a row */
    NICE = -5     /* of the thread */
};

static const struct timeval tick_every = {.tv_usec = 200000};

const char *const passthrough_pin_names[PINS] = {"listen", "temporary", "setting",  "advisory",
                                                 "cursor", "prepare",   "statement"};

double hub_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void hub_bury(struct passthrough *hub)
{
    struct client *client;
    struct backend *backend;
    while ((client = TAILQ_FIRST(&hub->buried)) != NULL) {
        TAILQ_REMOVE(&hub->buried, client, link);
        client_release(client);
    }
    while ((backend = TAILQ_FIRST(&hub->buried_backends)) != NULL) {
        TAILQ_REMOVE(&hub->buried_backends, backend, link);
        backend_release(backend);
    }
}

/* ---- Parameters ---- */

void parameters_set(struct parameters *parameters, const char *name, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL) return;
    for (size_t i = 0; i < parameters->count; i++) {
        if (strcmp(parameters->list[i].name, name) != 0) continue;
        free(parameters->list[i].value);
        parameters->list[i].value = copy;
        return;
    }
    char *key = parameters->count < PARAMETERS_MOST ? strdup(name) : NULL;
    if (key == NULL) {
        free(copy);
        return;
    }
    parameters->list[parameters->count].name = key;
    parameters->list[parameters->count++].value = copy;
}

const char *parameters_get(const struct parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (strcmp(parameters->list[i].name, name) == 0) return parameters->list[i].value;
    return NULL;
}

void parameters_free(struct parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        free(parameters->list[i].name);
        free(parameters->list[i].value);
    }
    parameters->count = 0;
}

/* ---- Events ---- */

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct passthrough *hub = arg;
    (void)what;
    hub_bury(hub);
    for (int i = 0; i < ACCEPTS; i++) {
        const int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) {
            client_accept(hub, accepted);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        /* Without a descriptor to be had, the next tick looks again. */
        if (errno != EAGAIN && errno != EWOULDBLOCK) event_del(hub->listening);
        return;
    }
}

static void end_everything(struct passthrough *hub)
{
    struct client *client;
    struct backend *backend;
    while ((client = TAILQ_FIRST(&hub->clients)) != NULL)
        client_fail(client, "57P01", "terminating connection due to administrator command");
    while ((backend = TAILQ_FIRST(&hub->backends)) != NULL)
        backend_close(backend, "the daemon stops");
    hub_bury(hub);
    event_base_loopbreak(hub->base);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct passthrough *hub = arg;
    (void)fd;
    (void)what;
    hub_bury(hub);
    cancel_collect(hub);
    answer_collect(hub);
    if (atomic_load(&hub->stopping)) end_everything(hub);
}

static void end_slow_starts(struct passthrough *hub, double now)
{
    struct client *client, *next;
    for (client = TAILQ_FIRST(&hub->starting); client != NULL; client = next) {
        next = TAILQ_NEXT(client, starts);
        if (client->state == CLIENT_STARTING && now - client->since > STARTUP_S) {
            COUNT_REFUSED(hub);
            client_fail(client, "08006", "the startup packet did not come in time");
            next = TAILQ_FIRST(&hub->starting);
        }
    }
}

/* Nothing is read from a client whose server is behind, so that its end has to be asked for. */
static void end_gone(struct passthrough *hub)
{
    struct backend *backend, *next;
    for (backend = TAILQ_FIRST(&hub->backends); backend != NULL; backend = next) {
        struct client *client = backend->client;
        next = TAILQ_NEXT(backend, link);
        if (client == NULL || client->channel.reading) continue;
        struct pollfd peer = {.fd = client->channel.fd};
        if (poll(&peer, 1, 0) != 1 || !(peer.revents & (POLLHUP | POLLERR))) continue;
        client_close(client);
        next = TAILQ_FIRST(&hub->backends);
    }
}

/* Those who take nothing while they hold what others wait for. */
static void end_stalled(struct passthrough *hub, double now)
{
    struct backend *backend, *next;
    if (hub->waiting_count == 0) return;
    for (backend = TAILQ_FIRST(&hub->backends); backend != NULL; backend = next) {
        struct client *client = backend->client;
        next = TAILQ_NEXT(backend, link);
        if (client == NULL || channel_backlog(&client->channel) == 0 ||
            now - client->since <= STALL_S)
            continue;
        log_warn("passthrough.stalled", "role=%s pid=%ld", client->role->name,
                 (long)client->peer.pid);
        client_close(client);
        next = TAILQ_FIRST(&hub->backends);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct passthrough *hub = arg;
    const double now = hub_now();
    (void)fd;
    (void)what;
    atomic_store(&hub->awake, true);
    hub_bury(hub);
    event_add(hub->listening, NULL);
    end_slow_starts(hub, now);
    end_gone(hub);
    end_stalled(hub, now);
    lease_tick(hub, now);
}

/* Whoever is sent something wakes up and would take the processor from this thread in the middle of
 * its round; as a batch thread it ends the round first, so that more goes with each. All clients
 * and all servers wait for this one thread: where the process has the right, it goes before them.
 * Without the right it stays as it is. */
static void take_precedence(void)
{
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    setpriority(PRIO_PROCESS, 0, NICE); /* in Linux this is the thread, not the process */
}

static void *run(void *arg)
{
    struct passthrough *hub = arg;
    take_precedence();
    event_base_loop(hub->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

/* ---- How each role connects ---- */

static int set_option(PQconninfoOption *options, const char *keyword, const char *value)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) != 0) continue;
        char *copy = value != NULL ? strdup(value) : NULL;
        if (value != NULL && copy == NULL) return -1;
        free(options->val);
        options->val = copy;
        return 0;
    }
    return 0; /* a libpq without it */
}

static const char *get_option(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0) return options->val;
    return NULL;
}

/* The database of the connection string: the one that libpq would take. */
static int find_database(struct passthrough *hub, const PQconninfoOption *given, struct error *err)
{
    PQconninfoOption *defaults = PQconndefaults();
    const char *name = get_option(given, "dbname");
    if (name == NULL) name = get_option(defaults, "dbname");
    if (name == NULL) name = get_option(given, "user");
    if (name == NULL) name = get_option(defaults, "user");
    hub->database = strdup(name != NULL ? name : "tekup_db");
    PQconninfoFree(defaults);
    return hub->database != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

static int open_role(struct passthrough *hub, size_t i, struct error *err)
{
    const struct passthrough_options *options = &hub->options;
    struct role *role = &hub->roles[i];
    const char *url = options->urls[i];
    const bool own = url != NULL && *url != '\0';
    role->name = role_names[i];
    TAILQ_INIT(&role->waiting);
    if (identity_allow(&role->allowed, options->allow[i], err) != 0) {
        if (err != NULL) snprintf(err->field, sizeof(err->field), "passthrough.%s", role->name);
        return error_prefix(err, "who may be %s", role->name);
    }
    role->conninfo = conninfo_parse(own ? url : options->conninfo, err);
    if (role->conninfo == NULL) return -1;
    if (hub->database == NULL && find_database(hub, role->conninfo, err) != 0) return -1;
    /* A password belongs to the user that it was given with. */
    const char *user = get_option(role->conninfo, "user");
    const bool same = own || (user != NULL && strcmp(user, role->name) == 0);
    int rc = same ? 0 : set_option(role->conninfo, "password", NULL);
    rc |= set_option(role->conninfo, "user", role->name);
    rc |= set_option(role->conninfo, "dbname", hub->database);
    /* What passes through is read and written beside libpq, which can be done with TLS only. */
    rc |= set_option(role->conninfo, "gssencmode", "disable");
    rc |= set_option(role->conninfo, "application_name", NULL);
    rc |= set_option(role->conninfo, "fallback_application_name", NULL);
    return rc == 0 ? 0 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* ---- Its life ---- */

static int open_base(struct passthrough *hub, struct error *err)
{
    struct profile_draft none = {0};
    hub->room = malloc(READ_ROOM);
    hub->plain = profile_of(&hub->profiles, &none);
    hub->answers = answers_create(hub);
    if (hub->room == NULL || hub->plain == NULL || hub->answers == NULL ||
        evthread_use_pthreads() != 0)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    hub->base = event_base_new();
    if (hub->base == NULL) return error_set(err, ERR_INTERNAL, NULL, "cannot make an event loop");
    hub->listening =
        event_new(hub->base, hub->options.fd, EV_READ | EV_PERSIST, on_connection, hub);
    hub->wake = event_new(hub->base, -1, EV_PERSIST, on_wake, hub);
    hub->tick = event_new(hub->base, -1, EV_PERSIST, on_tick, hub);
    if (hub->listening == NULL || hub->wake == NULL || hub->tick == NULL ||
        event_add(hub->listening, NULL) != 0 || event_add(hub->tick, &tick_every) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    return 0;
}

static int begin(struct passthrough *hub, struct error *err)
{
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++)
        if (open_role(hub, i, err) != 0) return -1;
    if (identity_allow(&hub->index_allowed, NULL, err) != 0) return -1;
    if (identity_allow_user(&hub->index_allowed, hub->options.index_uid) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (open_base(hub, err) != 0) return -1;
    hub->canceler = canceler_create(hub, err);
    if (hub->canceler == NULL) return -1;
    if (pthread_create(&hub->thread, NULL, run, hub) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
    pthread_setname_np(hub->thread, "tekupd-pass");
    hub->started = true;
    return 0;
}

struct passthrough *passthrough_create(const struct passthrough_options *options, struct error *err)
{
    struct passthrough *hub = calloc(1, sizeof(*hub));
    if (hub == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    hub->options = *options;
    histogram_init(&hub->waits, &histogram_calls);
    hub->awake = true;
    hub->next_order = 1;
    hub->next_id = 1;
    TAILQ_INIT(&hub->clients);
    TAILQ_INIT(&hub->starting);
    TAILQ_INIT(&hub->buried);
    TAILQ_INIT(&hub->backends);
    TAILQ_INIT(&hub->idle);
    TAILQ_INIT(&hub->buried_backends);
    for (size_t i = 0; i < sizeof(hub->by_id) / sizeof(*hub->by_id); i++)
        TAILQ_INIT(&hub->by_id[i]);
    if (begin(hub, err) != 0) {
        passthrough_free(hub);
        return NULL;
    }
    return hub;
}

void passthrough_begin(struct passthrough *hub)
{
    atomic_store(&hub->begun, true);
}

bool passthrough_is_alive(struct passthrough *hub)
{
    return atomic_exchange(&hub->awake, false);
}

void passthrough_stop(struct passthrough *hub)
{
    if (hub == NULL || hub->joined || !hub->started) return;
    atomic_store(&hub->stopping, true);
    event_active(hub->wake, EV_READ, 0);
    pthread_join(hub->thread, NULL);
    canceler_stop(hub->canceler);
    answers_stop(hub->answers);
    hub->joined = true;
}

static void close_role(struct role *role)
{
    identity_free(&role->allowed);
    PQconninfoFree(role->conninfo);
    buffer_free(&role->failure);
}

void passthrough_free(struct passthrough *hub)
{
    if (hub == NULL) return;
    passthrough_stop(hub);
    canceler_free(hub->canceler);
    answers_free(hub->answers);
    if (hub->listening != NULL) event_free(hub->listening);
    if (hub->wake != NULL) event_free(hub->wake);
    if (hub->tick != NULL) event_free(hub->tick);
    if (hub->base != NULL) event_base_free(hub->base);
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) close_role(&hub->roles[i]);
    identity_free(&hub->index_allowed);
    profile_release(&hub->profiles, hub->plain);
    statements_free(&hub->statements);
    buffer_free(&hub->up);
    buffer_free(&hub->down);
    free(hub->database);
    free(hub->room);
    free(hub);
}

/* ---- Figures ---- */

static void read_role(struct role *role, struct passthrough_role_figures *figures)
{
    struct role_counters *from = &role->counters;
    *figures = (struct passthrough_role_figures){
        .name = role->name,
        .clients = atomic_load(&from->clients),
        .connections = atomic_load(&from->connections),
        .leased = atomic_load(&from->leased),
        .waiting = atomic_load(&from->waiting),
        .pinned = atomic_load(&from->pinned),
        .leases = atomic_load(&from->leases),
        .transactions = atomic_load(&from->transactions),
        .waits = atomic_load(&from->waits),
        .wait_us = atomic_load(&from->wait_us),
        .timeouts = atomic_load(&from->timeouts),
        .opened = atomic_load(&from->opened),
        .lost = atomic_load(&from->lost),
        .received = atomic_load(&from->received),
        .sent = atomic_load(&from->sent),
    };
    for (int i = 0; i < PINS; i++) {
        figures->pins[i] = atomic_load(&from->pins[i]);
        figures->pinned_total[i] = atomic_load(&from->pinned_total[i]);
    }
}

const struct histogram *passthrough_waits(const struct passthrough *hub)
{
    return &hub->waits;
}

void passthrough_get_figures(struct passthrough *hub, struct passthrough_figures *figures)
{
    *figures = (struct passthrough_figures){
        .clients = atomic_load(&hub->figure_clients),
        .client_limit = hub->options.clients,
        .connections = atomic_load(&hub->figure_connections),
        .connection_limit = hub->options.connection_limit,
        .refused = atomic_load(&hub->figure_refused),
    };
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) read_role(&hub->roles[i], &figures->roles[i]);
}
