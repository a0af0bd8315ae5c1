/* github_api.c: see github_api.h. */
#include "ingest/github/github_api.h"

#include "ingest/http/secret.h"
#include "storage/base/buffer.h"
#include "storage/base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A limit of GitHub is whole again within an hour. Where it only asks for patience, its documents
 * say a minute at least. */
enum { WAIT_MOST_S = 3700, PATIENCE_S = 60 };

int github_api_open(struct github_api *api, const struct source_context *context,
                    const struct github_config *config, struct error *err)
{
    char *token = NULL;
    *api = (struct github_api){.context = context, .config = config};
    api->repository = strdup(context->repository);
    if (api->repository == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    if (secret_read(config->token_env, config->token_file,
                    config->token_env != NULL ? "config.tokenEnv" : "config.tokenFile", &token,
                    err) != 0)
        return -1;
    if (token == NULL) return 0;
    const int length = asprintf(&api->authorization, "Bearer %s", token);
    if (length < 0) api->authorization = NULL;
    secret_forget(token);
    return length >= 0 ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

void github_api_close(struct github_api *api)
{
    secret_forget(api->authorization);
    free(api->repository);
    *api = (struct github_api){0};
}

char *github_escape(const char *text)
{
    struct buffer out = {0};
    buffer_text(&out, "");
    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-_.~/", *text) != NULL)
            buffer_append(&out, text, 1);
        else
            buffer_format(&out, "%%%02X", (unsigned char)*text);
    }
    return buffer_take(&out);
}

/* ---- Limits ---- */

static void read_message(const struct http_response *response, char *message, size_t size)
{
    json_t *answer = json_loadb(response->body, response->length, 0, NULL);
    const char *text = json_string_value(json_object_get(answer, "message"));
    utf8_copy_line(message, size, text);
    json_decref(answer);
}

/* The primary limit says when it is whole again; the secondary one says how long to wait, or only
 * that there is one (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api). */
static double judge(void *arg, const struct http_response *response)
{
    (void)arg;
    char message[200];
    if (response->status != 403 && response->status != 429) return 0;
    const double after = http_retry_after(response);
    if (after > 0) return after;
    const char *left = http_response_header(response, "X-RateLimit-Remaining");
    const char *reset = http_response_header(response, "X-RateLimit-Reset");
    if (left != NULL && strcmp(left, "0") == 0 && reset != NULL) {
        const double wait = difftime((time_t)atoll(reset), time(NULL)) + 1;
        return wait > 1 ? wait : 1;
    }
    read_message(response, message, sizeof(message));
    const bool limit = strcasestr(message, "rate limit") != NULL ||
                       strcasestr(message, "abuse detection") != NULL; /* older servers' word */
    return limit || response->status == 429 ? PATIENCE_S : -1;
}

struct asking {
    const struct github_api *api;
    const struct github_call *call;
};

static void tell(void *arg, const char *why, time_t until)
{
    const struct source_context *context = ((struct asking *)arg)->api->context;
    if (context->waiting == NULL) return;
    const bool limit =
        why != NULL && (strstr(why, "(403)") != NULL || strstr(why, "(429)") != NULL);
    context->waiting(context->arg, limit ? "GitHub's rate limit" : why, until);
}

static int sink(void *arg, const void *bytes, size_t length, struct error *err)
{
    const struct github_call *call = ((struct asking *)arg)->call;
    return call->sink(call->arg, bytes, length, err);
}

/* ---- What went wrong ---- */

static int explain(const struct github_api *api, const struct http_response *response,
                   const char *what, struct error *err)
{
    char message[200];
    const long status = response->status;
    const bool token = api->authorization != NULL;
    read_message(response, message, sizeof(message));
    switch (status) {
    case 401:
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "%s: GitHub refuses the token (401 %s): it is wrong, expired or revoked",
                         what, message);
    case 403:
        if (http_response_header(response, "X-GitHub-SSO") != NULL)
            return error_set(err, ERR_UNAVAILABLE, NULL,
                             "%s: the token has to be authorized for the organization's single "
                             "sign-on (403)",
                             what);
        if (strcasestr(message, "resource not accessible") != NULL)
            return error_set(err, ERR_IO, NULL,
                             "%s: the token lacks a permission (403 %s): it takes \"Contents: "
                             "Read-only\" of this repository",
                             what, message);
        return error_set(err, strcasestr(message, "rate limit") ? ERR_UNAVAILABLE : ERR_IO, NULL,
                         "%s: GitHub does not allow it (403 %s)", what, message);
    case 404:
        return error_set(err, ERR_NOT_FOUND, NULL, "%s: not found (404)%s", what,
                         token ? ", or the token may not see it"
                               : ", or it is private and needs a token");
    case 422:
        if (strcasestr(message, "no commit found") == NULL) break;
        return error_set(err, ERR_NOT_FOUND, NULL, "%s: there is none of this name (422)", what);
    case 451:
        return error_set(err, ERR_IO, NULL, "%s: blocked for legal reasons (451 %s)", what,
                         message);
    }
    return error_set(err, status >= 500 || status == 429 ? ERR_UNAVAILABLE : ERR_IO, NULL,
                     "%s: GitHub answers with status %ld %s", what, status, message);
}

static bool is_empty_repository(const struct http_response *response)
{
    char message[200];
    if (response->status != 409) return false;
    read_message(response, message, sizeof(message));
    return strcasestr(message, "empty") != NULL;
}

/* ---- Calling ---- */

int github_get(const struct github_api *api, const char *what, const struct github_call *call,
               struct http_response *response, struct error *err)
{
    struct asking asking = {api, call};
    char *url = NULL, *known = NULL, *accept = NULL;
    const bool within = call->path[0] == ':';
    if (asprintf(&url, "%s%s%s%s", api->config->base_url, within ? "/repos/" : "",
                 within ? api->repository : "", call->path + (within ? 1 : 0)) < 0 ||
        asprintf(&accept, "Accept: %s",
                 call->accept != NULL ? call->accept : "application/vnd.github+json") < 0 ||
        asprintf(&known, "If-None-Match: %s", call->etag != NULL ? call->etag : "") < 0) {
        free(url);
        free(accept);
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    const char *headers[] = {accept, "X-GitHub-Api-Version: 2022-11-28",
                             call->etag != NULL ? known : NULL, NULL};
    const struct http_request request = {.url = url,
                                         .headers = headers,
                                         .authorization = api->authorization,
                                         .response_most = call->response_most,
                                         .timeout_s = call->timeout_s,
                                         .wait_most_s = WAIT_MOST_S,
                                         .stop = api->context->stop,
                                         .waiting = tell,
                                         .judge = judge,
                                         .sink = call->sink != NULL ? sink : NULL,
                                         .arg = &asking};
    int status = http_perform(api->context->http, &request, response, err);
    free(url);
    free(accept);
    free(known);
    if (status != 0) return error_prefix(err, "%s", what);
    if (response->status == 200 || (call->etag != NULL && response->status == 304) ||
        is_empty_repository(response))
        return 0;
    explain(api, response, what, err);
    http_response_free(response);
    return -1;
}

int github_get_json(const struct github_api *api, const char *what, const char *path,
                    json_t **answer, struct error *err)
{
    const struct github_call call = {.path = path};
    struct http_response response;
    *answer = NULL;
    if (github_get(api, what, &call, &response, err) != 0) return -1;
    *answer = json_loadb(response.body, response.length, 0, NULL);
    http_response_free(&response);
    return *answer != NULL ? 0
                           : error_set(err, ERR_UNAVAILABLE, NULL,
                                       "%s: the answer is not GitHub's, which is JSON", what);
}
