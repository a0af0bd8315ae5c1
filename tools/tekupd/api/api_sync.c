/* api_sync.c: starting syncs, and how each repository stands. */
#include "tools/tekupd/api/api.h"

#include "storage/sources.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/mirror/active.h"

#include <stdlib.h>
#include <string.h>

/* ---- Starting -------------------------------------------------------------------------------- */

static void put_queued(struct buffer *body, const char *source, const char *repository)
{
    json_put_open(body, '{');
    json_field_text(body, "source", source);
    json_field_text(body, "repository", repository);
    json_put_close(body, '}');
}

/* Every source but those that are queued or running already. */
static int start_all(struct daemon *daemon, struct syncer *syncer, struct buffer *body,
                     struct error *err)
{
    struct source *sources = NULL;
    size_t count = 0;
    if (sources_list(daemon->pool, &sources, &count, err) != 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        struct error problem = {0};
        if (rc == 0 &&
            syncer_request(syncer, sources[i].source, sources[i].repository, &problem) == 0)
            put_queued(body, sources[i].source, sources[i].repository);
        else if (rc == 0 && problem.code != ERR_CONFLICT && problem.code != ERR_NOT_FOUND) {
            *err = problem;
            rc = -1;
        }
        source_free(&sources[i]);
    }
    free(sources);
    return rc;
}

static int start(struct daemon *daemon, json_t *root, struct buffer *body, struct error *err)
{
    const char *source = NULL, *repository = NULL;
    struct syncer *syncer = api_syncer(daemon, err);
    if (syncer == NULL) return -1;
    if (json_object_size(root) == 0) return start_all(daemon, syncer, body, err);
    if (json_need_text(root, "source", &source, err) != 0 ||
        json_need_text(root, "repository", &repository, err) != 0 ||
        syncer_request(syncer, source, repository, err) != 0)
        return -1;
    put_queued(body, source, repository);
    return 0;
}

void api_sync_start(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", NULL};
    static const char *const cut[] = {NULL};
    struct error err = {0};
    struct buffer body = {0};
    json_t *root = NULL;
    json_put_open(&body, '{');
    json_put_key(&body, "queued");
    json_put_open(&body, '[');
    if (api_read_body(request, known, cut, NULL, &root, &err) != 0 ||
        start(daemon, root, &body, &err) != 0) {
        api_fail(daemon, request, &err);
        buffer_free(&body);
    } else {
        json_put_close(&body, ']');
        json_put_close(&body, '}');
        http_respond(request, 202, &body);
    }
    json_decref(root);
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static int cancel(struct daemon *daemon, const struct query *query, struct error *err)
{
    const char *source = query_get(query, "source"), *repository = query_get(query, "repository");
    struct syncer *syncer;
    if (source == NULL) return error_set(err, ERR_INVALID, "source", "source is missing");
    if (repository == NULL)
        return error_set(err, ERR_INVALID, "repository", "repository is missing");
    syncer = api_syncer(daemon, err);
    return syncer != NULL ? syncer_cancel(syncer, source, repository, err) : -1;
}

void api_sync_cancel(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", NULL};
    struct query query;
    struct error err = {0};
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        cancel(daemon, &query, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        struct buffer body = {0};
        json_put_open(&body, '{');
        json_field_boolean(&body, "cancelling", true);
        json_put_close(&body, '}');
        http_respond(request, 202, &body);
    }
    query_free(&query);
}

/* ---- How they stand -------------------------------------------------------------------------- */

/* What runs here is asked itself, what runs elsewhere is as it was told last. */
static void put_progress(struct buffer *body, const struct sync_status *status,
                         const struct active *active)
{
    const struct sync_progress *row = active_find(active, status->source, status->repository);
    char *text = row != NULL ? sync_progress_json(row) : NULL;
    json_field_raw(body, "progress", text != NULL ? text : status->progress);
    free(text);
}

static void put_item(struct buffer *body, const struct sync_status *status,
                     const struct active *active)
{
    json_put_open(body, '{');
    json_field_text(body, "id", status->id);
    json_field_text(body, "source", status->source);
    json_field_text(body, "repository", status->repository);
    json_field_text(body, "status", status->status);
    json_field_text(body, "lastSyncAt", status->last_sync_at);
    json_field_text(body, "errorMessage", status->error_message);
    json_field_integer(body, "documentCount", status->document_count);
    put_progress(body, status, active);
    json_field_raw(body, "last", status->last);
    json_put_close(body, '}');
}

static bool matches(const char *wanted, const char *value)
{
    return wanted == NULL || strcmp(wanted, value) == 0;
}

static int list_statuses(struct daemon *daemon, struct sync_status **statuses, size_t *count,
                         struct active *active, struct error *err)
{
    *statuses = NULL;
    *count = 0;
    /* What runs is asked first: a sync that ends in between is told as ended, and never as one that
     * is in_progress without running. */
    if (active_get(atomic_load(&daemon->syncer), active, err) != 0) return -1;
    return sync_status_list(daemon->pool, statuses, count, err);
}

int api_sync_items(struct daemon *daemon, const char *source, const char *repository,
                   struct buffer *body, struct error *err)
{
    struct sync_status *statuses;
    struct active active = {NULL, 0};
    size_t count;
    const int rc = list_statuses(daemon, &statuses, &count, &active, err);
    if (rc == 0) {
        json_put_open(body, '{');
        json_put_key(body, "items");
        json_put_open(body, '[');
        for (size_t i = 0; i < count; i++) {
            if (matches(source, statuses[i].source) && matches(repository, statuses[i].repository))
                put_item(body, &statuses[i], &active);
        }
        json_put_close(body, ']');
        json_put_close(body, '}');
    }
    for (size_t i = 0; i < count; i++) sync_status_free(&statuses[i]);
    free(statuses);
    active_free(&active);
    return rc;
}

void api_sync_list(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", NULL};
    struct query query;
    struct error err = {0};
    struct buffer body = {0};
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        api_sync_items(daemon, query_get(&query, "source"), query_get(&query, "repository"), &body,
                       &err) != 0)
        api_fail(daemon, request, &err);
    else
        http_respond(request, 200, &body);
    query_free(&query);
}
