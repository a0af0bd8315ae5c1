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

void lease_give(struct backend *backend, struct client *client, bool go_on)
{
    client->waiting = false;
    client->preparing = NULL;
    client->backend = backend;
    client->unnamed_here = false;
    double waited = 0;
    if (client->order != 0) {
        waited = hub_now() - client->waits_since;
        COUNT(client->role, wait_us, (uint64_t)(waited * 1e6));
        client->order = 0;
    }
    histogram_observe(&client->hub->waits, waited);
    backend_set(backend, BACKEND_LEASED);
    backend->client = client;
    backend->look = 0;
    backend->begun = false;
    backend->readies = 0;
    backend->transacted = backend->failed = backend->discarded = false;
    backend->foreign = backend->last_client != client->id;
    backend->last_client = client->id;
    backend->unsynced = backend->copying = backend->reported = backend->told_fatal = false;
    COUNT(backend->role, leases, 1);
    backend->hub->leased_since = true;
    backend_update_reading(backend);
    if (client->state == CLIENT_LOGIN) {
        client->backend = NULL;
        backend->client = NULL;
        startup_welcome(client, &backend->parameters);
        lease_rest(backend);
        client_go_on(client);
    } else if (go_on) {
        client_go_on(client);
    }
}

/* Gives it to the client, or brings it to the client's profile first. */
static void grant(struct backend *backend, struct client *client, bool go_on)
{
    if (backend->profile == client->profile) {
        lease_give(backend, client, go_on);
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

/* ---- Back ---- */

void lease_rest(struct backend *backend)
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
    backend_update_reading(backend);
    lease_serve(backend->hub);
}

void lease_connected(struct backend *backend)
{
    backend->profile = profile_use(backend->hub->plain);
    if (hub_now() - backend->hub->surveyed_at > SURVEY_S)
        session_survey(backend);
    else
        lease_fresh(backend);
}

void lease_fresh(struct backend *backend)
{
    backend_set(backend, BACKEND_IDLE);
    backend_update_reading(backend);
    /* It was opened for a client of its role; another role gets it after that at the earliest. */
    struct client *client = TAILQ_FIRST(&backend->role->waiting);
    if (client != NULL) {
        dequeue(client);
        grant(backend, client, true);
    }
    lease_serve(backend->hub);
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
            client_fail_with(client, &role->failure);
        else
            client_fail(client, "53300",
                        "timed out after %d s waiting for one of the %d server connections", wait_s,
                        client->hub->options.connection_limit);
    }
}

/* What the database has in it may change at any time. */
static void survey(struct passthrough *hub, double now)
{
    struct backend *idle = TAILQ_FIRST(&hub->idle);
    if (hub->leased_since && idle != NULL && now - hub->surveyed_at > SURVEY_S)
        session_survey(idle);
}

void lease_tick(struct passthrough *hub, double now)
{
    survey(hub, now);
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++)
        fail_waiting(&hub->roles[i], now, hub->options.wait_s);
    struct backend *backend, *next;
    for (backend = TAILQ_FIRST(&hub->backends); backend != NULL; backend = next) {
        next = TAILQ_NEXT(backend, link);
        /* A cancel that came before the server had begun with the query was in vain. */
        if (backend->state == BACKEND_DRAINING && backend->expected_count > 0 &&
            backend->cancels == 0)
            cancel_backend(backend);
        if (backend->state == BACKEND_IDLE && now - backend->since > IDLE_S)
            backend_close(backend, "idle");
        else if ((backend->state == BACKEND_DRAINING || backend->state == BACKEND_ERRAND) &&
                 now - backend->since > DRAIN_S)
            backend_close(backend, "it did not come to an end in time");
    }
    lease_serve(hub);
}
