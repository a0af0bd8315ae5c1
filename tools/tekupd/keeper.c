#include "tools/tekupd/keeper.h"

#include "storage/base/log.h"
#include "storage/sources.h"
#include "tools/tekupd/active.h"
#include "tools/tekupd/daemon.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_S = 1, LOOK_S = 5, LEASE_MS = 2000 };

/* How long a lost connection, and a write, count as recent. */
enum { LOSS_S = 60, WRITE_S = 600 };

/* `lock` protects woken, doubtful and stopping; `changed` is signalled for all of them. */
struct keeper {
    struct daemon *daemon;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken, doubtful, stopping;
    bool joined; /* keeper_stop's own */
    /* The thread's own. */
    unsigned long long losses; /* of the pool, at the last look */
    double loss_s, sync_s;     /* when there was a new one; when a sync was last seen */
};

/* Waits for the time to pass or to be woken. Returns whether to go on. */
static bool pause_for(struct keeper *keeper, int seconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->woken && !keeper->stopping &&
           pthread_cond_timedwait(&keeper->changed, &keeper->lock, &end) == 0) {
    }
    keeper->woken = false;
    const bool go_on = !keeper->stopping;
    pthread_mutex_unlock(&keeper->lock);
    return go_on;
}

static bool is_stopping(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    const bool stopping = keeper->stopping;
    pthread_mutex_unlock(&keeper->lock);
    return stopping;
}

/* ---- Looking --------------------------------------------------------------------------------- */

/* A pool that is busy is not a server that is away. */
static bool is_only_busy(struct pool *pool)
{
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    return stats.leased >= stats.size;
}

static int probe(struct daemon *daemon, struct error *err)
{
    PGconn *conn = pool_lease(daemon->pool, LEASE_MS, err);
    if (conn == NULL) return is_only_busy(daemon->pool) ? 0 : -1;
    PGresult *result = PQexec(conn, "SELECT 1");
    int rc = 0;
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        rc = pool_error(conn, result, err);
    } else {
        const char *version = PQparameterStatus(conn, "server_version");
        char number[64] = "";
        if (version != NULL) strncpy(number, version, sizeof(number) - 1);
        number[strcspn(number, " ")] = '\0'; /* "15.10 (Debian 15.10-0+deb12u1)" */
        health_connected(&daemon->health, number);
    }
    PQclear(result);
    pool_release(daemon->pool, conn);
    return rc;
}

/* That the private server is gone is told before it is started again, which takes its time. */
static int look(struct daemon *daemon, struct error *err)
{
    if (probe(daemon, err) == 0) return 0;
    if (daemon->cluster == NULL) return -1;
    health_lost(&daemon->health, err);
    if (cluster_ensure(daemon->cluster, err) != 0) return -1;
    return probe(daemon, err);
}

/* ---- Coming up ------------------------------------------------------------------------------- */

/* Searches of the database need its embeddings to be pgvector's. */
static int check_backend(const struct daemon *daemon, const struct migration_result *schema,
                         struct error *err)
{
    if (daemon->mirror != NULL || schema->pgvector) return 0;
    return error_set(err, ERR_INVALID, "search.backend",
                     "search.backend = postgres needs embeddings of pgvector's type vector(1536), "
                     "and those of this database are real[]: it was made without the extension; "
                     "leave search.backend at index, or convert the column with pgvector");
}

static int migrate_and_recover(struct daemon *daemon, struct error *err)
{
    struct migration_result schema;
    size_t recovered;
    if (look(daemon, err) != 0) {
        if (err->code != ERR_CANCELLED) err->code = ERR_UNAVAILABLE; /* it may come */
        return -1;
    }
    if (migrate(daemon->pool, &schema, err) != 0) return -1;
    health_migrated(&daemon->health, &schema);
    if (schema.applied > 0)
        log_info("database.migrated", "applied=%d version=%d pgvector=%s", schema.applied,
                 schema.version, schema.pgvector ? "yes" : "no");
    if (check_backend(daemon, &schema, err) != 0) return -1;
    if (sync_status_recover(daemon->pool, &recovered, err) != 0) return -1;
    if (recovered > 0) log_info("sync.recovered", "interrupted=%zu", recovered);
    struct syncer *syncer = syncer_create(&daemon->pipeline, daemon->config.sync_threads, err);
    if (syncer == NULL) return -1;
    atomic_store(&daemon->syncer, syncer);
    return 0;
}

static int load(struct daemon *daemon, struct error *err)
{
    struct mirror_stats stats;
    if (daemon->mirror == NULL) return 0;
    if (mirror_load(daemon->mirror, daemon->pool, err) != 0) return -1;
    mirror_get_stats(daemon->mirror, &stats);
    log_info("mirror.loaded", "documents=%zu embeddings=%zu skipped=%zu seconds=%.2f",
             stats.catalog.documents, stats.catalog.embeddings, stats.skipped, stats.load_seconds);
    return 0;
}

/* Does one step of coming up until it succeeds. Returns -1 when it never will, or is to stop. */
static int insist(struct keeper *keeper, int (*step)(struct daemon *, struct error *))
{
    struct daemon *daemon = keeper->daemon;
    for (;;) {
        struct error err = {0};
        if (is_stopping(keeper)) return -1;
        if (step(daemon, &err) == 0) return 0;
        if (is_stopping(keeper) || err.code == ERR_CANCELLED) return -1;
        if (err.code != ERR_UNAVAILABLE) {
            log_error("daemon.failed", "error=%s", log_quote(err.message));
            daemon->failed(daemon->failed_arg);
            return -1;
        }
        health_lost(&daemon->health, &err);
        if (!pause_for(keeper, RETRY_S)) return -1;
    }
}

/* ---- Keeping --------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Connections that died and those that could not be made, ever. */
static unsigned long long count_losses(struct pool *pool)
{
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    return stats.failures + stats.opened - (unsigned long long)stats.open;
}

static bool syncs_are_active(struct daemon *daemon)
{
    struct active active;
    active_get(atomic_load(&daemon->syncer), &active, NULL);
    const bool any = active.count > 0;
    active_free(&active);
    return any;
}

/*
 * Whether something may be in the vault that the mirror was not told of: a connection was lost
 * lately, and a call's write failed or documents were being written. Comparing reads the whole
 * vault, so that it is not done for an idle connection that somebody cut.
 */
static bool is_in_doubt(struct keeper *keeper)
{
    struct daemon *daemon = keeper->daemon;
    const double time = now();
    if (daemon->mirror == NULL) return false;
    const unsigned long long losses = count_losses(daemon->pool);
    if (losses != keeper->losses) keeper->loss_s = time;
    keeper->losses = losses;
    if (syncs_are_active(daemon)) keeper->sync_s = time;
    const bool lost = keeper->loss_s > 0 && time - keeper->loss_s < LOSS_S;
    const bool wrote = (keeper->sync_s > 0 && time - keeper->sync_s < WRITE_S) ||
                       mirror_seconds_since_write(daemon->mirror) < WRITE_S;
    pthread_mutex_lock(&keeper->lock);
    const bool doubtful = lost && (keeper->doubtful || wrote);
    if (!lost) keeper->doubtful = false;
    pthread_mutex_unlock(&keeper->lock);
    return doubtful;
}

/* Compares the mirror with the vault. A loss from now on is a new one. */
static void compare(struct keeper *keeper)
{
    struct error err = {0};
    const double loss_s = keeper->loss_s;
    pthread_mutex_lock(&keeper->lock);
    keeper->doubtful = false;
    pthread_mutex_unlock(&keeper->lock);
    keeper->loss_s = 0;
    if (load(keeper->daemon, &err) == 0) return;
    log_warn("mirror.compare", "error=%s", log_quote(err.message));
    keeper->loss_s = loss_s;
    keeper_doubt(keeper);
}

static void keep(struct keeper *keeper)
{
    struct daemon *daemon = keeper->daemon;
    do {
        struct error err = {0};
        const bool doubtful = is_in_doubt(keeper);
        if (look(daemon, &err) != 0) {
            health_lost(&daemon->health, &err);
            continue;
        }
        if (doubtful) compare(keeper);
    } while (pause_for(keeper, health_get(&daemon->health).connected ? LOOK_S : RETRY_S));
}

static void *run(void *arg)
{
    struct keeper *keeper = arg;
    if (insist(keeper, migrate_and_recover) != 0) return NULL;
    keeper->losses = count_losses(keeper->daemon->pool);
    if (insist(keeper, load) != 0) return NULL;
    log_info("daemon.ready", "run=%s data=%s", log_quote(keeper->daemon->config.run),
             log_quote(keeper->daemon->config.data));
    if (pause_for(keeper, LOOK_S)) keep(keeper);
    return NULL;
}

/* ---- The thread ------------------------------------------------------------------------------ */

struct keeper *keeper_create(struct daemon *daemon, struct error *err)
{
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    keeper->daemon = daemon;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    if (pthread_create(&keeper->thread, NULL, run, keeper) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
        pthread_cond_destroy(&keeper->changed);
        pthread_mutex_destroy(&keeper->lock);
        free(keeper);
        return NULL;
    }
    pthread_setname_np(keeper->thread, "tekupd-keeper");
    return keeper;
}

static void signal_keeper(struct keeper *keeper, bool *flag)
{
    pthread_mutex_lock(&keeper->lock);
    *flag = true;
    pthread_cond_signal(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

void keeper_wake(struct keeper *keeper)
{
    signal_keeper(keeper, &keeper->woken);
}

void keeper_doubt(struct keeper *keeper)
{
    signal_keeper(keeper, &keeper->doubtful);
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper == NULL || keeper->joined) return;
    signal_keeper(keeper, &keeper->stopping);
    pthread_join(keeper->thread, NULL);
    keeper->joined = true;
}

void keeper_free(struct keeper *keeper)
{
    if (keeper == NULL) return;
    keeper_stop(keeper);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
