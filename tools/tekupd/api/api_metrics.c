/* api_metrics.c: GET /metrics, the daemon's figures in the text form of Prometheus. */
#include "tools/tekupd/api/api.h"

#include "storage/passthrough/passthrough.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/metrics/metrics_passthrough.h"
#include "tools/tekupd/metrics/prometheus.h"
#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/model_keeper.h"
#include "tools/tekupd/models.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef const struct prometheus_label labels[];

/* ---- The process, as Prometheus's own clients name it ---------------------------------------- */

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static long resident_pages(void)
{
    long size, resident = 0;
    FILE *stream = fopen("/proc/self/statm", "re");
    if (stream == NULL) return 0;
    if (fscanf(stream, "%ld %ld", &size, &resident) != 2) resident = 0;
    fclose(stream);
    return resident;
}

static long open_descriptors(void)
{
    long count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count - 3; /* ".", ".." and the directory's own */
}

static void put_process(struct daemon *daemon, struct buffer *out)
{
    struct rusage usage;
    struct rlimit limit;
    prometheus_family(out, "tekupdb_build_info", "gauge", "1, with the version of tekupd");
    prometheus_count(out, "tekupdb_build_info", (labels){{"version", TEKUP_VERSION}, {NULL, NULL}},
                     1);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        prometheus_family(out, "process_cpu_seconds_total", "counter",
                          "Time of processors that was used");
        prometheus_number(out, "process_cpu_seconds_total", NULL,
                          seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime));
    }
    prometheus_gauge(out, "process_resident_memory_bytes", "Memory that is in use",
                     (double)resident_pages() * (double)sysconf(_SC_PAGESIZE));
    prometheus_gauge(out, "process_open_fds", "Descriptors that are open",
                     (double)open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        prometheus_gauge(out, "process_max_fds", "Descriptors that may be open",
                         (double)limit.rlim_cur);
    prometheus_gauge(out, "process_start_time_seconds", "When it was started, since 1970",
                     (double)daemon->started);
}

static void put_standing(struct daemon *daemon, struct buffer *out)
{
    struct syncer *syncer = atomic_load(&daemon->syncer);
    bool loading;
    char reason[600];
    prometheus_gauge(out, "tekupdb_ready", "Whether searches and writes are taken (GET /readyz)",
                     daemon_is_ready(daemon, &loading, reason, sizeof(reason)));
    prometheus_gauge(out, "tekupdb_database_connected", "Whether PostgreSQL answers",
                     health_get(&daemon->health).connected);
    prometheus_gauge(out, "tekupdb_leader",
                     "Whether this daemon starts the scheduled syncs of its database",
                     syncer != NULL && syncer_leads(syncer));
    prometheus_gauge(out, "tekupdb_events_clients", "Clients of GET /v1/events",
                     (double)events_count(daemon->events));
}

static void put_answers(struct daemon *daemon, struct buffer *out)
{
    static const char name[] = "tekupdb_http_responses_total";
    char status[8];
    /* Some are there from the start, for Prometheus to see that they grow. */
    prometheus_family(out, name, "counter", "Answers to HTTP requests, by their status");
    for (int i = 100; i < HTTP_STATUSES; i++) {
        const uint64_t count = atomic_load(&daemon->answered.answers[i]);
        snprintf(status, sizeof(status), "%d", i);
        if (count > 0 || i == 200 || i == 400 || i == 500 || i == 503)
            prometheus_count(out, name, (labels){{"status", status}, {NULL, NULL}}, count);
    }
}

/* ---- Searches and the index ------------------------------------------------------------------ */

static void put_searches(struct daemon *daemon, struct buffer *out)
{
    static const enum error_code codes[] = {ERR_INVALID, ERR_UNAVAILABLE, ERR_INTERNAL};
    const struct search_figures *figures = &daemon->searched;
    uint64_t failed[sizeof(codes) / sizeof(*codes)] = {0};
    prometheus_family(out, "tekupdb_search_seconds", "histogram",
                      "Searches that succeeded, from the request to its answer, by their mode");
    for (size_t i = 0; i < SEARCH_MODES; i++)
        prometheus_histogram(out, "tekupdb_search_seconds",
                             (labels){{"mode", search_mode_names[i]}, {NULL, NULL}},
                             &figures->seconds[i]);
    /* Several reasons are one to those who get the answer. */
    for (size_t why = 1; why < ERROR_CODES; why++) {
        const int status = http_status_of((enum error_code)why);
        for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
            if (http_status_of(codes[i]) == status) failed[i] += atomic_load(&figures->failed[why]);
    }
    prometheus_family(out, "tekupdb_searches_failed_total", "counter",
                      "Searches that failed, by the code of their error");
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        prometheus_count(out, "tekupdb_searches_failed_total",
                         (labels){{"code", http_code(http_status_of(codes[i]))}, {NULL, NULL}},
                         failed[i]);
}

static void put_follower(struct daemon *daemon, struct buffer *out)
{
    struct follower_report report;
    follower_get(daemon->follower, &report);
    prometheus_family(out, "tekupdb_follower_state", "gauge",
                      "1 for the state in which the following of the database is");
    for (int state = FOLLOWER_WAITING; state <= FOLLOWER_AWAY; state++)
        prometheus_count(
            out, "tekupdb_follower_state",
            (labels){{"state", follower_state_name((enum follower_state)state)}, {NULL, NULL}},
            (enum follower_state)state == report.state);
    prometheus_counter(out, "tekupdb_follower_applied_total",
                       "Changes of the vault that the index has followed", report.applied);
}

static void put_snapshots(struct daemon *daemon, struct buffer *out)
{
    struct saver_report report;
    follower_get_snapshots(daemon->follower, &report);
    if (report.saved_at > 0) {
        prometheus_gauge(out, "tekupdb_snapshot_saved_timestamp_seconds",
                         "When the last snapshot was written, since 1970", report.saved_at);
        prometheus_gauge(out, "tekupdb_snapshot_seconds", "How long that took", report.took_s);
    }
    prometheus_gauge(out, "tekupdb_snapshot_changes",
                     "Changes of the index that are in no snapshot yet", (double)report.touched);
    prometheus_gauge(out, "tekupdb_snapshot_failed", "Whether the last try to write one failed",
                     report.error[0] != '\0');
}

static void put_index(struct daemon *daemon, struct buffer *out)
{
    struct replica_stats stats = {.index.kernel = ""};
    if (daemon->follower == NULL) return;
    struct replica *replica = mirror_use(&daemon->mirror);
    if (replica != NULL) replica_get_stats(replica, &stats);
    replica_release(replica);
    prometheus_gauge(out, "tekupdb_index_vectors", "Vectors in the index",
                     (double)stats.index.count);
    prometheus_gauge(out, "tekupdb_index_documents", "Documents that they are of",
                     (double)stats.catalog.documents);
    prometheus_gauge(out, "tekupdb_index_bytes", "Memory of the index and its names of documents",
                     (double)(stats.index.bytes + stats.catalog.bytes));
    put_follower(daemon, out);
    put_snapshots(daemon, out);
}

/* ---- Embeddings ------------------------------------------------------------------------------ */

enum { EMBED_SECONDS, EMBED_TEXTS, EMBED_FAILURES, EMBED_FAMILIES };
static const struct {
    const char *name, *type, *help;
} embed_families[EMBED_FAMILIES] = {
    {"tekupdb_embedding_seconds", "histogram", "Calls for embeddings, each of one or more texts"},
    {"tekupdb_embedding_texts_total", "counter", "Texts that were embedded"},
    {"tekupdb_embedding_failures_total", "counter", "Calls for embeddings that failed"},
};

static void put_embedder(struct buffer *out, int family, const struct embedder *embedder,
                         bool of_queries)
{
    const struct embed_figures *figures = embedder_figures(embedder, of_queries);
    const char *name = embed_families[family].name;
    labels of = {{"provider", embedder_provider(embedder)},
                 {"model", embedder_model(embedder)},
                 {"kind", of_queries ? "query" : "document"},
                 {NULL, NULL}};
    if (family == EMBED_SECONDS)
        prometheus_histogram(out, name, of, &figures->seconds);
    else
        prometheus_count(out, name, of,
                         atomic_load(family == EMBED_TEXTS ? &figures->texts : &figures->failures));
}

static void put_embeddings(struct daemon *daemon, struct buffer *out)
{
    struct embedder *known[MODELS_MOST];
    const size_t count = models_known(daemon->models, known);
    for (int family = 0; family < EMBED_FAMILIES; family++) {
        prometheus_family(out, embed_families[family].name, embed_families[family].type,
                          embed_families[family].help);
        for (size_t i = 0; i < count; i++) {
            put_embedder(out, family, known[i], true);
            put_embedder(out, family, known[i], false);
        }
    }
    prometheus_family(out, "tekupdb_model_info", "gauge",
                      "1, with the model that the vault serves");
    prometheus_count(out, "tekupdb_model_info",
                     (labels){{"model", models_serving(daemon->models)}, {NULL, NULL}}, 1);
}

static void put_model_change(struct daemon *daemon, struct buffer *out)
{
    struct model_state state = {0};
    struct model_keeper *keeper = atomic_load(&daemon->model_keeper);
    if (keeper == NULL) return;
    model_keeper_get(keeper, &state);
    prometheus_gauge(out, "tekupdb_model_change_wanted",
                     "Whether another embedding model is configured than the vault serves",
                     state.wanted[0] != '\0' ||
                         strcmp(state.serving, models_wanted(daemon->models)) != 0);
    prometheus_gauge(out, "tekupdb_model_change_done",
                     "Embeddings that were made by the new model so far", (double)state.done);
    prometheus_gauge(out, "tekupdb_model_change_embeddings", "Embeddings that there are to be made",
                     (double)state.total);
    prometheus_gauge(out, "tekupdb_model_change_refused",
                     "Embeddings whose text the new model does not take", (double)state.refused);
    prometheus_gauge(out, "tekupdb_model_change_failing", "Whether the change does not get on",
                     state.error[0] != '\0');
}

/* ---- Syncs ----------------------------------------------------------------------------------- */

static void put_sync_results(struct buffer *out, const struct sync_totals *totals)
{
    static const char name[] = "tekupdb_syncs_ended_total";
    prometheus_family(out, name, "counter", "Syncs that have ended in this daemon, by how");
    for (size_t i = 0; i < SOURCE_KINDS; i++) {
        for (int result = 0; result < SYNC_RESULTS; result++)
            prometheus_count(out, name,
                             (labels){{"source", source_kind_at(i)->name},
                                      {"result", sync_result_names[result]},
                                      {NULL, NULL}},
                             atomic_load(&totals[i].results[result]));
    }
}

struct sync_outcome {
    const char *name;
    size_t offset; /* in struct sync_totals */
};

static void put_sync_outcomes(struct buffer *out, const char *name, const char *help,
                              const struct sync_totals *totals,
                              const struct sync_outcome outcomes[3])
{
    prometheus_family(out, name, "counter", help);
    for (size_t i = 0; i < SOURCE_KINDS; i++) {
        for (size_t o = 0; o < 3; o++) {
            const char *at = (const char *)&totals[i] + outcomes[o].offset;
            prometheus_count(out, name,
                             (labels){{"source", source_kind_at(i)->name},
                                      {"outcome", outcomes[o].name},
                                      {NULL, NULL}},
                             atomic_load((const _Atomic uint64_t *)(const void *)at));
        }
    }
}

static void put_syncs(struct daemon *daemon, struct buffer *out)
{
    static const struct sync_outcome documents[] = {
        {"written", offsetof(struct sync_totals, written)},
        {"deleted", offsetof(struct sync_totals, deleted)},
        {"failed", offsetof(struct sync_totals, failed)}};
    static const struct sync_outcome passages[] = {
        {"embedded", offsetof(struct sync_totals, embedded)},
        {"reused", offsetof(struct sync_totals, reused)},
        {"rejected", offsetof(struct sync_totals, rejected)}};
    struct syncer *syncer = atomic_load(&daemon->syncer);
    size_t queued, running;
    if (syncer == NULL) return;
    const struct sync_totals *totals = syncer_totals(syncer);
    syncer_count(syncer, &queued, &running);
    prometheus_family(out, "tekupdb_syncs", "gauge", "Syncs that are queued or run in this daemon");
    prometheus_count(out, "tekupdb_syncs", (labels){{"state", "queued"}, {NULL, NULL}}, queued);
    prometheus_count(out, "tekupdb_syncs", (labels){{"state", "running"}, {NULL, NULL}}, running);
    prometheus_family(out, "tekupdb_sync_seconds", "histogram",
                      "Syncs that have ended, from their beginning to their end");
    for (size_t i = 0; i < SOURCE_KINDS; i++)
        prometheus_histogram(out, "tekupdb_sync_seconds",
                             (labels){{"source", source_kind_at(i)->name}, {NULL, NULL}},
                             &totals[i].seconds);
    put_sync_results(out, totals);
    put_sync_outcomes(out, "tekupdb_sync_documents_total", "Documents of syncs that have ended",
                      totals, documents);
    put_sync_outcomes(out, "tekupdb_sync_passages_total", "Passages of syncs that have ended",
                      totals, passages);
}

/* ---- Connections to PostgreSQL --------------------------------------------------------------- */

static void put_pool(struct daemon *daemon, struct buffer *out)
{
    static const char waits[] = "tekupdb_pool_wait_seconds";
    static labels own = {{"pool", "daemon"}, {NULL, NULL}};
    static labels services = {{"pool", "passthrough"}, {NULL, NULL}};
    struct pool_stats stats;
    pool_get_stats(daemon->pool, &stats);
    prometheus_family(out, waits, "histogram",
                      "How long a connection to PostgreSQL was waited for, by the pool");
    prometheus_histogram(out, waits, own, pool_waits(daemon->pool));
    if (daemon->passthrough != NULL)
        prometheus_histogram(out, waits, services, passthrough_waits(daemon->passthrough));
    prometheus_gauge(out, "tekupdb_pool_size", "Connections that the daemon's own work may have",
                     stats.size);
    prometheus_gauge(out, "tekupdb_pool_open", "Of them, those that are open", stats.open);
    prometheus_gauge(out, "tekupdb_pool_leased", "Of them, those that are in use", stats.leased);
    prometheus_gauge(out, "tekupdb_pool_waiting", "Threads that wait for one", stats.waiting);
    prometheus_counter(out, "tekupdb_pool_opened_total", "Connections that were opened",
                       stats.opened);
    prometheus_counter(out, "tekupdb_pool_failures_total", "Connections that could not be opened",
                       stats.failures);
}

void api_metrics(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    struct error err = {0};
    if (api_no_query(request, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    put_process(daemon, &body);
    put_standing(daemon, &body);
    put_answers(daemon, &body);
    put_searches(daemon, &body);
    put_index(daemon, &body);
    put_embeddings(daemon, &body);
    put_model_change(daemon, &body);
    put_syncs(daemon, &body);
    put_pool(daemon, &body);
    if (daemon->passthrough != NULL) metrics_put_passthrough(&body, daemon->passthrough);
    http_respond_metrics(request, &body);
}
