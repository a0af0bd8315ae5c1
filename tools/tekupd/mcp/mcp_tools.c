/*
 * mcp_tools.c: the tools. Searches are those of POST /v1/search, whose answer is put into another
 * form; the others ask PostgreSQL, on the clerks.
 */
#include "tools/tekupd/mcp/mcp_tools.h"

#include "storage/base/log.h"
#include "storage/repositories.h"
#include "storage/vault/vault.h"
#include "tools/tekupd/api/api.h"
#include "tools/tekupd/http/json_body.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/keeper.h"
#include "tools/tekupd/mcp/mcp_tools_json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LIMIT_DEFAULT = 10, SEARCH_MOST = 100, PASSAGES_MOST = 50 };

char *mcp_tools_list(void)
{
    json_t *tools = json_loadb(mcp_tools_json, mcp_tools_json_length, 0, NULL);
    char *text = tools != NULL ? json_dumps(tools, JSON_COMPACT) : NULL;
    json_decref(tools);
    return text;
}

static void finish(struct mcp_call *call)
{
    if (call->err.code == ERR_NONE && call->content.failed)
        error_set(&call->err, ERR_INTERNAL, NULL, "memory ran out");
    if (call->err.code == ERR_UNAVAILABLE) keeper_wake(call->daemon->keeper);
    if (call->err.code == ERR_INTERNAL || call->err.code == ERR_IO)
        log_error("mcp.failed", "error=%s", log_quote(call->err.message));
    call->done(call);
}

/* ---- Documents ------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* What the source calls it; otherwise its path. */
static void put_title(struct buffer *out, const json_t *metadata, const char *path)
{
    const char *title = text_of(metadata, "title");
    if (*title == '\0') title = text_of(metadata, "name");
    json_field_text(out, "title", *title != '\0' ? title : path);
}

/* A client shows it as where an answer comes from, and wants one for every document. */
static void put_url(struct buffer *out, const json_t *metadata, const char *id)
{
    const char *url = text_of(metadata, "url");
    if (strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0) {
        json_field_text(out, "url", url);
        return;
    }
    struct buffer own = {0};
    buffer_format(&own, "tekup://documents/%s", id);
    json_field_text(out, "url", own.data);
    buffer_free(&own);
}

/* ---- Searches -------------------------------------------------------------------------------- */

/* The result as it is for `search`: what ChatGPT knows of one, and no more. */
static void put_found(struct buffer *out, const json_t *result)
{
    const json_t *metadata = json_object_get(result, "metadata");
    json_field_text(out, "id", text_of(result, "id"));
    put_title(out, metadata, text_of(result, "path"));
    put_url(out, metadata, text_of(result, "id"));
}

static void put_number_or_null(struct buffer *out, const char *name, const json_t *value)
{
    if (json_is_integer(value))
        json_field_integer(out, name, json_integer_value(value));
    else if (json_is_real(value))
        json_field_number(out, name, json_real_value(value), 6);
    else
        json_field_raw(out, name, NULL);
}

static void put_passage(struct buffer *out, const json_t *result)
{
    const json_t *chunk = json_object_get(result, "chunk");
    put_found(out, result);
    json_field_text(out, "source", text_of(result, "source"));
    json_field_text(out, "repository", text_of(result, "repository"));
    json_field_text(out, "path", text_of(result, "path"));
    put_number_or_null(out, "similarity", json_object_get(result, "similarity"));
    json_field_text(out, "text", json_string_value(json_object_get(chunk, "text")));
    put_number_or_null(out, "start", json_object_get(chunk, "start"));
    put_number_or_null(out, "end", json_object_get(chunk, "end"));
    json_field_text(out, "updatedAt", json_string_value(json_object_get(result, "updatedAt")));
}

static void put_results(struct buffer *out, const json_t *answer,
                        void (*put)(struct buffer *out, const json_t *result))
{
    const json_t *results = json_object_get(answer, "results");
    json_put_key(out, "results");
    json_put_open(out, '[');
    for (size_t i = 0; i < json_array_size(results); i++) {
        json_put_open(out, '{');
        put(out, json_array_get(results, i));
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

/* The answer of a search, or NULL where it failed, which the call then says. */
static json_t *take_answer(struct mcp_call *call, const struct error *err,
                           const struct buffer *body)
{
    if (err != NULL) {
        call->err = *err;
        return NULL;
    }
    json_t *answer = body->failed ? NULL : json_loadb(body->data, body->length, 0, NULL);
    if (answer == NULL) error_set(&call->err, ERR_INTERNAL, NULL, "memory ran out");
    return answer;
}

static void take_documents(void *arg, const struct error *err, struct buffer *body)
{
    struct mcp_call *call = arg;
    json_t *answer = take_answer(call, err, body);
    if (answer != NULL) {
        json_put_open(&call->content, '{');
        put_results(&call->content, answer, put_found);
        json_put_close(&call->content, '}');
        json_decref(answer);
    }
    finish(call);
}

static void take_passages(void *arg, const struct error *err, struct buffer *body)
{
    struct mcp_call *call = arg;
    json_t *answer = take_answer(call, err, body);
    if (answer != NULL) {
        json_put_open(&call->content, '{');
        put_results(&call->content, answer, put_passage);
        put_number_or_null(&call->content, "count", json_object_get(answer, "count"));
        json_field_text(&call->content, "partial",
                        json_string_value(json_object_get(answer, "partial")));
        json_put_close(&call->content, '}');
        json_decref(answer);
    }
    finish(call);
}

/* Begins the body of a search with what all of them have. */
static int begin_search(struct mcp_call *call, long most, struct buffer *body)
{
    const char *query;
    long limit = LIMIT_DEFAULT;
    if (json_need_text(call->arguments, "query", &query, &call->err) != 0 ||
        json_get_integer(call->arguments, "limit", 1, most, &limit, &call->err) != 0)
        return -1;
    json_put_open(body, '{');
    json_field_text(body, "query", query);
    json_field_integer(body, "limit", limit);
    return 0;
}

static void ask(struct mcp_call *call, struct buffer *body, search_done done)
{
    json_put_close(body, '}');
    if (body->failed) {
        error_set(&call->err, ERR_INTERNAL, NULL, "memory ran out");
        finish(call);
    } else {
        api_search_ask(call->daemon, call->request, body->data, body->length, done, call);
    }
}

static void tool_search(struct mcp_call *call)
{
    struct buffer body = {0};
    if (begin_search(call, SEARCH_MOST, &body) != 0) {
        finish(call);
    } else {
        json_field_raw(&body, "include", "[\"metadata\"]");
        ask(call, &body, take_documents);
    }
    buffer_free(&body);
}

static void tool_search_knowledge(struct mcp_call *call)
{
    static const char *const filters[] = {"source", "repository", "pathPrefix", "mode", NULL};
    struct buffer body = {0};
    const json_t *threshold = json_object_get(call->arguments, "threshold");
    double least = 0;
    int rc = begin_search(call, PASSAGES_MOST, &body);
    for (size_t i = 0; filters[i] != NULL && rc == 0; i++) {
        const char *value = NULL;
        rc = json_get_text(call->arguments, filters[i], &value, &call->err);
        if (value != NULL) json_field_text(&body, filters[i], value);
    }
    if (rc == 0) rc = json_get_number(call->arguments, "threshold", -1, 1, &least, &call->err);
    if (rc != 0) {
        finish(call);
    } else {
        if (threshold != NULL) json_field_number(&body, "threshold", least, 17);
        ask(call, &body, take_passages);
    }
    buffer_free(&body);
}

/* ---- One document ---------------------------------------------------------------------------- */

/* What the source tells of the document, each value as text: clients know texts. */
static void put_told(struct buffer *out, const json_t *metadata)
{
    static const char *const own[] = {"source",    "repository", "path", "createdAt",
                                      "updatedAt", "sha",        NULL};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)metadata, name, value)
    {
        size_t i = 0;
        while (own[i] != NULL && strcmp(own[i], name) != 0) i++;
        if (own[i] != NULL || json_is_null(value)) continue;
        char *dumped =
            json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        const char *text = json_is_string(value) ? json_string_value(value) : dumped;
        if (text != NULL) {
            json_put_any_key(out, name);
            json_put_text(out, text);
        }
        free(dumped);
    }
}

static void put_document(struct buffer *out, const struct document *document)
{
    json_t *metadata = document->metadata != NULL ? json_loads(document->metadata, 0, NULL) : NULL;
    json_put_open(out, '{');
    json_field_text(out, "id", document->id);
    put_title(out, metadata, document->path);
    json_put_key(out, "text");
    json_put_text_of(out, document->content != NULL ? document->content : "",
                     document->content_length);
    put_url(out, metadata, document->id);
    json_put_key(out, "metadata");
    json_put_open(out, '{');
    json_field_text(out, "source", document->source);
    json_field_text(out, "repository", document->repository);
    json_field_text(out, "path", document->path);
    json_field_text(out, "createdAt", document->created_at);
    json_field_text(out, "updatedAt", document->updated_at);
    if (document->sha != NULL) json_field_text(out, "sha", document->sha);
    put_told(out, metadata);
    json_put_close(out, '}');
    json_put_close(out, '}');
    json_decref(metadata);
}

static void tool_fetch(struct mcp_call *call)
{
    const char *id;
    struct document document;
    if (json_need_text(call->arguments, "id", &id, &call->err) == 0 &&
        vault_get_document(call->daemon->pool, id, &document, &call->err) == 0) {
        put_document(&call->content, &document);
        document_free(&document);
    }
    if (call->err.code == ERR_NOT_FOUND)
        error_set(&call->err, ERR_NOT_FOUND, "id",
                  "there is no document %s: search gives the ids of those that there are", id);
    finish(call);
}

/* ---- Repositories ---------------------------------------------------------------------------- */

static void tool_sync_status(struct mcp_call *call)
{
    const char *source = NULL, *repository = NULL;
    if (json_get_text(call->arguments, "source", &source, &call->err) == 0 &&
        json_get_text(call->arguments, "repository", &repository, &call->err) == 0)
        api_sync_items(call->daemon, source, repository, &call->content, &call->err);
    finish(call);
}

static void put_moment(struct buffer *out, const char *name, const char *moment)
{
    json_field_text(out, name, moment[0] != '\0' ? moment : NULL);
}

static void put_repository(struct buffer *out, const struct repository *row)
{
    json_field_text(out, "source", row->source);
    json_field_text(out, "repository", row->repository);
    json_field_integer(out, "documents", row->documents);
    put_moment(out, "updatedAt", row->updated_at);
    json_field_boolean(out, "registered", row->registered);
    if (row->interval_s > 0)
        json_field_integer(out, "intervalSeconds", row->interval_s);
    else
        json_field_raw(out, "intervalSeconds", NULL);
    put_moment(out, "status", row->status);
    put_moment(out, "lastSyncAt", row->last_sync_at);
    put_moment(out, "nextSyncAt", row->next_sync_at);
}

static void free_rows(struct repository *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) repository_free(&rows[i]);
    free(rows);
}

static void tool_list_repositories(struct mcp_call *call)
{
    struct buffer *out = &call->content;
    struct repository *rows;
    size_t count;
    if (repositories_list(call->daemon->pool, NULL, NULL, &rows, &count, &call->err) == 0) {
        json_put_open(out, '{');
        json_put_key(out, "repositories");
        json_put_open(out, '[');
        for (size_t i = 0; i < count; i++) {
            json_put_open(out, '{');
            put_repository(out, &rows[i]);
            json_put_close(out, '}');
        }
        json_put_close(out, ']');
        json_field_integer(out, "count", (int64_t)count);
        json_put_close(out, '}');
        free_rows(rows, count);
    }
    finish(call);
}

static void put_parts(struct buffer *out, const char *list, const char *name,
                      const struct repository_part *parts, size_t count)
{
    json_put_key(out, list);
    json_put_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_put_open(out, '{');
        json_field_text(out, name, parts[i].name);
        json_field_integer(out, "documents", parts[i].documents);
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

static void put_info(struct buffer *out, const struct repository *row,
                     const struct repository_content *content)
{
    json_put_open(out, '{');
    put_repository(out, row);
    json_field_text(out, "errorMessage", row->error_message);
    json_field_integer(out, "passages", content->passages);
    json_field_integer(out, "bytes", content->bytes);
    put_moment(out, "createdAt", content->oldest);
    put_parts(out, "types", "extension", content->types, content->type_count);
    put_parts(out, "folders", "folder", content->folders, content->folder_count);
    json_put_close(out, '}');
}

static void tool_repository_info(struct mcp_call *call)
{
    const char *source, *repository;
    struct repository *rows = NULL;
    struct repository_content content = {0};
    struct pool *pool = call->daemon->pool;
    size_t count = 0;
    if (json_need_text(call->arguments, "source", &source, &call->err) == 0 &&
        json_need_text(call->arguments, "repository", &repository, &call->err) == 0 &&
        repositories_list(pool, source, repository, &rows, &count, &call->err) == 0) {
        if (count == 0)
            error_set(&call->err, ERR_NOT_FOUND, "repository",
                      "there is no repository %s of the source %s; list_repositories tells what "
                      "there is",
                      repository, source);
        else if (repository_look(pool, source, repository, &content, &call->err) == 0)
            put_info(&call->content, &rows[0], &content);
    }
    repository_content_free(&content);
    free_rows(rows, count);
    finish(call);
}

/* ---- The table ------------------------------------------------------------------------------- */

struct mcp_tool {
    const char *name;
    bool waits; /* for PostgreSQL */
    void (*run)(struct mcp_call *call);
    const char *const *arguments;
};

#define ARGUMENTS(...)                                                                             \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static const struct mcp_tool tools[] = {
    {"search", false, tool_search, ARGUMENTS("query", "limit")},
    {"fetch", true, tool_fetch, ARGUMENTS("id")},
    {"search_knowledge", false, tool_search_knowledge,
     ARGUMENTS("query", "limit", "source", "repository", "pathPrefix", "threshold", "mode")},
    {"get_sync_status", true, tool_sync_status, ARGUMENTS("source", "repository")},
    {"list_repositories", true, tool_list_repositories, ARGUMENTS(NULL)},
    {"get_repository_info", true, tool_repository_info, ARGUMENTS("source", "repository")},
};

static void run(void *arg)
{
    struct mcp_call *call = arg;
    call->tool->run(call);
}

int mcp_tool_call(const char *name, struct mcp_call *call)
{
    call->tool = NULL;
    for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++)
        if (strcmp(tools[i].name, name) == 0) call->tool = &tools[i];
    if (call->tool == NULL) return -1;
    call->err = (struct error){0};
    if (json_check_known(call->arguments, call->tool->arguments, &call->err) != 0) {
        finish(call);
    } else if (!call->tool->waits) {
        run(call);
    } else if (workers_submit(call->daemon->clerks, run, call) != 0) {
        error_set(&call->err, ERR_UNAVAILABLE, NULL,
                  "too many requests are waiting for PostgreSQL: try again in a moment");
        finish(call);
    }
    return 0;
}
