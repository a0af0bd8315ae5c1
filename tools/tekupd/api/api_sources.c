/* api_sources.c: which repositories are synced, and which there are. */
#include "tools/tekupd/api/api.h"

#include "storage/repositories.h"
#include "storage/sources.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONGEST_INTERVAL_S = 366 * 24 * 3600 };

static void put_moment(struct buffer *body, const char *name, const char *moment)
{
    json_field_text(body, name, moment[0] != '\0' ? moment : NULL);
}

/* A source that has not been synced yet is `pending` without a lastSyncAt: the row's is when it was
 * made. */
static void put_standing(struct buffer *body, const struct source *source)
{
    const bool synced = strcmp(source->last_sync_at, source->created_at) != 0;
    put_moment(body, "status", source->status);
    put_moment(body, "lastSyncAt", synced ? source->last_sync_at : "");
    put_moment(body, "nextSyncAt", source->next_sync_at);
    json_field_integer(body, "documentCount", source->document_count);
}

void api_sources_list(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct source *sources = NULL;
    size_t count = 0;
    struct buffer body = {0};
    if (api_no_query(request, &err) != 0 ||
        sources_list(daemon->pool, &sources, &count, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    json_put_open(&body, '{');
    json_put_key(&body, "sources");
    json_put_open(&body, '[');
    for (size_t i = 0; i < count; i++) {
        json_put_open(&body, '{');
        json_field_text(&body, "source", sources[i].source);
        json_field_text(&body, "repository", sources[i].repository);
        json_field_raw(&body, "config", sources[i].config);
        json_field_integer(&body, "intervalSeconds", sources[i].interval_s);
        json_field_text(&body, "createdAt", sources[i].created_at);
        put_standing(&body, &sources[i]);
        json_put_close(&body, '}');
        source_free(&sources[i]);
    }
    free(sources);
    json_put_close(&body, ']');
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}

void api_repositories(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct repository *rows = NULL;
    size_t count = 0;
    struct buffer body = {0};
    if (api_no_query(request, &err) != 0 ||
        repositories_list(daemon->pool, NULL, NULL, &rows, &count, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    json_put_open(&body, '{');
    json_put_key(&body, "repositories");
    json_put_open(&body, '[');
    for (size_t i = 0; i < count; i++) {
        json_put_open(&body, '{');
        json_field_text(&body, "source", rows[i].source);
        json_field_text(&body, "repository", rows[i].repository);
        json_field_integer(&body, "documents", rows[i].documents);
        put_moment(&body, "updatedAt", rows[i].updated_at);
        json_field_boolean(&body, "registered", rows[i].registered);
        json_put_close(&body, '}');
        repository_free(&rows[i]);
    }
    free(rows);
    json_put_close(&body, ']');
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}

/* ---- Adding and testing ---------------------------------------------------------------------- */

struct registration {
    json_t *root; /* holds the strings */
    const char *source, *repository;
    char *config;
    long interval_s;
    const struct source_kind *kind;
};

static void registration_free(struct registration *registration)
{
    free(registration->config);
    json_decref(registration->root);
}

static int unknown_kind(const char *source, struct error *err)
{
    char names[128] = "";
    size_t length = 0;
    for (size_t i = 0; i < SOURCE_KINDS && length < sizeof(names); i++)
        length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s",
                                   i == 0 ? "" : ", ", source_kind_at(i)->name);
    return error_set(err, ERR_INVALID, "source", "there is no kind of source '%s': there are %s",
                     source, names);
}

/* registration_free is called in any case. */
static int read_registration(struct http_request *request, struct registration *registration,
                             struct error *err)
{
    static const char *const known[] = {"source", "repository", "config", "intervalSeconds", NULL};
    static const char *const cut[] = {"config", NULL};
    struct json_slice config;
    *registration = (struct registration){0};
    if (api_read_body(request, known, cut, &config, &registration->root, err) != 0 ||
        json_need_text(registration->root, "source", &registration->source, err) != 0 ||
        json_need_text(registration->root, "repository", &registration->repository, err) != 0 ||
        json_get_integer(registration->root, "intervalSeconds", 0, LONGEST_INTERVAL_S,
                         &registration->interval_s, err) != 0 ||
        json_take_object(config, "config", &registration->config, err) != 0)
        return -1;
    if (registration->config == NULL && (registration->config = strdup("{}")) == NULL)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    registration->kind = source_kind_find(registration->source);
    if (registration->kind == NULL) return unknown_kind(registration->source, err);
    return registration->kind->check(registration->repository, registration->config, err);
}

void api_sources_put(struct daemon *daemon, struct http_request *request)
{
    struct registration new;
    struct error err = {0};
    bool created;
    if (read_registration(request, &new, &err) != 0 ||
        sources_put(daemon->pool, new.source, new.repository, new.config, (int)new.interval_s,
                    &created, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        struct buffer body = {0};
        json_put_open(&body, '{');
        json_field_text(&body, "source", new.source);
        json_field_text(&body, "repository", new.repository);
        json_field_raw(&body, "config", new.config);
        json_field_integer(&body, "intervalSeconds", new.interval_s);
        json_field_boolean(&body, "created", created);
        json_put_close(&body, '}');
        http_respond(request, created ? 201 : 200, &body);
    }
    registration_free(&new);
}

/* The listing is ended at its first item: that it begins is what is tested. */
struct first_item {
    char *path;
    bool found;
};

static int take_first(void *arg, const struct source_item *item)
{
    struct first_item *first = arg;
    first->found = true;
    first->path = strdup(item->path);
    return 1;
}

static void ignore_skip(void *arg, const char *path, enum skip_reason reason)
{
    (void)arg;
    (void)path;
    (void)reason;
}

/* Nobody waits an hour for the answer whether a source can be read. */
struct patience {
    pthread_mutex_t lock;
    atomic_bool ended;
    char why[128];
    time_t until;
};

static void lose_patience(void *arg, const char *why, time_t until)
{
    enum { PATIENCE_S = 10 };
    struct patience *patience = arg;
    if (why == NULL || until <= time(NULL) + PATIENCE_S) return;
    pthread_mutex_lock(&patience->lock);
    snprintf(patience->why, sizeof(patience->why), "%s", why);
    patience->until = until;
    pthread_mutex_unlock(&patience->lock);
    atomic_store(&patience->ended, true);
}

static int say_wait(const struct patience *patience, struct error *err)
{
    struct tm utc;
    char until[32] = "";
    if (gmtime_r(&patience->until, &utc) != NULL)
        strftime(until, sizeof(until), "%Y-%m-%d %H:%M:%S UTC", &utc);
    return error_set(err, ERR_UNAVAILABLE, NULL, "it has to wait until %s (%s): try again then",
                     until, patience->why);
}

/* *report stays NULL where the kind has nothing to say. */
static int try_kind(const struct source_kind *kind, const struct source_context *context,
                    char **report, struct error *err)
{
    struct first_item first = {0};
    struct source_content content = {0};
    enum skip_reason reason;
    void *state;
    if (kind->test != NULL) return kind->test(context, report, err);
    if (kind->open(context, &state, err) != 0) return -1;
    int rc = kind->list(state, take_first, ignore_skip, &first, err);
    if (first.found) rc = 0;
    if (rc == 0 && first.path != NULL) {
        rc = kind->fetch(state, first.path, &content, &reason, err);
        /* One item that cannot be read does not make a source that cannot be. */
        if (rc < 0 && err->code != ERR_UNAVAILABLE) rc = 0;
        if (rc == 1) rc = 0;
        free(content.text);
        free(content.metadata);
    }
    free(first.path);
    kind->close(state);
    return rc;
}

static int try_source(struct daemon *daemon, const struct registration *tried, char **report,
                      struct error *err)
{
    struct patience patience = {.until = 0};
    const struct source_context context = {.repository = tried->repository,
                                           .config = tried->config,
                                           .http = daemon->pipeline.http,
                                           .stop = &patience.ended,
                                           .waiting = lose_patience,
                                           .arg = &patience};
    pthread_mutex_init(&patience.lock, NULL);
    const int status = try_kind(tried->kind, &context, report, err);
    pthread_mutex_destroy(&patience.lock);
    return status != 0 && atomic_load(&patience.ended) ? say_wait(&patience, err) : status;
}

void api_sources_test(struct daemon *daemon, struct http_request *request)
{
    struct registration tried;
    struct error err = {0};
    char *report = NULL;
    if (read_registration(request, &tried, &err) != 0 ||
        try_source(daemon, &tried, &report, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        struct buffer body = {0};
        json_put_open(&body, '{');
        json_field_boolean(&body, "ok", true);
        if (report != NULL) json_field_text(&body, "report", report);
        json_put_close(&body, '}');
        http_respond(request, 200, &body);
    }
    free(report);
    registration_free(&tried);
}

/* ---- Removing -------------------------------------------------------------------------------- */

static int delete_reserved(struct daemon *daemon, const char *source, const char *repository,
                           bool documents, size_t *deleted, struct error *err)
{
    struct write_result result = {0};
    *deleted = 0;
    if (documents) {
        if (vault_delete_repository(daemon->pool, source, repository, deleted, &result, err) != 0)
            return -1;
        write_result_free(&result);
    }
    return sources_delete(daemon->pool, source, repository, err);
}

/* A sync that is at it would write documents after they were deleted. */
static int delete_source(struct daemon *daemon, const char *source, const char *repository,
                         bool documents, size_t *deleted, struct error *err)
{
    struct source registered;
    if (source == NULL) return error_set(err, ERR_INVALID, "source", "source is missing");
    if (repository == NULL)
        return error_set(err, ERR_INVALID, "repository", "repository is missing");
    if (sources_get(daemon->pool, source, repository, &registered, err) != 0) return -1;
    source_free(&registered);
    struct syncer *syncer = api_syncer(daemon, err);
    if (syncer == NULL) return -1;
    struct job *reservation = syncer_reserve(syncer, source, repository, err);
    if (reservation == NULL) return -1;
    const int rc = delete_reserved(daemon, source, repository, documents, deleted, err);
    syncer_release(syncer, reservation);
    return rc;
}

void api_sources_delete(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", "documents", NULL};
    struct query query;
    struct error err = {0};
    bool documents = false;
    size_t deleted;
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        query_boolean(&query, "documents", &documents, &err) != 0 ||
        delete_source(daemon, query_get(&query, "source"), query_get(&query, "repository"),
                      documents, &deleted, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        struct buffer body = {0};
        json_put_open(&body, '{');
        json_field_boolean(&body, "deleted", true);
        json_field_integer(&body, "documents", (int64_t)deleted);
        json_put_close(&body, '}');
        api_respond_written(daemon, request, NULL, 200, &body);
    }
    query_free(&query);
}
