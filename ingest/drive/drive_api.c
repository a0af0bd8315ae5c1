/* drive_api.c: see drive_api.h. */
#include "ingest/drive/drive_api.h"

#include "ingest/http/secret.h"
#include "storage/base/utf8.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Google asks for exponential backoff, 2^n seconds and some milliseconds, up to about a minute. */
enum { TRIES = 8, WAIT_MOST_S = 64 };

void drive_query(struct buffer *url, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);
    if (escaped == NULL || url->data == NULL) {
        url->failed = true;
        curl_free(escaped);
        return;
    }
    buffer_format(url, "%c%s=%s", strchr(url->data, '?') != NULL ? '&' : '?', name, escaped);
    curl_free(escaped);
}

/* ---- What went wrong ---- */

static void read_fault(const struct http_response *response, struct drive_fault *fault)
{
    *fault = (struct drive_fault){.status = response->status};
    json_t *answer = json_loadb(response->body, response->length, 0, NULL);
    const json_t *error = json_object_get(answer, "error");
    const json_t *first = json_array_get(json_object_get(error, "errors"), 0);
    utf8_copy_line(fault->reason, sizeof(fault->reason),
                   json_string_value(json_object_get(first, "reason")));
    utf8_copy_line(fault->message, sizeof(fault->message),
                   json_string_value(json_object_get(error, "message")));
    /* What Google's front end says before Drive is reached has only this. */
    const json_t *details = json_object_get(error, "details");
    size_t i;
    const json_t *detail;
    if (fault->reason[0] == '\0') json_array_foreach(details, i, detail)
        {
            const char *reason = json_string_value(json_object_get(detail, "reason"));
            if (reason != NULL) utf8_copy_line(fault->reason, sizeof(fault->reason), reason);
        }
    json_decref(answer);
}

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, text) == 0) return true;
    return false;
}

/* Whether the reason of a 403 is one that waiting helps against. */
static bool is_rate_limit(const char *reason)
{
    static const char *const reasons[] = {"rateLimitExceeded", "userRateLimitExceeded",
                                          "sharingRateLimitExceeded", "RATE_LIMIT_EXCEEDED", NULL};
    return is_one_of(reason, reasons);
}

static const char *advise_forbidden(const char *reason)
{
    static const char *const scope[] = {"insufficientPermissions", "insufficientScopes",
                                        "ACCESS_TOKEN_SCOPE_INSUFFICIENT", NULL};
    static const char *const off[] = {"accessNotConfigured", "SERVICE_DISABLED", NULL};
    static const char *const daily[] = {"dailyLimitExceeded", "quotaExceeded",
                                        "dailyLimitExceededUnreg", NULL};
    if (is_rate_limit(reason)) return "Google's rate limit is exceeded for longer than waited";
    if (is_one_of(reason, scope))
        return "the token may not read Drive: it needs the scope "
               "https://www.googleapis.com/auth/drive.readonly";
    if (is_one_of(reason, off))
        return "the Drive API is not enabled in the Google Cloud project that the credentials "
               "belong to: enable it in the console";
    if (is_one_of(reason, daily)) return "the project's quota of the Drive API is used up";
    if (strcmp(reason, "domainPolicy") == 0)
        return "the domain's administrator has disabled apps of Drive";
    return NULL;
}

static int explain(const struct drive_fault *fault, const char *what, struct error *err)
{
    const char *advice = fault->status == 403 ? advise_forbidden(fault->reason) : NULL;
    const char *open = fault->message[0] != '\0' ? ": " : "";
    if (advice != NULL)
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s: %s (%s)", what, advice, fault->reason);
    switch (fault->status) {
    case 401:
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s: Google refuses the token%s%s", what, open,
                         fault->message);
    case 403:
        return error_set(err, ERR_IO, NULL, "%s: not allowed%s%s", what, open, fault->message);
    case 404:
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "%s: it is not there, or not shared with the account%s%s", what, open,
                         fault->message);
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s: Drive answers with status %ld%s%s", what,
                         fault->status, open, fault->message);
    default: /* 500 also comes for one file that Drive cannot convert, again and again */
        return error_set(err, ERR_IO, NULL, "%s: Drive answers with status %ld%s%s", what,
                         fault->status, open, fault->message);
    }
}

/* ---- Calling ---- */

/* One call: what the client's callbacks are given. */
struct call {
    const struct source_context *context;
    atomic_int limited; /* how often it was told to go slower */
};

/* A 403 may mean "slower". */
static double judge(void *arg, const struct http_response *response)
{
    struct call *call = arg;
    struct drive_fault fault;
    if (response->status != 403) return 0;
    read_fault(response, &fault);
    if (!is_rate_limit(fault.reason)) return -1;
    const double after = http_retry_after(response);
    if (after > 0) return after;
    const int times = atomic_fetch_add(&call->limited, 1);
    const double wait = times < 6 ? (double)(1 << times) : WAIT_MOST_S;
    return wait + (double)random() / RAND_MAX;
}

static void tell(void *arg, const char *why, time_t until)
{
    const struct call *call = arg;
    if (call->context->waiting != NULL) call->context->waiting(call->context->arg, why, until);
}

static int try_get(const struct drive_api *api, const char *url, size_t most,
                   const char *authorization, struct http_response *response, struct error *err)
{
    struct call call = {.context = api->context};
    const struct http_request request = {
        .url = url,
        .authorization = authorization,
        .response_most = most,
        .tries = TRIES,
        .stop = api->context->stop,
        .waiting = tell,
        .judge = judge,
        .arg = &call,
    };
    return http_perform(api->context->http, &request, response, err);
}

static int get(const struct drive_api *api, const char *what, const char *url, size_t most,
               struct http_response *response, struct drive_fault *fault, struct error *err)
{
    char *authorization = NULL, *rejected = NULL;
    int status = -1;
    for (int i = 0; i < 2; i++) {
        if ((status = drive_auth_get(api->auth, rejected, &authorization, err)) != 0) break;
        if ((status = try_get(api, url, most, authorization, response, err)) != 0) {
            error_prefix(err, "%s", what);
            break;
        }
        if (response->status != 401 || rejected != NULL) break;
        /* Tokens are withdrawn before their time too: once more with a new one. */
        http_response_free(response);
        rejected = authorization;
        authorization = NULL;
    }
    secret_forget(authorization);
    secret_forget(rejected);
    if (status != 0) return -1;
    if (response->status >= 200 && response->status < 300) return 0;
    read_fault(response, fault);
    http_response_free(response);
    return explain(fault, what, err);
}

int drive_get(const struct drive_api *api, const char *what, const char *path, size_t most,
              struct http_response *response, struct drive_fault *fault, struct error *err)
{
    struct buffer url = {0};
    *fault = (struct drive_fault){0};
    *response = (struct http_response){0};
    buffer_format(&url, "%s%s", api->config->base_url, path);
    const int status = url.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                                  : get(api, what, url.data, most, response, fault, err);
    buffer_free(&url);
    return status;
}

int drive_get_json(const struct drive_api *api, const char *what, const char *path, json_t **answer,
                   struct drive_fault *fault, struct error *err)
{
    struct http_response response;
    *answer = NULL;
    if (drive_get(api, what, path, 0, &response, fault, err) != 0) return -1;
    *answer = json_loadb(response.body, response.length, 0, NULL);
    http_response_free(&response);
    if (json_is_object(*answer)) return 0;
    json_decref(*answer);
    *answer = NULL;
    return error_set(err, ERR_UNAVAILABLE, NULL, "%s: Drive's answer is not valid JSON", what);
}
