/*
 * api_old.c: the calls that TekupVault's services made before there was tekupdb, in the form in
 * which they know them. Their errors are http_error.c's business, by their path.
 */
#include "tools/tekupd/api/api.h"

#include "storage/sources.h"
#include "tools/tekupd/http/json_write.h"

#include <math.h>
#include <stdlib.h>

/* ---- POST /api/search ------------------------------------------------------------------------ */

struct old_search {
    struct daemon *daemon;
    struct http_request *request;
    double threshold;
};

/* A result of POST /v1/search: its members as they stand in that answer. */
enum { ID, SOURCE, REPOSITORY, PATH, CONTENT, METADATA, SHA, SIMILARITY, MEMBERS };
static const char *const members[] = {"id",       "source", "repository", "path", "content",
                                      "metadata", "sha",    "similarity", NULL};

struct result {
    struct json_slice members[MEMBERS];
    double similarity;
};

static void put_slice(struct buffer *body, const char *name, struct json_slice slice)
{
    json_put_key(body, name);
    if (slice.text != NULL)
        buffer_append(body, slice.text, slice.length);
    else
        json_put_null(body);
}

static int more_similar_first(const void *left, const void *right)
{
    const struct result *one = *(const struct result *const *)left;
    const struct result *other = *(const struct result *const *)right;
    if (one->similarity != other->similarity) return one->similarity > other->similarity ? -1 : 1;
    return one < other ? -1 : one > other;
}

/* Returns how many of the results are similar enough, with their order in `order`. A text that is
 * missing is an error: the old calls know no results without content. */
static long take_results(struct json_slice array, double threshold, struct result *results,
                         const struct result **order, const char *partial, struct error *err)
{
    struct json_slice element;
    size_t at = 0;
    long count = 0;
    int rc;
    while ((rc = json_next_element(array, &at, &element)) == 1) {
        struct result *result = &results[count];
        json_t *rest = NULL;
        if (json_body_parse(element.text, element.length, members, result->members, &rest, err) !=
            0)
            return -1;
        json_decref(rest);
        if (result->members[CONTENT].text == NULL)
            return error_set(err, ERR_UNAVAILABLE, NULL, "the answer would be %s",
                             partial != NULL ? partial : "without content");
        const struct json_slice similarity = result->members[SIMILARITY];
        /* The slice ends where the number does; null is 0. */
        result->similarity = similarity.text != NULL ? strtod(similarity.text, NULL) : 0;
        if (result->similarity < threshold) continue;
        order[count] = result;
        count++;
    }
    if (rc < 0) return error_set(err, ERR_INTERNAL, NULL, "the answer cannot be read");
    qsort(order, (size_t)count, sizeof(*order), more_similar_first);
    return count;
}

static void put_results(struct buffer *body, const struct result *const *order, size_t count)
{
    json_put_open(body, '{');
    json_field_boolean(body, "success", true);
    json_put_key(body, "results");
    json_put_open(body, '[');
    for (size_t i = 0; i < count; i++) {
        json_put_open(body, '{');
        for (size_t m = 0; m < MEMBERS; m++) put_slice(body, members[m], order[i]->members[m]);
        json_put_close(body, '}');
    }
    json_put_close(body, ']');
    json_field_integer(body, "count", (int64_t)count);
    json_put_close(body, '}');
}

static int convert(struct json_slice array, double threshold, const char *partial,
                   struct buffer *body, struct error *err)
{
    struct json_slice element;
    size_t at = 0, all = 0;
    while (json_next_element(array, &at, &element) == 1) all++;
    struct result *results = calloc(all + 1, sizeof(*results));
    const struct result **order = calloc(all + 1, sizeof(*order));
    long count = -1;
    if (results != NULL && order != NULL)
        count = take_results(array, threshold, results, order, partial, err);
    else
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (count >= 0) put_results(body, order, (size_t)count);
    free(order);
    free(results);
    return count >= 0 ? 0 : -1;
}

/* The answer to POST /v1/search becomes the one to this. */
static int translate(const struct buffer *answer, double threshold, struct buffer *body,
                     struct error *err)
{
    static const char *const cut[] = {"results", NULL};
    struct json_slice results;
    json_t *root = NULL;
    if (answer->failed) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    int rc = json_body_parse(answer->data, answer->length, cut, &results, &root, err);
    if (rc == 0)
        rc = convert(results, threshold, json_string_value(json_object_get(root, "partial")), body,
                     err);
    json_decref(root);
    return rc;
}

static void search_done_old(void *arg, const struct error *failure, struct buffer *answer)
{
    struct old_search *search = arg;
    struct buffer body = {0};
    struct error err = {0};
    if (failure != NULL) {
        api_fail(search->daemon, search->request, failure);
    } else if (translate(answer, search->threshold, &body, &err) != 0) {
        api_fail(search->daemon, search->request, &err);
        buffer_free(&body);
    } else {
        http_respond(search->request, 200, &body);
    }
    free(search);
}

/* Writes the body of POST /v1/search that asks for the same. */
static int read_search(json_t *root, struct buffer *asked, double *threshold, struct error *err)
{
    enum { LIMIT_DEFAULT = 10, LIMIT_MOST = 1000 };
    const char *query = NULL, *source = NULL, *repository = NULL;
    long limit = LIMIT_DEFAULT;
    *threshold = -INFINITY;
    if (json_need_text(root, "query", &query, err) != 0 ||
        json_get_integer(root, "limit", 1, LIMIT_MOST, &limit, err) != 0 ||
        json_get_number(root, "threshold", 0, 1, threshold, err) != 0 ||
        json_get_text(root, "source", &source, err) != 0 ||
        json_get_text(root, "repository", &repository, err) != 0)
        return -1;
    json_put_open(asked, '{');
    json_field_text(asked, "query", query);
    json_field_integer(asked, "limit", limit);
    if (isfinite(*threshold)) json_field_number(asked, "threshold", *threshold, 17);
    if (source != NULL) json_field_text(asked, "source", source);
    if (repository != NULL) json_field_text(asked, "repository", repository);
    json_field_raw(asked, "include", "[\"content\",\"metadata\"]");
    json_put_close(asked, '}');
    return asked->failed ? error_set(err, ERR_INTERNAL, NULL, "memory ran out") : 0;
}

void api_old_search(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"query",  "limit",      "threshold",
                                        "source", "repository", NULL};
    static const char *const cut[] = {NULL};
    struct error err = {0};
    struct buffer asked = {0};
    json_t *root = NULL;
    struct old_search *search = malloc(sizeof(*search));
    if (search == NULL) {
        error_set(&err, ERR_INTERNAL, NULL, "memory ran out");
        api_fail(daemon, request, &err);
        return;
    }
    *search = (struct old_search){.daemon = daemon, .request = request};
    if (api_read_body(request, known, cut, NULL, &root, &err) != 0 ||
        read_search(root, &asked, &search->threshold, &err) != 0) {
        api_fail(daemon, request, &err);
        free(search);
    } else {
        api_search_ask(daemon, request, asked.data, asked.length, search_done_old, search);
    }
    json_decref(root);
    buffer_free(&asked);
}

/* ---- GET /api/sync-status -------------------------------------------------------------------- */

static void put_status(struct buffer *body, const struct sync_status *status)
{
    json_put_open(body, '{');
    json_field_text(body, "id", status->id);
    json_field_text(body, "source", status->source);
    json_field_text(body, "repository", status->repository);
    json_field_text(body, "status", status->status);
    json_field_text(body, "last_sync_at", status->last_sync_at);
    json_field_text(body, "error_message", status->error_message);
    json_put_close(body, '}');
}

void api_old_sync_status(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct sync_status *statuses = NULL;
    size_t count = 0;
    if (api_no_query(request, &err) != 0 ||
        sync_status_list(daemon->pool, &statuses, &count, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    struct buffer body = {0};
    json_put_open(&body, '{');
    json_field_boolean(&body, "success", true);
    json_put_key(&body, "items");
    json_put_open(&body, '[');
    for (size_t i = 0; i < count; i++) {
        put_status(&body, &statuses[i]);
        sync_status_free(&statuses[i]);
    }
    free(statuses);
    json_put_close(&body, ']');
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}
