/* api_around.c: a chunk in its surroundings, and where the original is. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

enum { AROUND_DEFAULT = 2000, AROUND_MOST = 100000 };

/* The original's address as its source gave it. Only what leads to a page in the web: it becomes a
 * link, and metadata is anybody's. */
static void put_url(struct buffer *body, const char *metadata)
{
    json_t *root = metadata != NULL ? json_loads(metadata, JSON_DECODE_ANY, NULL) : NULL;
    const char *url = json_string_value(json_object_get(root, "url"));
    const bool web = url != NULL &&
                     (strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0);
    json_field_text(body, "url", web ? url : NULL);
    json_decref(root);
}

static void put_around(struct buffer *body, const struct surroundings *around)
{
    const struct passage chunk = {.ordinal = around->ordinal,
                                  .has_range = true,
                                  .start = around->start,
                                  .end = around->end,
                                  .text = around->text};
    json_put_open(body, '{');
    json_field_text(body, "id", around->document.id);
    json_field_text(body, "source", around->document.source);
    json_field_text(body, "repository", around->document.repository);
    json_field_text(body, "path", around->document.path);
    json_field_text(body, "before", around->before);
    api_put_chunk(body, &chunk);
    json_field_text(body, "after", around->after);
    json_field_boolean(body, "atStart", around->at_start);
    json_field_boolean(body, "atEnd", around->at_end);
    put_url(body, around->document.metadata);
    json_put_close(body, '}');
}

void api_documents_around(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"chunk", "before", "after", NULL};
    struct query query;
    struct error err = {0};
    struct surroundings around = {0};
    struct buffer body = {0};
    long chunk = 0, before = AROUND_DEFAULT, after = AROUND_DEFAULT;
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        query_integer(&query, "chunk", 0, INT_MAX, &chunk, &err) != 0 ||
        query_integer(&query, "before", 0, AROUND_MOST, &before, &err) != 0 ||
        query_integer(&query, "after", 0, AROUND_MOST, &after, &err) != 0 ||
        vault_fetch_around(daemon->pool, http_part(request), (int)chunk, (size_t)before,
                           (size_t)after, &around, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        put_around(&body, &around);
        http_respond(request, 200, &body);
    }
    surroundings_free(&around);
    query_free(&query);
}
