/* api_status.c: is it up, is it ready, and the figures. */
#include "tools/tekupd/api/api.h"

#include "storage/passthrough/passthrough.h"
#include "storage/vault/vault_search.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/mirror/active.h"
#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/model_keeper.h"
#include "tools/tekupd/models.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void api_healthz(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    (void)daemon;
    json_put_open(&body, '{');
    json_field_text(&body, "status", "ok");
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}

void api_readyz(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    bool loading;
    char reason[600];
    const bool ready = daemon_is_ready(daemon, &loading, reason, sizeof(reason));
    json_put_open(&body, '{');
    json_field_text(&body, "status", ready ? "ready" : loading ? "loading" : "degraded");
    if (!ready) json_field_text(&body, "reason", reason);
    json_put_close(&body, '}');
    http_respond(request, ready ? 200 : 503, &body);
}

static void put_follower(struct buffer *body, const struct follower_report *report)
{
    json_put_key(body, "follower");
    json_put_open(body, '{');
    json_field_text(body, "state", follower_state_name(report->state));
    json_field_text(body, "reason", report->reason[0] != '\0' ? report->reason : NULL);
    json_field_integer(body, "applied", (int64_t)report->applied);
    json_field_text(body, "identity", report->answering ? report->identity : NULL);
    json_field_text(body, "startedFrom",
                    !report->answering      ? NULL
                    : report->from_snapshot ? "snapshot"
                                            : "database");
    json_put_key(body, "loading");
    if (report->state == FOLLOWER_LOADING) {
        json_put_open(body, '{');
        json_field_integer(body, "documents", (int64_t)report->documents);
        json_field_integer(body, "embeddings", (int64_t)report->embeddings);
        json_field_integer(body, "ofDocuments", (int64_t)report->all_documents);
        json_field_integer(body, "ofEmbeddings", (int64_t)report->all_embeddings);
        json_put_close(body, '}');
    } else {
        json_put_null(body);
    }
    json_put_close(body, '}');
}

static void put_snapshot(struct daemon *daemon, struct buffer *body)
{
    struct saver_report report;
    follower_get_snapshots(daemon->follower, &report);
    json_put_key(body, "snapshot");
    json_put_open(body, '{');
    json_field_boolean(body, "saving", report.saving);
    json_field_time(body, "savedAt", report.saved_at);
    json_field_number(body, "seconds", report.took_s, 4);
    json_field_integer(body, "changesSince", (int64_t)report.touched);
    json_field_text(body, "error", report.error[0] != '\0' ? report.error : NULL);
    json_put_close(body, '}');
}

static void put_index(struct daemon *daemon, struct buffer *body)
{
    struct follower_report report;
    struct replica_stats stats = {.index.kernel = ""};
    const size_t ef = atomic_load(&daemon->ef);
    json_put_key(body, "index");
    if (daemon->follower == NULL) {
        json_put_null(body);
        return;
    }
    struct replica *replica = mirror_use(&daemon->mirror);
    if (replica != NULL) replica_get_stats(replica, &stats);
    replica_release(replica);
    follower_get(daemon->follower, &report);
    json_put_open(body, '{');
    json_field_integer(body, "vectors", (int64_t)stats.index.count);
    json_field_integer(body, "documents", (int64_t)stats.catalog.documents);
    json_field_integer(body, "bytes", (int64_t)(stats.index.bytes + stats.catalog.bytes));
    json_field_integer(body, "layers", stats.index.layers);
    json_field_number(body, "meanNeighbours", stats.index.mean_neighbours, 4);
    json_field_text(body, "kernel", *stats.index.kernel != '\0' ? stats.index.kernel : NULL);
    json_field_integer(body, "ef", ef > 0 ? (int64_t)ef : stats.index.ef_search);
    json_field_integer(body, "searches", (int64_t)stats.index.searches);
    json_field_boolean(body, "loaded", report.answering);
    json_field_number(body, "loadSeconds", report.load_seconds, 4);
    json_put_close(body, '}');
    put_follower(body, &report);
    put_snapshot(daemon, body);
}

/* approximate: whether the database has an index that searches may go by; null where searches are
 * not the database's, and where it cannot be asked. */
static void put_search(struct daemon *daemon, struct buffer *body)
{
    bool approximate = false;
    json_put_key(body, "search");
    json_put_open(body, '{');
    json_field_text(body, "backend", daemon->config.search_backend);
    json_put_key(body, "approximate");
    if (daemon->follower == NULL && health_get(&daemon->health).connected &&
        vault_search_index(daemon->pool, &approximate, NULL) == 0)
        json_put_boolean(body, approximate);
    else
        json_put_null(body);
    json_put_close(body, '}');
}

static void put_count(struct buffer *body, const char *name, bool known, int64_t value)
{
    if (known)
        json_field_integer(body, name, value);
    else
        json_field_raw(body, name, NULL);
}

static void put_database(struct daemon *daemon, struct buffer *body)
{
    struct vault_counts counts = {0};
    struct pool_stats pool;
    struct error err = {0};
    struct health_report health = health_get(&daemon->health);
    const bool counted =
        health.connected && health.migrated && vault_count(daemon->pool, &counts, &err) == 0;
    const bool lost = health.connected && health.migrated && !counted;
    const char *error = lost ? err.message : health.connected ? NULL : health.reason;
    pool_get_stats(daemon->pool, &pool);
    json_put_key(body, "database");
    json_put_open(body, '{');
    json_field_boolean(body, "connected", health.connected && !lost);
    json_field_text(body, "error", error);
    json_field_boolean(body, "private", daemon->cluster != NULL);
    json_field_text(body, "identity", health.migrated ? health.identity : NULL);
    json_field_text(body, "serverVersion",
                    health.server_version[0] != '\0' ? health.server_version : NULL);
    json_put_key(body, "pgvector");
    if (health.migrated)
        json_put_boolean(body, health.schema.pgvector);
    else
        json_put_null(body);
    json_put_key(body, "dblink");
    if (health.migrated)
        json_put_boolean(body, health.schema.dblink);
    else
        json_put_null(body);
    put_count(body, "schemaVersion", health.migrated, health.schema.version);
    put_count(body, "documents", counted, counts.documents);
    put_count(body, "embeddings", counted, counts.embeddings);
    put_count(body, "chunks", counted, counts.chunks);
    json_put_key(body, "pool");
    json_put_open(body, '{');
    json_field_integer(body, "size", pool.size);
    json_field_integer(body, "open", pool.open);
    json_field_integer(body, "leased", pool.leased);
    json_field_integer(body, "waiting", pool.waiting);
    json_put_close(body, '}');
    json_put_close(body, '}');
}

static void put_role(struct buffer *body, const struct passthrough_role_figures *role)
{
    json_put_open(body, '{');
    json_field_text(body, "role", role->name);
    json_field_integer(body, "clients", role->clients);
    json_field_integer(body, "connections", role->connections);
    json_field_integer(body, "leased", role->leased);
    json_field_integer(body, "waiting", role->waiting);
    json_field_integer(body, "pinned", role->pinned);
    json_put_key(body, "pins");
    json_put_open(body, '{');
    for (int pin = 0; pin < PINS; pin++)
        json_field_integer(body, passthrough_pin_names[pin], role->pins[pin]);
    json_put_close(body, '}');
    json_field_integer(body, "leases", (int64_t)role->leases);
    json_field_integer(body, "transactions", (int64_t)role->transactions);
    json_field_integer(body, "waits", (int64_t)role->waits);
    json_field_number(body, "waitSeconds", (double)role->wait_us / 1e6, 6);
    json_field_integer(body, "timeouts", (int64_t)role->timeouts);
    json_field_integer(body, "opened", (int64_t)role->opened);
    json_field_integer(body, "lost", (int64_t)role->lost);
    json_field_integer(body, "receivedBytes", (int64_t)role->received);
    json_field_integer(body, "sentBytes", (int64_t)role->sent);
    json_put_close(body, '}');
}

static void put_passthrough(struct daemon *daemon, struct buffer *body)
{
    struct passthrough_figures figures;
    json_put_key(body, "passthrough");
    if (daemon->passthrough == NULL) {
        json_put_null(body);
        return;
    }
    passthrough_get_figures(daemon->passthrough, &figures);
    json_put_open(body, '{');
    json_field_integer(body, "clients", figures.clients);
    json_field_integer(body, "clientLimit", figures.client_limit);
    json_field_integer(body, "connections", figures.connections);
    json_field_integer(body, "connectionLimit", figures.connection_limit);
    json_field_integer(body, "refused", (int64_t)figures.refused);
    json_put_key(body, "roles");
    json_put_open(body, '[');
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) put_role(body, &figures.roles[i]);
    json_put_close(body, ']');
    json_put_close(body, '}');
}

/* Of the model: as the daemon that leads tells it, or why nobody is at it. */
static void put_change(struct daemon *daemon, struct buffer *body)
{
    struct model_state state = {0};
    struct model_keeper *keeper = atomic_load(&daemon->model_keeper);
    const char *wanted = models_wanted(daemon->models);
    json_put_key(body, "change");
    if (keeper != NULL) model_keeper_get(keeper, &state);
    if (keeper == NULL || (state.wanted[0] == '\0' && strcmp(state.serving, wanted) == 0)) {
        json_put_null(body);
        return;
    }
    json_put_open(body, '{');
    json_field_text(body, "to", state.wanted[0] != '\0' ? state.wanted : wanted);
    json_field_integer(body, "done", state.done);
    json_field_integer(body, "total", state.total);
    json_field_integer(body, "refused", state.refused);
    json_field_text(body, "error",
                    state.error[0] != '\0'    ? state.error
                    : state.wanted[0] != '\0' ? NULL
                                              : "the daemon that leads has not begun with it");
    json_put_close(body, '}');
}

static void put_embedding(struct daemon *daemon, struct buffer *body)
{
    const char *model = models_serving(daemon->models);
    const struct embedder *embedder = models_embedder(daemon->models, model, NULL);
    json_put_key(body, "embedding");
    json_put_open(body, '{');
    json_field_text(body, "provider", embedder != NULL ? embedder_provider(embedder) : NULL);
    json_field_text(body, "model", model);
    json_field_integer(body, "dimensions", EMBEDDING_DIM);
    put_change(daemon, body);
    json_put_close(body, '}');
}

static void put_syncs(struct daemon *daemon, struct buffer *body)
{
    struct active active;
    size_t running = 0;
    active_get(atomic_load(&daemon->syncer), &active, NULL);
    for (size_t i = 0; i < active.count; i++) running += active.rows[i].running;
    json_put_key(body, "syncs");
    json_put_open(body, '{');
    json_field_integer(body, "queued", (int64_t)(active.count - running));
    json_field_integer(body, "running", (int64_t)running);
    json_put_close(body, '}');
    active_free(&active);
}

void api_status(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    struct error err = {0};
    struct timespec now;
    struct syncer *syncer = atomic_load(&daemon->syncer);
    bool loading;
    char reason[600];
    if (api_no_query(request, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double uptime = (double)(now.tv_sec - daemon->began.tv_sec) +
                          (double)(now.tv_nsec - daemon->began.tv_nsec) / 1e9;
    json_put_open(&body, '{');
    json_field_text(&body, "version", TEKUP_VERSION);
    json_field_integer(&body, "pid", getpid());
    json_field_number(&body, "uptimeSeconds", uptime, 10);
    json_field_boolean(&body, "ready", daemon_is_ready(daemon, &loading, reason, sizeof(reason)));
    json_field_boolean(&body, "leader", syncer != NULL && syncer_leads(syncer));
    put_search(daemon, &body);
    put_index(daemon, &body);
    put_database(daemon, &body);
    put_passthrough(daemon, &body);
    put_embedding(daemon, &body);
    json_field_text(&body, "run", daemon->config.run);
    json_field_text(&body, "data", daemon->config.data);
    json_field_text(&body, "config", daemon->config.file[0] != '\0' ? daemon->config.file : NULL);
    put_syncs(daemon, &body);
    json_put_key(&body, "events");
    json_put_open(&body, '{');
    json_field_integer(&body, "clients", (int64_t)events_count(daemon->events));
    json_put_close(&body, '}');
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}
