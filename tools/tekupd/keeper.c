#include "tools/tekupd/keeper.h"

#include "storage/base/log.h"
#include "storage/model.h"
#include "storage/passthrough/passthrough.h"
#include "storage/sources.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/model_keeper.h"
#include "tools/tekupd/models.h"
#include "tools/tekupd/search/words_keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_S = 1, LOOK_S = 5, LEASE_MS = 2000 };

/* `lock` protects woken and stopping; `changed` is signalled for both. */
struct keeper {
    struct daemon *daemon;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken, stopping;
    bool joined; /* keeper_stop's own */
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
    if (daemon->follower != NULL || schema->pgvector) return 0;
    return error_set(
        err, ERR_INVALID, "search.backend",
        "search.backend = postgres needs embeddings of pgvector's type vector(1536), "
        "and those of this database are real[]: it was made without the extension; "
        "leave search.backend at index, or convert them first, with \"tekup db pgvector\"");
}

/* What is looked at whenever the database is another one than before. */
static int settle_in(struct daemon *daemon, struct error *err)
{
    struct migration_result schema;
    char identity[FEED_IDENTITY_SIZE];
    size_t recovered;
    if (migrate(daemon->pool, &schema, err) != 0) return -1;
    if (door_identify(daemon->pool, identity, err) != 0) return -1;
    if (schema.applied > 0)
        log_info("database.migrated", "applied=%d version=%d pgvector=%s", schema.applied,
                 schema.version, schema.pgvector ? "yes" : "no");
    if (check_backend(daemon, &schema, err) != 0) return -1;
    if (sync_status_recover(daemon->pool, &recovered, err) != 0) return -1;
    if (recovered > 0) log_info("sync.recovered", "interrupted=%zu", recovered);
    /* What is synced from here on is embedded by the model that serves. */
    if (model_establish(daemon->pool, models_wanted(daemon->models), err) != 0) return -1;
    if (models_renew(daemon->models, err) != 0) return -1;
    health_migrated(&daemon->health, &schema, identity);
    return 0;
}

static int migrate_and_recover(struct daemon *daemon, struct error *err)
{
    if (look(daemon, err) != 0) {
        if (err->code != ERR_CANCELLED) err->code = ERR_UNAVAILABLE; /* it may come */
        return -1;
    }
    if (settle_in(daemon, err) != 0) return -1;
    if (daemon->passthrough != NULL) passthrough_begin(daemon->passthrough);
    struct syncer *syncer = syncer_create(&daemon->pipeline, daemon->config.sync_threads, err);
    if (syncer == NULL) return -1;
    atomic_store(&daemon->syncer, syncer);
    struct model_keeper *model_keeper = model_keeper_create(daemon, err);
    if (model_keeper == NULL) return -1;
    atomic_store(&daemon->model_keeper, model_keeper);
    struct words_keeper *words_keeper = words_keeper_create(daemon, err);
    if (words_keeper == NULL) return -1;
    atomic_store(&daemon->words_keeper, words_keeper);
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

/* Orphans cost room and nothing else; a database that does not let go of them is no reason to stop.
 */
static void sweep(struct daemon *daemon)
{
    struct error err = {0};
    if (vault_sweep_chunks(daemon->pool, &err) != 0)
        log_warn("vault.sweep_failed", "reason=%s", log_quote(err.message));
}

/* Whether another database has taken the place of the one that was there: a backup was restored.
 * Its rows may be of an older version, and those who follow it do not all notice by themselves. */
static bool is_another(struct daemon *daemon)
{
    char identity[FEED_IDENTITY_SIZE];
    struct error err = {0};
    if (is_only_busy(daemon->pool) || door_identify(daemon->pool, identity, &err) != 0)
        return false;
    if (strcmp(identity, health_get(&daemon->health).identity) == 0) return false;
    log_info("database.replaced", "identity=%s", log_quote(identity));
    if (settle_in(daemon, &err) != 0) {
        log_error("database.replaced", "error=%s", log_quote(err.message));
        return false;
    }
    if (daemon->follower != NULL) follower_look_anew(daemon->follower, identity);
    return true;
}

static void keep(struct keeper *keeper)
{
    struct daemon *daemon = keeper->daemon;
    do {
        struct error err = {0};
        const bool was = health_get(&daemon->health).connected;
        if (look(daemon, &err) != 0) {
            health_lost(&daemon->health, &err);
        } else {
            if (!was && daemon->follower != NULL) follower_wake(daemon->follower);
            const bool another = is_another(daemon);
            index_door_keep(daemon, !was || another);
        }
    } while (pause_for(keeper, health_get(&daemon->health).connected ? LOOK_S : RETRY_S));
}

static void *run(void *arg)
{
    struct keeper *keeper = arg;
    struct daemon *daemon = keeper->daemon;
    if (insist(keeper, migrate_and_recover) != 0) return NULL;
    index_door_keep(daemon, true);
    if (daemon->follower != NULL)
        follower_begin(daemon->follower);
    else
        log_info("daemon.ready", "run=%s data=%s", log_quote(daemon->config.run),
                 log_quote(daemon->config.data));
    sweep(daemon);
    if (pause_for(keeper, LOOK_S)) keep(keeper);
    index_door_leave(daemon);
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
