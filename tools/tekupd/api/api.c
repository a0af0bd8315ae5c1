/* api.c: the table of calls, and what they share. */
#include "tools/tekupd/api/api.h"

#include "storage/base/log.h"
#include "storage/vault/vault.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/keeper.h"
#include "tools/tekupd/mirror/follower.h"

#include <stdlib.h>
#include <string.h>

enum lane { ON_LOOP, SEARCHERS, CLERKS };

struct call {
    enum lane lane;
    api_call run;
};

static void run_call(void *arg)
{
    struct http_request *request = arg;
    const struct call *call = http_route(request)->arg;
    call->run(http_context(request), request);
}

static void handle(struct http_request *request)
{
    struct daemon *daemon = http_context(request);
    const struct call *call = http_route(request)->arg;
    if (call->lane == ON_LOOP) {
        call->run(daemon, request);
        return;
    }
    struct workers *workers = call->lane == SEARCHERS ? daemon->searchers : daemon->clerks;
    if (workers_submit(workers, run_call, request) != 0) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, NULL, "too many requests are waiting already");
        http_respond_error(request, &err);
    }
}

#define ROUTE(method, path, bodies, lane, run)                                                     \
    {                                                                                              \
        method, path, bodies, handle, &(const struct call)                                         \
        {                                                                                          \
            lane, run                                                                              \
        }                                                                                          \
    }

const struct http_route api_routes[] = {
    ROUTE("POST", "/v1/search", HTTP_JSON | HTTP_OCTETS, ON_LOOP, api_search),
    ROUTE("POST", "/v1/search/batch", HTTP_JSON, SEARCHERS, api_search_batch),
    ROUTE("GET", "/v1/documents", 0, CLERKS, api_documents_list),
    ROUTE("PUT", "/v1/documents", HTTP_JSON, CLERKS, api_documents_put),
    ROUTE("GET", "/v1/documents/by-path", 0, CLERKS, api_documents_get_by_path),
    ROUTE("DELETE", "/v1/documents/by-path", 0, CLERKS, api_documents_delete_by_path),
    ROUTE("GET", "/v1/documents/*", 0, CLERKS, api_documents_get),
    ROUTE("GET", "/v1/documents/*/around", 0, CLERKS, api_documents_around),
    ROUTE("DELETE", "/v1/documents/*", 0, CLERKS, api_documents_delete),
    ROUTE("GET", "/v1/embeddings", 0, CLERKS, api_embeddings),
    ROUTE("POST", "/v1/database/pgvector", 0, CLERKS, api_database_pgvector),
    ROUTE("GET", "/v1/repositories", 0, CLERKS, api_repositories),
    ROUTE("GET", "/v1/sources", 0, CLERKS, api_sources_list),
    ROUTE("PUT", "/v1/sources", HTTP_JSON, CLERKS, api_sources_put),
    ROUTE("DELETE", "/v1/sources", 0, CLERKS, api_sources_delete),
    ROUTE("POST", "/v1/sources/test", HTTP_JSON, CLERKS, api_sources_test),
    ROUTE("GET", "/v1/sync", 0, CLERKS, api_sync_list),
    ROUTE("POST", "/v1/sync", HTTP_JSON, CLERKS, api_sync_start),
    ROUTE("DELETE", "/v1/sync", 0, CLERKS, api_sync_cancel),
    ROUTE("POST", "/mcp", HTTP_JSON, SEARCHERS, api_mcp),
    ROUTE("GET", "/.well-known/mcp.json", HTTP_OPEN, ON_LOOP, api_mcp_card),
    ROUTE("POST", "/webhook/github", HTTP_JSON | HTTP_FORM | HTTP_LARGE | HTTP_OPEN, CLERKS,
          api_webhook_github),
    ROUTE("POST", "/api/search", HTTP_JSON, SEARCHERS, api_old_search),
    ROUTE("GET", "/api/sync-status", 0, CLERKS, api_old_sync_status),
    ROUTE("GET", "/v1/map", 0, CLERKS, api_map),
    ROUTE("GET", "/v1/map/point", 0, CLERKS, api_map_point),
    ROUTE("GET", "/v1/index", 0, CLERKS, api_index_figures),
    ROUTE("GET", "/v1/index/recall", 0, CLERKS, api_index_recall),
    ROUTE("GET", "/v1/index/speed", 0, CLERKS, api_index_speed),
    ROUTE("POST", "/v1/index/snapshot", 0, CLERKS, api_index_snapshot),
    ROUTE("POST", "/v1/index/verify", 0, CLERKS, api_index_verify),
    ROUTE("POST", "/v1/index/rebuild", 0, CLERKS, api_index_rebuild),
    ROUTE("GET", "/v1/index/chore", 0, CLERKS, api_index_chore),
    ROUTE("GET", "/v1/events", 0, ON_LOOP, api_events),
    ROUTE("POST", "/v1/console", 0, CLERKS, api_console_begin),
    ROUTE("DELETE", "/v1/console", 0, CLERKS, api_console_end),
    ROUTE("GET", "/v1/status", 0, CLERKS, api_status),
    ROUTE("GET", "/openapi.json", 0, ON_LOOP, api_openapi),
    ROUTE("GET", "/metrics", 0, SEARCHERS, api_metrics),
    ROUTE("GET", "/healthz", HTTP_OPEN, ON_LOOP, api_healthz),
    ROUTE("GET", "/health", HTTP_OPEN, ON_LOOP, api_healthz),
    ROUTE("GET", "/readyz", HTTP_OPEN, ON_LOOP, api_readyz),
    ROUTE("GET", "/", HTTP_OPEN, ON_LOOP, api_page_html),
    ROUTE("GET", "/console.css", HTTP_OPEN, ON_LOOP, api_page_css),
    ROUTE("GET", "/console.js", HTTP_OPEN, ON_LOOP, api_page_js),
};
const size_t api_route_count = sizeof(api_routes) / sizeof(*api_routes);

void api_fail(struct daemon *daemon, struct http_request *request, const struct error *err)
{
    if (err->code == ERR_UNAVAILABLE) keeper_wake(daemon->keeper);
    if (http_status_of(err->code) == 500)
        log_error("api.failed", "call=%s error=%s", http_route(request)->path,
                  log_quote(err->message));
    http_respond_error(request, err);
}

void api_put_chunk(struct buffer *body, const struct passage *passage)
{
    const size_t length = passage->text != NULL ? strlen(passage->text) : 0;
    json_put_key(body, "chunk");
    json_put_open(body, '{');
    json_field_integer(body, "ordinal", passage->ordinal);
    json_field_integer(body, "start", passage->has_range ? (int64_t)passage->start : 0);
    json_field_integer(body, "end", passage->has_range ? (int64_t)passage->end : (int64_t)length);
    json_field_text(body, "text", passage->text);
    json_put_close(body, '}');
}

struct settled {
    struct http_request *request;
    int status;
    struct buffer body;
};

static void respond_settled(void *arg, bool applied)
{
    struct settled *settled = arg;
    (void)applied; /* PostgreSQL has it; the index will, as soon as it can be asked again */
    http_respond(settled->request, settled->status, &settled->body);
    free(settled);
}

void api_respond_written(struct daemon *daemon, struct http_request *request, const char *document,
                         int status, struct buffer *body)
{
    struct settled *settled = daemon->follower != NULL ? malloc(sizeof(*settled)) : NULL;
    if (settled == NULL) {
        http_respond(request, status, body);
        return;
    }
    *settled = (struct settled){request, status, *body};
    *body = (struct buffer){0};
    follower_settle(daemon->follower, document, respond_settled, settled);
}

int api_no_query(struct http_request *request, struct error *err)
{
    static const char *const none[] = {NULL};
    struct query query;
    const int rc = query_parse(http_query(request), none, &query, err);
    query_free(&query);
    return rc;
}

int api_read_body(struct http_request *request, const char *const *known, const char *const *cut,
                  struct json_slice *slices, json_t **root, struct error *err)
{
    size_t length;
    const char *body = http_body(request, &length);
    *root = NULL;
    if (api_no_query(request, err) != 0) return -1;
    if (json_body_parse(body, length, cut, slices, root, err) != 0) return -1;
    if (json_check_known(*root, known, err) == 0) return 0;
    json_decref(*root);
    *root = NULL;
    return -1;
}

int api_need_index(struct daemon *daemon, struct error *err)
{
    if (daemon->follower != NULL) return 0;
    return error_set(err, ERR_NOT_FOUND, NULL,
                     "there is no index: searches are the database's (search.backend = postgres)");
}

struct replica *api_replica(struct daemon *daemon, struct error *err)
{
    struct replica *replica = mirror_use(&daemon->mirror);
    if (replica == NULL) error_set(err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    return replica;
}

struct syncer *api_syncer(struct daemon *daemon, struct error *err)
{
    struct syncer *syncer = atomic_load(&daemon->syncer);
    if (syncer == NULL)
        error_set(err, ERR_UNAVAILABLE, NULL, "the database has not been reached yet");
    return syncer;
}
