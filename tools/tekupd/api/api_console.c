/* api_console.c: a session of the console, for those who may use the UNIX socket. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/guard.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"

#include <stdio.h>

static const char *const known[] = {"key", NULL};

static int check_local(const struct http_request *request, struct error *err)
{
    if (!http_came_by_door(request)) return 0;
    return error_set(err, ERR_NOT_FOUND, NULL, "sessions begin and end by the UNIX socket only");
}

static void put_session(struct buffer *body, const struct guard_session *session)
{
    struct tm utc;
    char ends[32];
    gmtime_r(&session->ends, &utc);
    strftime(ends, sizeof(ends), "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    json_put_open(body, '{');
    json_field_text(body, "url", session->url);
    json_field_text(body, "key", session->key);
    json_field_text(body, "expires", ends);
    json_put_close(body, '}');
}

void api_console_begin(struct daemon *daemon, struct http_request *request)
{
    struct query query = {0};
    struct guard_session session;
    struct buffer body = {0};
    struct error err = {0};
    int rc = check_local(request, &err);
    if (rc == 0) rc = query_parse(http_query(request), known, &query, &err);
    const char *key = rc == 0 ? query_get(&query, "key") : NULL;
    if (rc == 0)
        rc = key != NULL ? guard_session_renew(daemon->guard, key, &session, &err)
                         : guard_session_begin(daemon->guard, &session, &err);
    if (rc == 0) {
        put_session(&body, &session);
        http_respond(request, key != NULL ? 200 : 201, &body);
    } else {
        api_fail(daemon, request, &err);
    }
    query_free(&query);
}

void api_console_end(struct daemon *daemon, struct http_request *request)
{
    struct query query = {0};
    struct buffer body = {0};
    struct error err = {0};
    int rc = check_local(request, &err);
    if (rc == 0) rc = query_parse(http_query(request), known, &query, &err);
    const char *key = rc == 0 ? query_get(&query, "key") : NULL;
    if (rc == 0 && key == NULL) rc = error_set(&err, ERR_INVALID, "key", "key is missing");
    if (rc == 0) rc = guard_session_end(daemon->guard, key, &err);
    if (rc == 0) {
        json_put_open(&body, '{');
        json_field_boolean(&body, "ended", true);
        json_put_close(&body, '}');
        http_respond(request, 200, &body);
    } else {
        api_fail(daemon, request, &err);
    }
    query_free(&query);
}
