/* notion_api.c: see notion_api.h. */
#include "ingest/notion/notion_api.h"

#include "ingest/clock.h"
#include "ingest/http/secret.h"
#include "storage/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MOST = 6, WAIT_MOST_S = 900 };

int notion_api_open(struct notion_api *api, const struct source_context *context,
                    const struct notion_config *config, struct error *err)
{
    char *token = NULL;
    *api = (struct notion_api){.context = context, .config = config};
    pthread_mutex_init(&api->lock, NULL);
    if (secret_read(config->token_env, config->token_file,
                    config->token_env != NULL ? "config.tokenEnv" : "config.tokenFile", &token,
                    err) != 0)
        return -1;
    const int length = asprintf(&api->authorization, "Bearer %s", token);
    if (length < 0) api->authorization = NULL;
    secret_forget(token);
    return length >= 0 ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

void notion_api_close(struct notion_api *api)
{
    if (api->context == NULL) return; /* it was never opened */
    secret_forget(api->authorization);
    pthread_mutex_destroy(&api->lock);
    *api = (struct notion_api){0};
}

/* ---- The pace ---- */

static bool is_stopped(const struct notion_api *api)
{
    return api->context->stop != NULL && atomic_load(api->context->stop);
}

/* Waits for this thread's turn. */
static int keep_pace(struct notion_api *api, struct error *err)
{
    pthread_mutex_lock(&api->lock);
    const double turn = fmax(clock_now(), api->next);
    api->next = turn + 1 / api->config->per_second;
    pthread_mutex_unlock(&api->lock);
    clock_sleep_until(turn, api->context->stop, http_client_stopped(api->context->http));
    return is_stopped(api) ? error_set(err, ERR_CANCELLED, NULL, "interrupted") : 0;
}

struct asking {
    struct notion_api *api;
    int again; /* how often it was busy in other ways than 429 */
};

/* 429 says how long; 409 (somebody edits it at this moment) and 529 (overloaded) do not. */
static double judge(void *arg, const struct http_response *response)
{
    struct asking *asking = arg;
    if (response->status == 429) {
        const double after = http_retry_after(response);
        const double wait = after > 0 ? after : 1;
        pthread_mutex_lock(&asking->api->lock);
        asking->api->next = fmax(asking->api->next, clock_now() + wait);
        pthread_mutex_unlock(&asking->api->lock);
        return wait;
    }
    if (response->status != 409 && response->status != 529) return 0;
    if (asking->again == AGAIN_MOST) return -1;
    return 0.5 * (double)(1 << asking->again++);
}

static void tell(void *arg, const char *why, time_t until)
{
    const struct source_context *context = ((struct asking *)arg)->api->context;
    if (context->waiting == NULL) return;
    const bool limit = why != NULL && strstr(why, "(429)") != NULL;
    context->waiting(context->arg, limit ? "Notion's rate limit" : why, until);
}

/* ---- What went wrong ---- */

static int explain(const struct http_response *response, const char *what, struct error *err)
{
    char message[200];
    json_t *answer = json_loadb(response->body, response->length, 0, NULL);
    const char *text = json_string_value(json_object_get(answer, "message"));
    utf8_copy_line(message, sizeof(message), text);
    json_decref(answer);
    const long status = response->status;
    if (status == 401)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "%s: Notion refuses the token (401 %s): it is wrong, or the integration "
                         "is gone",
                         what, message);
    if (status == 403)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "%s: the integration may not do this (403 %s): it needs the capability to "
                         "read content",
                         what, message);
    if (status == 404)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "%s: not there, or not shared with the integration (404)", what);
    if (status == 400)
        return error_set(err, ERR_INVALID, NULL, "%s: Notion does not accept it (400 %s)", what,
                         message);
    return error_set(err,
                     status >= 500 || status == 409 || status == 429 ? ERR_UNAVAILABLE : ERR_IO,
                     NULL, "%s: Notion answers with status %ld %s", what, status, message);
}

/* ---- Calling ---- */

int notion_call(struct notion_api *api, const char *what, const char *path, const json_t *body,
                json_t **answer, struct error *err)
{
    static const char *const headers[] = {"Notion-Version: 2025-09-03", NULL};
    struct asking asking = {api, 0};
    struct http_response response;
    char *url = NULL, *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    *answer = NULL;
    if ((body != NULL && text == NULL) || asprintf(&url, "%s%s", api->config->base_url, path) < 0) {
        free(text);
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    const struct http_request request = {.method = body != NULL ? "POST" : NULL,
                                         .url = url,
                                         .headers = headers,
                                         .authorization = api->authorization,
                                         .body = text,
                                         .body_length = text != NULL ? strlen(text) : 0,
                                         .repeatable = true,
                                         .wait_most_s = WAIT_MOST_S,
                                         .stop = api->context->stop,
                                         .waiting = tell,
                                         .judge = judge,
                                         .arg = &asking};
    int status = keep_pace(api, err);
    if (status == 0 && (status = http_perform(api->context->http, &request, &response, err)) != 0)
        error_prefix(err, "%s", what);
    free(url);
    free(text);
    if (status != 0) return -1;
    if (response.status != 200) {
        explain(&response, what, err);
    } else if ((*answer = json_loadb(response.body, response.length, JSON_ALLOW_NUL, NULL)) ==
               NULL) {
        error_set(err, ERR_UNAVAILABLE, NULL, "%s: the answer is not Notion's, which is JSON",
                  what);
    }
    http_response_free(&response);
    return *answer != NULL ? 0 : -1;
}
