/* lease.c: who gets which server connection, and how it is given back.
 *
 * All clients and roles share hub->options.connection_limit connections. A client that finds none
 * waits in its role's queue. Where the limit is reached, a connection changes from one role to
 * another when it is idle, or when its role has more than its share and another role has less and
 * waits. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/look.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_S 0.2 /* after a connection could not be opened */

static void rest(struct backend *backend);

/* ---- Waiting ---- */

static void enqueue(struct client *client, bool first)
{
    struct role *role = client->role;
    client->waiting = true;
    client->preparing = NULL;
    if (first) {
        TAILQ_INSERT_HEAD(&role->waiting, client, queue);
    } else {
        client->order = client->hub->next_order++;
        client->waits_since = hub_now();
        TAILQ_INSERT_TAIL(&role->waiting, client, queue);
        COUNT(role, waits, 1);
    }
    client->hub->waiting_count++;
    COUNT(role, waiting, 1);
}

static void dequeue(struct client *client)
{
    TAILQ_REMOVE(&client->role->waiting, client, queue);
    client->waiting = false;
    client->hub->waiting_count--;
    COUNT(client->role, waiting, -1);
}

void lease_forget(struct client *client)
{
    if (client->preparing == NULL) {
        dequeue(client);
        return;
    }
    client->preparing->errand_for = NULL;
    client->preparing = NULL;
    client->waiting = false;
}

void lease_again(struct client *client)
{
    if (client->order == 0) {
        enqueue(client, false);
        return;
    }
    enqueue(client, true);
}

/* ---- Giving ---- */

static void give(struct backend *backend, struct client *client, bool go_on)
{
    client->waiting = false;
    client->preparing = NULL;
    client->backend = backend;
    client->unnamed_here = false;
    if (client->order != 0) {
        COUNT(client->role, wait_us, (uint64_t)((hub_now() - client->waits_since) * 1e6));
        client->order = 0;
    }
    backend_set(backend, BACKEND_LEASED);
    backend->client = client;
    backend->look = 0;
    backend->unsynced = backend->copying = backend->reported = backend->told_fatal = false;
    COUNT(backend->role, leases, 1);
    if (client->state == CLIENT_LOGIN) {
        client->backend = NULL;
        backend->client = NULL;
        startup_welcome(client, &backend->parameters);
        rest(backend);
        client_go_on(client);
    } else if (go_on) {
        client_go_on(client);
    }
}

/* Gives it to the client, or brings it to the client's profile first. */
static void grant(struct backend *backend, struct client *client, bool go_on)
{
    if (backend->profile == client->profile) {
        give(backend, client, go_on);
        return;
    }
    struct buffer sql = {0};
    profile_sql(client->profile, &sql);
    client->waiting = true;
    client->preparing = backend;
    backend->errand_for = client;
    profile_release(&client->hub->profiles, backend->next_profile);
    backend->next_profile = profile_use(client->profile);
    if (sql.failed)
        backend_close(backend, "memory ran out");
    else
        backend_run(backend, ERRAND_PROFILE, sql.data);
    buffer_free(&sql);
}

/* An idle connection of the role that is alive, best one in the profile. */
static struct backend *find_idle(struct passthrough *hub, const struct role *role,
                                 const struct profile *profile)
{
    for (;;) {
        struct backend *backend, *found = NULL;
        TAILQ_FOREACH(backend, &hub->idle, idle)
        {
            if (backend->role != role) continue;
            if (found == NULL || backend->profile == profile) found = backend;
            if (found->profile == profile) break;
        }
        if (found == NULL || backend_is_alive(found)) return found;
        backend_close(found, "the server has closed it");
    }
}

void lease_request(struct client *client)
{
    struct passthrough *hub = client->hub;
    struct role *role = client->role;
    if (TAILQ_EMPTY(&role->waiting) && !hub->serving) {
        struct backend *backend = find_idle(hub, role, client->profile);
        if (backend != NULL) {
            grant(backend, client, false);
            return;
        }
    }
    enqueue(client, false);
    lease_serve(hub);
}

/* ---- Who is next ---- */

static bool is_opening(const struct passthrough *hub, const struct role *role, int *count)
{
    const struct backend *backend;
    *count = 0;
    TAILQ_FOREACH(backend, &hub->backends, link)
    *count += backend->role == role && backend->state == BACKEND_CONNECTING;
    return *count > 0;
}

static bool has_idle(const struct passthrough *hub, const struct role *role)
{
    const struct backend *backend;
    TAILQ_FOREACH(backend, &hub->idle, idle)
    if (backend->role == role) return true;
    return false;
}

static int waiting_in(const struct role *role)
{
    return atomic_load_explicit(&role->counters.waiting, memory_order_relaxed);
}

static int leased_in(const struct role *role)
{
    return atomic_load_explicit(&role->counters.leased, memory_order_relaxed);
}

/* What each role that is in use may have of the connections. */
static int share(const struct passthrough *hub)
{
    int active = 0;
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++)
        active += waiting_in(&hub->roles[i]) > 0 || leased_in(&hub->roles[i]) > 0;
    const int each = hub->options.connection_limit / (active > 0 ? active : 1);
    return each > 0 ? each : 1;
}

/* The role whose first client has waited longest and that may have one more connection; those that
 * have less than their share go first, or what find_spare() takes from a role for another one would
 * be opened for the former again. */
static struct role *next_in_need(struct passthrough *hub)
{
    struct role *found = NULL;
    bool found_has_share = false;
    const int each = share(hub);
    const double now = hub_now();
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        struct role *role = &hub->roles[i];
        const struct client *first = TAILQ_FIRST(&role->waiting);
        int opening;
        if (first == NULL || has_idle(hub, role)) continue;
        if (role->failed_at != 0 && now - role->failed_at < RETRY_S) continue;
        if (is_opening(hub, role, &opening) &&
            (opening >= waiting_in(role) || role->failed_at != 0))
            continue;
        const bool has_share = role->connections >= each;
        if (found != NULL && has_share && !found_has_share) continue;
        if (found == NULL || (found_has_share && !has_share) ||
            first->order < TAILQ_FIRST(&found->waiting)->order) {
            found = role;
            found_has_share = has_share;
        }
    }
    return found;
}

/* An idle connection that another role makes better use of. */
static struct backend *find_spare(struct passthrough *hub, const struct role *role)
{
    struct backend *backend;
    const int each = share(hub);
    TAILQ_FOREACH_REVERSE(backend, &hub->idle, backend_list, idle)
    {
        const struct role *owner = backend->role;
        if (owner == role) continue;
        if (waiting_in(owner) == 0 || role->connections == 0 ||
            (owner->connections > each && role->connections < each))
            return backend;
    }
    return NULL;
}

static bool serve_idle(struct passthrough *hub)
{
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        struct role *role = &hub->roles[i];
        struct client *client = TAILQ_FIRST(&role->waiting);
        if (client == NULL) continue;
        struct backend *backend = find_idle(hub, role, client->profile);
        if (backend == NULL) continue;
        dequeue(client);
        grant(backend, client, true);
        return true;
    }
    return false;
}

/* Where another role has waited for too long, a connection goes to it before its own role's next
 * client has it. */
static bool serve_need(struct passthrough *hub)
{
    if (hub->waiting_count == 0) return false;
    struct role *role = next_in_need(hub);
    if (role == NULL) return false;
    if (hub->backend_count < hub->options.connection_limit) return backend_open(hub, role) != NULL;
    struct backend *spare = find_spare(hub, role);
    if (spare == NULL) return false;
    backend_close(spare, NULL);
    return true;
}

void lease_serve(struct passthrough *hub)
{
    if (hub->serving) {
        hub->serve_again = true;
        return;
    }
    hub->serving = true;
    do {
        hub->serve_again = false;
        if (atomic_load(&hub->stopping)) break;
        while (serve_need(hub) || serve_idle(hub)) {
        }
    } while (hub->serve_again);
    hub->serving = false;
}

/* ---- Giving back ---- */

/* The connection is as clean as a new one. */
static void rest(struct backend *backend)
{
    if (backend->closed) return;
    if (backend->cancels > 0) {
        /* A cancel that is on its way must not hit the next client. */
        backend_set(backend, BACKEND_DRAINING);
        backend->answered = true;
        return;
    }
    backend_set(backend, BACKEND_IDLE);
    backend->errand = ERRAND_NONE;
    lease_serve(backend->hub);
}

static void use_profile(struct backend *backend, struct profile *profile)
{
    profile_release(&backend->hub->profiles, backend->profile);
    backend->profile = profile != NULL ? profile_use(profile) : NULL;
}

/* The settings that PostgreSQL reports have followed what the client did. */
static void follow_settings(struct client *client, struct backend *backend)
{
    struct passthrough *hub = client->hub;
    if (backend->look & LOOK_RESETS) {
        profile_release(&hub->profiles, client->profile);
        client->profile = profile_use(client->initial);
        use_profile(backend, NULL);
        backend->look = (backend->look & ~LOOK_RESETS) | LOOK_SUSPECT;
        backend->reported = false;
        return;
    }
    if (!backend->reported) return;
    backend->reported = false;
    struct profile_draft draft = {0};
    bool changed = false;
    profile_copy(client->profile, &draft);
    for (size_t i = 0; i < backend->parameters.count; i++) {
        const char *name = backend->parameters.list[i].name;
        const char *value = backend->parameters.list[i].value;
        if (!profile_tracks(name, strlen(name))) continue;
        const char *had = profile_get(client->profile, name);
        if (had == NULL) had = parameters_get(&backend->defaults, name);
        if (had != NULL && strcmp(had, value) == 0) continue;
        profile_draft_set(&draft, name, value);
        changed = true;
    }
    struct profile *profile = changed ? profile_of(&hub->profiles, &draft) : NULL;
    profile_draft_free(&draft);
    if (!changed) return;
    if (profile == NULL) {
        client_fail(client, "53200", "out of memory");
        return;
    }
    profile_release(&hub->profiles, client->profile);
    client->profile = profile;
    use_profile(backend, profile);
}

void lease_set_pins(struct client *client, int pins)
{
    if (client->pins == pins) return;
    struct role *role = client->role;
    if ((client->pins == 0) != (pins == 0)) COUNT(role, pinned, pins != 0 ? 1 : -1);
    for (int i = 0; i < PINS; i++) {
        const int had = client->pins >> i & 1, has = pins >> i & 1;
        if (had == has) continue;
        COUNT(role, pins[i], has - had);
        if (has) COUNT(role, pinned_total[i], 1);
    }
    client->pins = pins;
}

void lease_ended(struct backend *backend)
{
    struct client *client = backend->client;
    follow_settings(client, backend);
    if (client->closed) return;
    if (backend->look & (LOOK_SUSPECT | LOOK_CUSTOM)) lease_set_pins(client, 1 << PIN_SETTING);
    backend->answered = false;
    if (client->pins == 0) {
        backend->client = NULL;
        client->backend = NULL;
        rest(backend);
    }
    client_go_on(client);
}

/* ---- After a client that is gone ---- */

static void finish_clean(struct backend *backend)
{
    if (backend->status != 'I')
        backend_run(backend, ERRAND_ROLLBACK, "ROLLBACK");
    else if (backend->look != 0)
        backend_run(backend, ERRAND_CLEAN, "DISCARD ALL");
    else
        rest(backend);
}

void lease_drained(struct backend *backend)
{
    if (backend->cancels > 0) return;
    finish_clean(backend);
}

void lease_abandoned(struct backend *backend)
{
    backend->client = NULL;
    if (backend->closed) return;
    const bool busy = backend->expected_count > 0 || backend->copying;
    if (busy) cancel_backend(backend);
    if (backend->writing || backend->sending > 0 || channel_backlog(&backend->channel) > 0) {
        backend_close(backend, "its client left in the middle of a message");
        return;
    }
    struct buffer out = {0};
    if (backend->copying) {
        const size_t at = wire_begin(&out, 'f');
        wire_put_string(&out, "the client is gone");
        wire_end(&out, at);
    }
    backend->copying = false;
    if (backend->unsynced) {
        const struct expectation sync = {.kind = EXPECT_SYNC};
        backend_expect(backend, &sync);
        wire_end(&out, wire_begin(&out, 'S'));
        backend->unsynced = false;
    }
    if (out.failed) {
        buffer_free(&out);
        backend_close(backend, "memory ran out");
        return;
    }
    backend_set(backend, BACKEND_DRAINING);
    if (out.length > 0) channel_write(&backend->channel, out.data, out.length);
    buffer_free(&out);
    backend_update_reading(backend);
    if (backend->reported) use_profile(backend, NULL);
    if (backend->expected_count == 0) {
        backend->answered = true;
        lease_drained(backend);
    }
}

/* ---- Errands ---- */

static void fail_with(struct client *client, const struct buffer *error)
{
    const char *body = error->data + WIRE_HEADER;
    const size_t length = error->length - WIRE_HEADER;
    const char *state = wire_error_field(body, length, 'C');
    const char *message = wire_error_field(body, length, 'M');
    client_fail(client, state != NULL ? state : "XX000", "%s", message != NULL ? message : "error");
}

static void profile_done(struct backend *backend)
{
    struct client *client = backend->errand_for;
    backend->errand_for = NULL;
    backend->reported = false;
    if (backend->errand_error.length > 0) {
        rest(backend);
        if (client == NULL) return;
        client->preparing = NULL;
        client->waiting = false;
        fail_with(client, &backend->errand_error);
        return;
    }
    profile_release(&backend->hub->profiles, backend->profile);
    backend->profile = backend->next_profile;
    backend->next_profile = NULL;
    if (client != NULL && client->profile == backend->profile && backend->cancels == 0)
        give(backend, client, true);
    else
        rest(backend);
}

void lease_errand_done(struct backend *backend)
{
    const enum errand errand = backend->errand;
    backend->errand = ERRAND_NONE;
    switch (errand) {
    case ERRAND_PROFILE:
        profile_done(backend);
        return;
    case ERRAND_CLEAN:
        if (backend->errand_error.length > 0) {
            backend_close(backend, "it could not be cleaned");
            return;
        }
        backend->look = 0;
        use_profile(backend, backend->hub->plain);
        rest(backend);
        return;
    case ERRAND_ROLLBACK:
        if (backend->status != 'I') {
            backend_close(backend, "it could not be rolled back");
            return;
        }
        finish_clean(backend);
        return;
    case ERRAND_NONE:
        return;
    }
}

void lease_connected(struct backend *backend)
{
    use_profile(backend, backend->hub->plain);
    rest(backend);
    backend_update_reading(backend);
}

/* ---- Time ---- */

/* Whether what kept a connection from being opened will be the same the next time. */
static bool lasts(const struct buffer *failure)
{
    static const char *const states[] = {"28", "3D000", "42501"};
    const char *state =
        wire_error_field(failure->data + WIRE_HEADER, failure->length - WIRE_HEADER, 'C');
    for (size_t i = 0; state != NULL && i < sizeof(states) / sizeof(*states); i++) {
        if (strncmp(state, states[i], strlen(states[i])) == 0) return true;
    }
    return false;
}

static void fail_waiting(struct role *role, double now, int wait_s)
{
    const bool failed = role->failed_at != 0 && role->failure.length > WIRE_HEADER;
    const bool hopeless = failed && role->connections == 0 && lasts(&role->failure);
    struct client *client;
    while ((client = TAILQ_FIRST(&role->waiting)) != NULL) {
        if (!hopeless && now - client->waits_since < wait_s) return;
        COUNT(role, timeouts, 1);
        if (failed)
            fail_with(client, &role->failure);
        else
            client_fail(client, "53300",
                        "timed out after %d s waiting for one of the %d server connections", wait_s,
                        client->hub->options.connection_limit);
    }
}

void lease_tick(struct passthrough *hub, double now)
{
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++)
        fail_waiting(&hub->roles[i], now, hub->options.wait_s);
    struct backend *backend, *next;
    for (backend = TAILQ_FIRST(&hub->backends); backend != NULL; backend = next) {
        next = TAILQ_NEXT(backend, link);
        if (backend->state == BACKEND_IDLE && now - backend->since > IDLE_S)
            backend_close(backend, "idle");
        else if ((backend->state == BACKEND_DRAINING || backend->state == BACKEND_ERRAND) &&
                 now - backend->since > DRAIN_S)
            backend_close(backend, "it did not come to an end in time");
    }
    lease_serve(hub);
}
