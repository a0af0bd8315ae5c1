#include "tools/tekupd/daemon.h"

#include "ingest/clock.h"
#include "ingest/http/http_client.h"
#include "storage/base/log.h"
#include "storage/passthrough/passthrough.h"
#include "storage/pool_watch.h"
#include "tools/tekupd/api/api.h"
#include "tools/tekupd/heap.h"
#include "tools/tekupd/http/guard.h"
#include "tools/tekupd/keeper.h"
#include "tools/tekupd/map/mapper.h"
#include "tools/tekupd/metrics/speed.h"
#include "tools/tekupd/mirror/chores.h"
#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/mirror/recall_meter.h"
#include "tools/tekupd/model_keeper.h"
#include "tools/tekupd/models.h"
#include "tools/tekupd/search/words_keeper.h"
#include "tools/tekupd/sql/index_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    MOST_LOOPS = 64, /* they answer short searches themselves */
    SEARCH_QUEUE = 1024,
    ASKERS = 8,
    CLERK_QUEUE = 256,
    DRAIN_MS = 10000,
    SPARE_FILES = 256, /* for everything but the clients of the pass-through */
    FLUSH_MS = 2000,   /* for the answers of calls that took longer than that */
};

static int processors(void)
{
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

/* ---- Up -------------------------------------------------------------------------------------- */

/* Every client takes a descriptor; the system's first offer is often small. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_database(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    const char *conninfo = config->database_url;
    if (*conninfo == '\0') {
        daemon->cluster = cluster_open(config->data, config->run, err);
        if (daemon->cluster == NULL) return -1;
        conninfo = cluster_conninfo(daemon->cluster);
    }
    daemon->pool = pool_create(conninfo, config->pool_size, err);
    if (daemon->pool == NULL) return -1;
    daemon->pool_watch = pool_watch_create(daemon->pool, err);
    return daemon->pool_watch != NULL ? 0 : -1;
}

static int open_outgoing(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    const struct http_client_options options = {.user_agent = "tekupdb/" TEKUP_VERSION,
                                                .ca_file = config->outgoing_ca_file,
                                                .proxy = config->outgoing_proxy,
                                                .per_host = config->outgoing_per_host};
    daemon->outgoing = http_client_create(&options, err);
    return daemon->outgoing != NULL ? 0 : -1;
}

static int open_pipeline(struct daemon *daemon, struct error *err)
{
    daemon->pipeline = (struct pipeline){.pool = daemon->pool, .http = daemon->outgoing};
    daemon->models = models_create(&daemon->config, daemon->outgoing, &daemon->pipeline, err);
    return daemon->models != NULL ? 0 : -1;
}

/* What is wrong with the vault or the index from the start will not pass by itself. */
static void cannot_follow(void *arg, const struct error *err)
{
    struct daemon *daemon = arg;
    log_error("daemon.failed", "error=%s", log_quote(err->message));
    daemon->failed(daemon->failed_arg);
}

static void say_ready(void *arg)
{
    const struct config *config = &((struct daemon *)arg)->config;
    log_info("daemon.ready", "run=%s data=%s", log_quote(config->run), log_quote(config->data));
    systemd_notify("STATUS=Answering searches");
}

static void settle(void *arg)
{
    follower_wait(((struct daemon *)arg)->follower);
}

static int open_follower(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    struct follower_options options = {
        .pool = daemon->pool,
        .mirror = &daemon->mirror,
        .models = daemon->models,
        .data = config->data,
        .snapshot_changes = config->snapshot_changes,
        .snapshot_minutes = config->snapshot_minutes,
        .ready = say_ready,
        .failed = cannot_follow,
        .arg = daemon,
    };
    atomic_store(&daemon->ef, (size_t)config->index_ef);
    if (strcmp(config->search_backend, "postgres") == 0) return 0;
    tk_index_options_init(&options.index);
    options.index.dim = EMBEDDING_DIM;
    if (config->index_max_neighbours > 0)
        options.index.max_neighbours = (uint32_t)config->index_max_neighbours;
    if (config->index_ef_construction > 0)
        options.index.ef_construction = (uint32_t)config->index_ef_construction;
    systemd_notify("STATUS=Loading the index");
    daemon->follower = follower_create(&options, err);
    if (daemon->follower == NULL) return -1;
    daemon->chores = chores_create(&options, daemon->follower, err);
    if (daemon->chores == NULL) return -1;
    daemon->recall_meter = recall_meter_create(&daemon->mirror, err);
    if (daemon->recall_meter == NULL) return -1;
    daemon->mapper = mapper_create(&daemon->mirror, err);
    if (daemon->mapper == NULL) return -1;
    daemon->speed = speed_create(clock_now());
    if (daemon->speed == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    daemon->pipeline.listener = (struct vault_listener){.settle = settle, .arg = daemon};
    return 0;
}

static int open_workers(struct daemon *daemon, struct error *err)
{
    const int searchers = processors() > 2 ? processors() : 2;
    daemon->searchers = workers_create("tekupd-search", searchers, SEARCH_QUEUE, err);
    if (daemon->searchers == NULL) return -1;
    daemon->askers = workers_create("tekupd-embed", ASKERS, SEARCH_QUEUE, err);
    if (daemon->askers == NULL) return -1;
    daemon->clerks = workers_create("tekupd-clerk", daemon->config.pool_size, CLERK_QUEUE, err);
    return daemon->clerks != NULL ? 0 : -1;
}

/* The socket that was given, or one that is made; a given one is the listener's from now on. */
static int listen_on(const struct daemon *daemon, int *given, const char *name, int mode,
                     const char *group, struct listener *listener, struct error *err)
{
    if (*given < 0) return listener_open(daemon->config.run, name, mode, group, listener, err);
    listener_take(*given, listener);
    *given = -1;
    return 0;
}

static int open_guard(struct daemon *daemon, struct error *err)
{
    daemon->guard = guard_create(&daemon->config, err);
    return daemon->guard != NULL ? 0 : -1;
}

static const char *admit(void *context, const struct http_caller *caller, int *status)
{
    const struct daemon *daemon = context;
    return guard_admit(daemon->guard, caller, status);
}

static int open_http(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    if (listen_on(daemon, &daemon->sockets.http, PATHS_SOCKET, config->socket_mode,
                  config->socket_group, &daemon->listener, err) != 0)
        return -1;
    int threads = config->http_threads;
    if (threads == 0) threads = processors() < MOST_LOOPS ? processors() : MOST_LOOPS;
    const struct http_options options = {
        .fd = daemon->listener.fd,
        .threads = threads,
        .max_body = config->max_body,
        .idle_timeout = config->idle_timeout,
        .wake_latency = config->wake_latency >= 0 ? &config->wake_latency : NULL,
        .routes = api_routes,
        .route_count = api_route_count,
        .context = daemon,
        .admit = admit,
        .tally = &daemon->answered,
    };
    daemon->http = http_server_create(&options, err);
    if (daemon->http == NULL) return -1;
    return guard_begin(daemon->guard, daemon->http, err);
}

static int open_keeper(struct daemon *daemon, struct error *err)
{
    daemon->keeper = keeper_create(daemon, err);
    return daemon->keeper != NULL ? 0 : -1;
}

static int open_events(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    const struct events_options options = {
        .pool = daemon->pool,
        .data = config->data,
        .clients = config->event_clients,
        .buffer = (size_t)config->event_buffer,
        .keep_s = config->event_keep,
        .trims = daemon->follower == NULL,
    };
    daemon->events = events_create(&options, err);
    return daemon->events != NULL ? 0 : -1;
}

/* How each role connects where DATABASE_URL and its name are not enough. */
static const char *role_url(size_t role)
{
    static const char *const variables[PASSTHROUGH_ROLES] = {
        "TEKUP_ADMIN_DATABASE_URL", "TEKUP_VAULT_DATABASE_URL", "TEKUP_BILLY_DATABASE_URL",
        "TEKUP_RENOS_DATABASE_URL", "TEKUP_CRM_DATABASE_URL",   "TEKUP_FLOW_DATABASE_URL"};
    return getenv(variables[role]);
}

/* What the descriptors of this process allow. */
static int most_clients(int wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (rlim_t)wanted + SPARE_FILES)
        return wanted;
    const int most = limit.rlim_cur > 2 * SPARE_FILES ? (int)limit.rlim_cur - SPARE_FILES
                                                      : (int)limit.rlim_cur / 2;
    log_warn("passthrough.clients", "wanted=%d allowed=%d reason=%s", wanted, most,
             log_quote("the process may have too few open files (ulimit -n)"));
    return most;
}

static int open_passthrough(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    if (strcmp(config->passthrough, "off") == 0) {
        if (daemon->sockets.postgresql >= 0) {
            close(daemon->sockets.postgresql);
            daemon->sockets.postgresql = -1;
            log_warn("passthrough.off", "hint=%s",
                     log_quote("systemd listens on its socket all the same, for nobody: "
                               "systemctl mask --now tekupd-postgresql.socket"));
        }
        return 0;
    }
    if (listen_on(daemon, &daemon->sockets.postgresql, PASSTHROUGH_SOCKET, config->passthrough_mode,
                  config->passthrough_group, &daemon->passthrough_listener, err) != 0)
        return -1;
    struct passthrough_options options = {
        .fd = daemon->passthrough_listener.fd,
        .conninfo =
            daemon->cluster != NULL ? cluster_conninfo(daemon->cluster) : config->database_url,
        .connection_limit = config->connection_limit,
        .clients = most_clients(config->passthrough_clients),
        .wait_s = config->wait_timeout,
        .allow = {config->allow_admin, config->allow_vault, config->allow_billy,
                  config->allow_renos, config->allow_crm, config->allow_flow},
        .query = index_session_query,
        .password = index_session_password,
        .arg = daemon,
    };
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) options.urls[i] = role_url(i);
    daemon->passthrough = passthrough_create(&options, err);
    if (daemon->passthrough == NULL) return -1;
    log_info("passthrough.listen", "socket=%s%s", log_quote(daemon->passthrough_listener.path),
             daemon->passthrough_listener.given ? " from=systemd" : "");
    return 0;
}

static int open_data(struct daemon *daemon, struct error *err)
{
    const struct config *config = &daemon->config;
    if (datadir_open(config->run, config->data, &daemon->datadir, err) != 0) return -1;
    return daemon->sockets.http >= 0 ? 0 : listener_check(config->run, PATHS_SOCKET, err);
}

int daemon_start(struct daemon *daemon, const atomic_bool *stopping, struct error *err)
{
    /* The keeper comes before the calls, which wake it. */
    static int (*const steps[])(struct daemon *, struct error *) = {
        open_data,    open_guard,       open_database, open_outgoing, open_pipeline, open_follower,
        open_workers, open_passthrough, open_keeper,   open_events,   open_http};
    clock_gettime(CLOCK_MONOTONIC, &daemon->began);
    daemon->started = time(NULL);
    daemon->datadir.lock = -1;
    daemon->listener.fd = -1;
    daemon->passthrough_listener.fd = -1;
    health_init(&daemon->health);
    search_figures_init(&daemon->searched);
    index_door_init(&daemon->index_door);
    mirror_init(&daemon->mirror);
    raise_descriptor_limit();
    log_info("daemon.start", "version=%s pid=%ld run=%s data=%s config=%s", TEKUP_VERSION,
             (long)getpid(), log_quote(daemon->config.run), log_quote(daemon->config.data),
             log_quote(daemon->config.file));
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        if (atomic_load(stopping)) return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        if (steps[i](daemon, err) != 0) return -1;
    }
    log_info("http.listen", "socket=%s%s", log_quote(daemon->listener.path),
             daemon->listener.given ? " from=systemd" : "");
    return 0;
}

/* ---- Down ------------------------------------------------------------------------------------ */

void daemon_stop(struct daemon *daemon)
{
    struct error err = {0};
    log_info("daemon.stopping", "pid=%ld", (long)getpid());
    systemd_notify("STOPPING=1\nSTATUS=Finishing what is under way");
    chores_stop(daemon->chores);
    recall_meter_stop(daemon->recall_meter);
    mapper_stop(daemon->mapper);
    /* Calls that are under way may still tell it something, and may use the syncer. */
    keeper_stop(daemon->keeper);
    model_keeper_stop(atomic_load(&daemon->model_keeper));
    words_keeper_stop(atomic_load(&daemon->words_keeper));
    events_stop(daemon->events);
    passthrough_stop(daemon->passthrough);
    guard_stop(daemon->guard);
    if (daemon->http != NULL) {
        const int left = http_server_drain(daemon->http, DRAIN_MS);
        if (left > 0) log_warn("http.drain", "unfinished=%d", left);
    }
    /* What is queued still runs, so that every request is answered before the loops end; calls to
     * other services come to nothing. */
    http_client_stop(daemon->outgoing);
    workers_free(daemon->searchers);
    workers_free(daemon->askers);
    workers_free(daemon->clerks);
    recall_meter_free(daemon->recall_meter);
    mapper_free(daemon->mapper);
    /* Writes that wait for the index are answered, too. */
    follower_stop(daemon->follower);
    if (daemon->http != NULL) http_server_drain(daemon->http, FLUSH_MS);
    http_server_free(daemon->http);
    guard_free(daemon->guard);
    passthrough_free(daemon->passthrough);
    listener_close(&daemon->passthrough_listener);
    listener_close(&daemon->listener);
    keeper_free(daemon->keeper);
    events_free(daemon->events);
    struct syncer *syncer = atomic_exchange(&daemon->syncer, NULL);
    if (syncer != NULL) syncer_free(syncer);
    chores_free(daemon->chores);
    speed_free(daemon->speed);
    follower_free(daemon->follower);
    mirror_destroy(&daemon->mirror);
    model_keeper_free(atomic_exchange(&daemon->model_keeper, NULL));
    words_keeper_free(atomic_exchange(&daemon->words_keeper, NULL));
    models_free(daemon->models);
    http_client_free(daemon->outgoing);
    pool_watch_free(daemon->pool_watch);
    pool_free(daemon->pool);
    if (daemon->cluster != NULL && cluster_close(daemon->cluster, &err) != 0)
        log_error("cluster.stop", "error=%s", log_quote(err.message));
    datadir_close(&daemon->datadir);
    health_destroy(&daemon->health);
    index_door_destroy(&daemon->index_door);
    log_info("daemon.stopped", "pid=%ld", (long)getpid());
}

/* ---- While it runs --------------------------------------------------------------------------- */

void daemon_tick(struct daemon *daemon)
{
    guard_sweep(daemon->guard);
    heap_tend();
}

void daemon_reconfigure(struct daemon *daemon, const struct config *config)
{
    struct buffer live = {0}, restart = {0};
    struct config *running = &daemon->config;
    config_changes(running, config, true, &live);
    config_changes(running, config, false, &restart);
    running->log_level = config->log_level;
    running->max_body = config->max_body;
    running->index_ef = config->index_ef;
    log_set_level((enum log_level)config->log_level);
    http_server_set_max_body(daemon->http, config->max_body);
    atomic_store(&daemon->ef, (size_t)config->index_ef);
    log_info("config.reloaded", "file=%s changed=%s", log_quote(config->file),
             log_quote(live.data));
    if (restart.length > 0)
        log_warn("config.restart", "file=%s needs_a_restart=%s", log_quote(config->file),
                 log_quote(restart.data));
    buffer_free(&live);
    buffer_free(&restart);
}

bool daemon_is_alive(struct daemon *daemon)
{
    const bool http = http_server_is_alive(daemon->http);
    return (daemon->passthrough == NULL || passthrough_is_alive(daemon->passthrough)) && http;
}

bool daemon_is_ready(struct daemon *daemon, bool *loading, char *reason, size_t reason_size)
{
    const struct health_report health = health_get(&daemon->health);
    bool following = true;
    *reason = '\0';
    if (daemon->follower != NULL) {
        following = follower_is_ready(daemon->follower, loading, reason, reason_size);
    } else {
        *loading = !health.migrated;
        if (*loading) snprintf(reason, reason_size, "the database is not looked at yet");
    }
    if (!health.connected && health.reason[0] != '\0')
        snprintf(reason, reason_size, "%s", health.reason);
    return !*loading && following && health.connected;
}
