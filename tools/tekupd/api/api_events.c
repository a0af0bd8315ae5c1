/* api_events.c: GET /v1/events, which events.c goes on with. */
#include "tools/tekupd/api/api.h"
#include "tools/tekupd/events/events.h"
#include "tools/tekupd/http/query.h"

static int check_text(const struct query *query, const char *name, struct error *err)
{
    const char *text = query_get(query, name);
    if (text == NULL || *text != '\0') return 0;
    return error_set(err, ERR_INVALID, name, "%s is empty", name);
}

static int begin(struct daemon *daemon, struct http_request *request, const struct query *query,
                 struct error *err)
{
    if (check_text(query, "source", err) != 0 || check_text(query, "repository", err) != 0)
        return -1;
    if (!health_get(&daemon->health).migrated)
        return error_set(err, ERR_UNAVAILABLE, NULL, "the database has not been reached yet");
    if (http_is_head(request)) {
        struct buffer nothing = {0};
        http_respond(request, 200, &nothing);
        return 0;
    }
    return events_add(daemon->events, request, query_get(query, "source"),
                      query_get(query, "repository"), http_header(request, "Last-Event-ID"), err);
}

void api_events(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", NULL};
    struct query query;
    struct error err = {0};
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        begin(daemon, request, &query, &err) != 0)
        api_fail(daemon, request, &err);
    query_free(&query);
}
