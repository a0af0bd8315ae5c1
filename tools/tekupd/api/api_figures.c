/* api_figures.c: what the index is like: its size, its recall, and its speed over time. */
#include "tools/tekupd/api/api.h"

#include "ingest/clock.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/metrics/speed.h"
#include "tools/tekupd/mirror/recall_meter.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

/* ---- Size ------------------------------------------------------------------------------------ */

static void put_figures(struct buffer *body, const struct daemon *daemon,
                        const struct replica_stats *stats, const char *model)
{
    const tk_index_stats *index = &stats->index;
    const size_t bytes = index->bytes + stats->catalog.bytes;
    const size_t ef = atomic_load(&daemon->ef);
    json_put_open(body, '{');
    json_field_text(body, "backend", "index");
    json_field_text(body, "model", model);
    json_field_integer(body, "vectors", (int64_t)index->count);
    json_field_integer(body, "documents", (int64_t)stats->catalog.documents);
    json_field_integer(body, "capacity", (int64_t)index->capacity);
    json_field_integer(body, "bytes", (int64_t)bytes);
    json_field_number(body, "bytesPerVector",
                      index->count > 0 ? (double)bytes / (double)index->count : (double)NAN, 6);
    json_field_integer(body, "dimension", index->dim);
    json_field_integer(body, "maxNeighbours", index->max_neighbours);
    json_field_number(body, "meanNeighbours", index->mean_neighbours, 4);
    json_field_integer(body, "efConstruction", index->ef_construction);
    json_field_integer(body, "ef", (int64_t)(ef > 0 ? ef : index->ef_search));
    json_field_text(body, "kernel", index->kernel);
    json_field_integer(body, "adds", (int64_t)index->adds);
    json_field_integer(body, "replaces", (int64_t)index->replaces);
    json_field_integer(body, "removes", (int64_t)index->removes);
    json_field_integer(body, "searches", (int64_t)index->searches);
    json_put_close(body, '}');
}

void api_index_figures(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct buffer body = {0};
    struct replica_stats stats;
    if (api_no_query(request, &err) != 0 || api_need_index(daemon, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    struct replica *replica = api_replica(daemon, &err);
    if (replica == NULL) {
        api_fail(daemon, request, &err);
        return;
    }
    replica_get_stats(replica, &stats);
    put_figures(&body, daemon, &stats, replica_model(replica));
    replica_release(replica);
    http_respond(request, 200, &body);
}

/* ---- Recall ---------------------------------------------------------------------------------- */

enum { SAMPLE_DEFAULT = 100, SAMPLE_MOST = 1000, LIMIT_DEFAULT = 10, LIMIT_MOST = 100 };

struct asked {
    struct daemon *daemon;
    struct http_request *request;
};

static void respond_recall(void *arg, const struct recall_report *report,
                           const struct error *failure)
{
    struct asked *asked = arg;
    struct buffer body = {0};
    if (failure != NULL) {
        api_fail(asked->daemon, asked->request, failure);
    } else {
        json_put_open(&body, '{');
        json_field_number(&body, "recall", report->recall.recall, 6);
        json_field_integer(&body, "sample", (int64_t)report->recall.sample);
        json_field_integer(&body, "limit", (int64_t)report->wanted.limit);
        json_field_integer(&body, "ef", (int64_t)report->wanted.ef);
        json_field_number(&body, "tookMs", report->took_s * 1e3, 6);
        json_field_time(&body, "measuredAt", report->measured_at);
        json_put_close(&body, '}');
        http_respond(asked->request, 200, &body);
    }
    free(asked);
}

static int read_recall(struct daemon *daemon, struct http_request *request,
                       struct recall_wanted *wanted, struct error *err)
{
    static const char *const known[] = {"sample", "limit", "ef", NULL};
    struct query query;
    long sample = SAMPLE_DEFAULT, limit = LIMIT_DEFAULT, ef = (long)atomic_load(&daemon->ef);
    int rc = query_parse(http_query(request), known, &query, err);
    if (rc == 0) rc = query_integer(&query, "sample", 1, SAMPLE_MOST, &sample, err);
    if (rc == 0) rc = query_integer(&query, "limit", 1, LIMIT_MOST, &limit, err);
    if (rc == 0) rc = query_integer(&query, "ef", 1, 65536, &ef, err);
    query_free(&query);
    *wanted = (struct recall_wanted){(size_t)sample, (size_t)limit, (size_t)ef};
    return rc == 0 ? api_need_index(daemon, err) : -1;
}

void api_index_recall(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct recall_wanted wanted;
    struct asked *asked = malloc(sizeof(*asked));
    if (asked == NULL) {
        error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    } else {
        *asked = (struct asked){daemon, request};
        if (read_recall(daemon, request, &wanted, &err) == 0 &&
            recall_meter_ask(daemon->recall_meter, &wanted, respond_recall, asked, &err) == 0)
            return;
    }
    free(asked);
    api_fail(daemon, request, &err);
}

/* ---- Speed ----------------------------------------------------------------------------------- */

void api_index_speed(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct buffer body = {0};
    struct speed_point points[SPEED_KEPT];
    struct timespec wall;
    if (api_no_query(request, &err) != 0 || api_need_index(daemon, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    const size_t count = speed_get(daemon->speed, clock_now(), points);
    clock_gettime(CLOCK_REALTIME, &wall);
    json_put_open(&body, '{');
    json_field_integer(&body, "interval", SPEED_INTERVAL);
    json_put_key(&body, "points");
    json_put_open(&body, '[');
    for (size_t i = 0; i < count; i++) {
        const double none = points[i].searches > 0 ? 1 : (double)NAN;
        json_put_open(&body, '{');
        json_field_time(&body, "at",
                        (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - points[i].ago);
        json_field_integer(&body, "searches", (int64_t)points[i].searches);
        json_field_number(&body, "p50Ms", points[i].p50_ms * none, 4);
        json_field_number(&body, "p99Ms", points[i].p99_ms * none, 4);
        json_put_close(&body, '}');
    }
    json_put_close(&body, ']');
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}
