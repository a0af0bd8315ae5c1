/* api_index.c: what is done to the index as a whole: snapshots, verifying, building it anew. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/mirror/chores.h"

#include <stdlib.h>

/* Only where there is an index in memory. */
static int check_index(struct daemon *daemon, struct http_request *request, struct error *err)
{
    return api_no_query(request, err) == 0 ? api_need_index(daemon, err) : -1;
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

struct asked {
    struct daemon *daemon;
    struct http_request *request;
};

static void respond_saved(void *arg, const struct error *failure)
{
    struct asked *asked = arg;
    struct saver_report report;
    struct buffer body = {0};
    if (failure != NULL) {
        api_fail(asked->daemon, asked->request, failure);
    } else {
        follower_get_snapshots(asked->daemon->follower, &report);
        json_put_open(&body, '{');
        json_field_boolean(&body, "saved", true);
        json_field_number(&body, "seconds", report.took_s, 4);
        json_put_close(&body, '}');
        http_respond(asked->request, 200, &body);
    }
    free(asked);
}

void api_index_snapshot(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct asked *asked = malloc(sizeof(*asked));
    if (asked != NULL) {
        *asked = (struct asked){daemon, request};
        if (check_index(daemon, request, &err) == 0 &&
            follower_snapshot(daemon->follower, respond_saved, asked, &err) == 0)
            return;
        free(asked);
    } else {
        error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    }
    api_fail(daemon, request, &err);
}

/* ---- Chores ---------------------------------------------------------------------------------- */

static const char *chore_name(enum chore chore)
{
    return chore == CHORE_VERIFY ? "verify" : chore == CHORE_REBUILD ? "rebuild" : NULL;
}

static void begin_chore(struct daemon *daemon, struct http_request *request, enum chore chore)
{
    struct error err = {0};
    struct buffer body = {0};
    if (check_index(daemon, request, &err) != 0 || chores_begin(daemon->chores, chore, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    json_put_open(&body, '{');
    json_field_text(&body, "chore", chore_name(chore));
    json_put_close(&body, '}');
    http_respond(request, 202, &body);
}

void api_index_verify(struct daemon *daemon, struct http_request *request)
{
    begin_chore(daemon, request, CHORE_VERIFY);
}

void api_index_rebuild(struct daemon *daemon, struct http_request *request)
{
    begin_chore(daemon, request, CHORE_REBUILD);
}

static void put_difference(struct buffer *body, const struct difference *difference)
{
    static const char *const objects[] = {
        [VERIFY_DOCUMENT] = "document", [VERIFY_EMBEDDING] = "embedding", [VERIFY_INDEX] = "index"};
    json_put_open(body, '{');
    json_field_text(body, "object", objects[difference->object]);
    if (difference->object == VERIFY_EMBEDDING)
        json_field_integer(body, "embeddingId", difference->embedding);
    json_field_text(body, "id", difference->document[0] != '\0' ? difference->document : NULL);
    json_field_text(body, "what", difference->what);
    json_put_close(body, '}');
}

static void put_result(struct buffer *body, const struct verify_result *result)
{
    json_put_open(body, '{');
    json_field_boolean(body, "equal", result->differences == 0);
    json_field_integer(body, "documents", (int64_t)result->documents);
    json_field_integer(body, "embeddings", (int64_t)result->embeddings);
    json_field_integer(body, "differenceCount", (int64_t)result->differences);
    json_field_boolean(body, "orMore", result->differences >= VERIFY_MOST);
    json_put_key(body, "differences");
    json_put_open(body, '[');
    for (size_t i = 0; i < result->shown; i++) put_difference(body, &result->shown_ones[i]);
    json_put_close(body, ']');
    json_put_close(body, '}');
}

static void put_chore(struct buffer *body, const struct chore_report *report)
{
    const bool failed = report->failure.code != ERR_NONE;
    json_put_open(body, '{');
    json_field_text(body, "chore", chore_name(report->chore));
    json_field_boolean(body, "running", report->running);
    json_field_number(body, "elapsedSeconds", report->elapsed_s, 6);
    json_field_integer(body, "documents", (int64_t)report->documents);
    json_field_integer(body, "embeddings", (int64_t)report->embeddings);
    json_field_integer(body, "ofDocuments", (int64_t)report->all_documents);
    json_field_integer(body, "ofEmbeddings", (int64_t)report->all_embeddings);
    json_field_text(body, "error", failed ? report->failure.message : NULL);
    json_put_key(body, "result");
    if (!report->running && !failed && report->chore == CHORE_VERIFY)
        put_result(body, &report->result);
    else
        json_put_null(body);
    json_put_close(body, '}');
}

void api_index_chore(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct buffer body = {0};
    struct chore_report *report = malloc(sizeof(*report));
    if (report == NULL) error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
    if (report == NULL || check_index(daemon, request, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        chores_get(daemon->chores, report);
        put_chore(&body, report);
        http_respond(request, 200, &body);
    }
    free(report);
}
