/*
 * http_client.c: redirects, second tries and waits around transfers (transfer.h).
 *
 * Redirects are followed here and not by libcurl, so that what is secret stays with its origin by
 * our own rule: scheme, host and port are the same.
 */
#include "ingest/http/http_client.h"

#include "ingest/clock.h"
#include "ingest/http/transfer.h"

#include <curl/curl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BACKOFF_FIRST_S 0.5
#define BACKOFF_MOST_S 30
#define TELL_FROM_S 1
enum { CONNECTIONS_MOST = 64, STREAMS_MOST = 100 };

/* ---- The client ---- */

struct http_client *http_client_create(const struct http_client_options *options, struct error *err)
{
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    clock_condition(&client->changed);
    pthread_mutex_init(&client->lock, NULL);
    TAILQ_INIT(&client->transfers);
    client->user_agent = strdup(options->user_agent);
    if (options->ca_file != NULL && *options->ca_file) client->ca_file = strdup(options->ca_file);
    if (options->proxy != NULL && *options->proxy) client->proxy = strdup(options->proxy);
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counts */
    client->multi = curl_multi_init();
    if (client->multi != NULL && client->user_agent != NULL) {
        curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
        curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)options->per_host);
        curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MOST);
        curl_multi_setopt(client->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_MOST);
        client->started = pthread_create(&client->thread, NULL, transfer_loop, client) == 0;
    }
    if (client->started) return client;
    http_client_free(client);
    error_set(err, ERR_INTERNAL, NULL, "the HTTP client cannot be started");
    return NULL;
}

void http_client_stop(struct http_client *client)
{
    if (client == NULL) return;
    pthread_mutex_lock(&client->lock);
    atomic_store(&client->stop, true);
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    if (client->multi != NULL) curl_multi_wakeup(client->multi);
}

const atomic_bool *http_client_stopped(const struct http_client *client)
{
    return &client->stop;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL) return;
    http_client_stop(client);
    if (client->started) pthread_join(client->thread, NULL);
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client->user_agent);
    free(client->ca_file);
    free(client->proxy);
    free(client);
}

/* ---- URLs ---- */

static int get_part(CURLU *parsed, CURLUPart what, char **part)
{
    return curl_url_get(parsed, what, part, CURLU_DEFAULT_PORT) == CURLUE_OK ? 0 : -1;
}

/* "https://host:443", or NULL where it is no URL of HTTP; the caller frees it. */
static char *origin_of(const char *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *origin = NULL;
    CURLU *parsed = curl_url();
    if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        get_part(parsed, CURLUPART_SCHEME, &scheme) == 0 &&
        get_part(parsed, CURLUPART_HOST, &host) == 0 &&
        get_part(parsed, CURLUPART_PORT, &port) == 0 &&
        (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0)) {
        for (char *letter = host; *letter != '\0'; letter++)
            if (*letter >= 'A' && *letter <= 'Z') *letter = (char)(*letter - 'A' + 'a');
        if (asprintf(&origin, "%s://%s:%s", scheme, host, port) < 0) origin = NULL;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
    return origin;
}

/* ---- Exchanges, redirects included ---- */

/* One request on its way through redirects and tries. */
struct call {
    struct http_client *client;
    const struct http_request *request;
    char *origin; /* of the request's URL: nobody else is sent its secret */
    char *secret; /* the header's line, or NULL */
    bool repeatable;
    bool sunk;
    bool answered;      /* an exchange of this try was answered, with a redirect */
    bool sent;          /* this try may have reached the server */
    char failure[256];  /* in words, of an exchange that came to nothing */
    bool worth_another; /* what failed may not fail again */
};

/* Whether the server cannot have seen the request. */
static bool never_sent(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_RESOLVE_HOST ||
           code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR;
}

static bool may_pass(CURLcode code)
{
    return never_sent(code) || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_SEND_ERROR ||
           code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE ||
           code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM || code == CURLE_WEIRD_SERVER_REPLY ||
           code == CURLE_BAD_CONTENT_ENCODING;
}

/* What libcurl says of a failure, but for what it quotes: a proxy's URL may hold a password. */
static const char *words_of(const struct transfer *transfer)
{
    if (strncasecmp(transfer->reason, "Unsupported proxy", 17) == 0)
        return "the URL of the proxy is none that can be used";
    return transfer->reason[0] != '\0' ? transfer->reason : curl_easy_strerror(transfer->code);
}

static void note_failure(struct call *call, const struct transfer *transfer)
{
    char *origin = origin_of(transfer->url);
    snprintf(call->failure, sizeof(call->failure), "%s cannot be read: %s",
             origin != NULL ? origin : "the URL", words_of(transfer));
    free(origin);
    call->sent = call->answered || !never_sent(transfer->code);
    call->worth_another = may_pass(transfer->code);
}

static bool is_redirect(const struct transfer *transfer)
{
    const long status = transfer->response.status;
    return transfer->redirect != NULL &&
           (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

/* Where an exchange goes. */
struct leg {
    char *url;
    const char *method;
    bool with_body, with_secret;
};

/* Turns towards where the answer sends. */
static int follow(const struct call *call, const struct transfer *transfer, struct leg *leg,
                  struct error *err)
{
    const long status = transfer->response.status;
    char *origin = origin_of(transfer->redirect);
    const bool same = origin != NULL && strcmp(origin, call->origin) == 0;
    const bool downgrade = origin != NULL && strncmp(call->origin, "https:", 6) == 0 &&
                           strncmp(origin, "http:", 5) == 0;
    int result = 0;
    if (origin == NULL || downgrade)
        result = error_set(err, ERR_INVALID, NULL, "%s redirects to %s, which is not followed",
                           call->origin, origin != NULL ? origin : "something else than HTTP");
    free(origin);
    if (result != 0) return -1;
    const bool moved = status == 301 || status == 302;
    if ((status == 303 && strcmp(leg->method, "HEAD") != 0) ||
        (moved && strcmp(leg->method, "POST") == 0)) {
        leg->method = "GET";
        leg->with_body = false;
    } else if (!same && leg->with_body) {
        return error_set(err, ERR_INVALID, NULL,
                         "%s redirects what was sent to another host, which is not followed",
                         call->origin);
    }
    leg->with_secret = leg->with_secret && same;
    free(leg->url);
    leg->url = strdup(transfer->redirect);
    return leg->url != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* Returns 0 with an answer, 1 when it came to nothing (call->failure), -1 when it must end. */
static int exchange(struct call *call, struct leg *leg, struct http_response *response, bool *again,
                    struct error *err)
{
    struct transfer transfer = {.request = call->request,
                                .url = leg->url,
                                .secret = leg->with_secret ? call->secret : NULL,
                                .method = leg->method,
                                .with_body = leg->with_body,
                                .once = !call->repeatable};
    enum transfer_end end;
    int status = transfer_run(call->client, &transfer, &end, err);
    *again = false;
    call->sunk = call->sunk || transfer.sunk;
    if (status == 0 && end == TRANSFER_STOPPED)
        status = error_set(err, ERR_CANCELLED, NULL, "interrupted");
    if (status == 0 && end == TRANSFER_TOO_LARGE)
        status =
            error_set(err, ERR_TOO_LARGE, NULL, "%s answers with more than %zu bytes", call->origin,
                      call->request->response_most != 0 ? call->request->response_most
                                                        : (size_t)HTTP_RESPONSE_MOST);
    if (status == 0 && end == TRANSFER_FAILED) {
        note_failure(call, &transfer);
        status = 1;
    }
    if (status == 0 && is_redirect(&transfer)) {
        *again = call->answered = true;
        status = follow(call, &transfer, leg, err);
    } else if (status == 0) {
        *response = transfer.response;
        transfer.response = (struct http_response){0};
    }
    transfer_release(&transfer);
    return status;
}

static int try_once(struct call *call, struct http_response *response, struct error *err)
{
    const struct http_request *request = call->request;
    struct leg leg = {.url = strdup(request->url),
                      .method = request->method != NULL ? request->method : "GET",
                      .with_body = request->body != NULL,
                      .with_secret = true};
    int status = leg.url != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    bool again = true;
    call->sent = true;
    call->answered = false;
    for (int legs = 0; status == 0 && again; legs++) {
        if (legs > HTTP_REDIRECTS)
            status = error_set(err, ERR_INVALID, NULL, "%s redirects more than %d times",
                               call->origin, HTTP_REDIRECTS);
        else
            status = exchange(call, &leg, response, &again, err);
    }
    free(leg.url);
    return status;
}

/* ---- Trying again ---- */

double http_retry_after(const struct http_response *response)
{
    const char *text = http_response_header(response, "Retry-After");
    char *end;
    if (text == NULL) return -1;
    const double seconds = strtod(text, &end);
    if (end != text && *end == '\0') return seconds >= 0 && isfinite(seconds) ? seconds : -1;
    const time_t date = curl_getdate(text, NULL);
    if (date == (time_t)-1) return -1;
    const double left = difftime(date, time(NULL));
    return left > 0 ? left : 0;
}

static double random_unit(void)
{
    static _Thread_local uint64_t state;
    struct timespec at;
    if (state == 0) {
        clock_gettime(CLOCK_REALTIME, &at);
        state = (uint64_t)at.tv_nsec << 20 ^ (uint64_t)at.tv_sec ^ (uint64_t)(uintptr_t)&state;
    }
    uint64_t mixed = state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((mixed ^ mixed >> 31) >> 11) * 0x1p-53;
}

/* Exponential backoff with full jitter. */
static double backoff(int tried)
{
    const double most = fmin(BACKOFF_FIRST_S * pow(2, tried), BACKOFF_MOST_S);
    return most * random_unit();
}

static bool asks_for_another(const struct call *call, long status)
{
    if (status == 425 || status == 429 || status == 503) return true;
    return call->repeatable && (status == 408 || status == 500 || status == 502 || status == 504);
}

/* How long to wait before this is asked for again; less than 0: it is the answer. *judged: the
 * caller's own judge says so, who knows what the server means. */
static double wait_after(const struct call *call, const struct http_response *response, int tried,
                         bool *judged)
{
    const struct http_request *request = call->request;
    const double wait = request->judge != NULL ? request->judge(request->arg, response) : 0;
    *judged = wait != 0;
    if (*judged) return wait;
    if (!asks_for_another(call, response->status)) return -1;
    const double after = http_retry_after(response);
    return after >= 0 ? after : backoff(tried);
}

static bool is_stopped(const struct call *call)
{
    const atomic_bool *stop = call->request->stop;
    return atomic_load(&call->client->stop) || (stop != NULL && atomic_load(stop));
}

static int wait_for(const struct call *call, double seconds, const char *why, struct error *err)
{
    const struct http_request *request = call->request;
    const double until = clock_now() + seconds;
    const bool tell = request->waiting != NULL && seconds > TELL_FROM_S;
    if (tell) request->waiting(request->arg, why, time(NULL) + (time_t)ceil(seconds));
    clock_sleep_until(until, request->stop, &call->client->stop);
    if (tell) request->waiting(request->arg, NULL, 0);
    return is_stopped(call) ? error_set(err, ERR_CANCELLED, NULL, "interrupted") : 0;
}

/* Whether to try again after what the last try gave, and after how long; tries that the judge asks
 * for do not count. */
static bool comes_again(const struct call *call, int status, const struct http_response *response,
                        int *tried, double *wait, char *why, size_t why_size)
{
    const struct http_request *request = call->request;
    const int tries = request->tries > 0 ? request->tries : HTTP_TRIES;
    const double most = request->wait_most_s > 0 ? request->wait_most_s : HTTP_WAIT_MOST_S;
    const bool last = *tried + 1 >= tries;
    bool judged = false;
    if (call->sunk) return false;
    if (status == 0) {
        *wait = wait_after(call, response, *tried, &judged);
        if (*wait < 0 || *wait > most || (last && !judged)) return false;
        snprintf(why, why_size, "%s asks to wait (%ld)", call->origin, response->status);
    } else {
        if (last || !call->worth_another || (call->sent && !call->repeatable)) return false;
        *wait = backoff(*tried);
        snprintf(why, why_size, "%s", call->failure);
    }
    if (!judged) ++*tried;
    return true;
}

static int perform(struct call *call, struct http_response *response, struct error *err)
{
    for (int tried = 0;;) {
        char why[320];
        double wait;
        const int status = try_once(call, response, err);
        if (status < 0) return -1;
        if (!comes_again(call, status, response, &tried, &wait, why, sizeof(why)))
            return status == 0 ? 0 : error_set(err, ERR_UNAVAILABLE, NULL, "%s", call->failure);
        http_response_free(response);
        if (wait_for(call, wait, why, err) != 0) return -1;
    }
}

static int name_secret(struct call *call, struct error *err)
{
    const struct http_request *request = call->request;
    if (request->authorization == NULL) return 0;
    if (strpbrk(request->authorization, "\r\n") != NULL)
        return error_set(err, ERR_INVALID, NULL, "a secret for %s has a line end in it",
                         call->origin);
    const char *name = request->secret_header != NULL ? request->secret_header : "Authorization";
    if (asprintf(&call->secret, "%s: %s", name, request->authorization) >= 0) return 0;
    call->secret = NULL;
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

int http_perform(struct http_client *client, const struct http_request *request,
                 struct http_response *response, struct error *err)
{
    const char *method = request->method != NULL ? request->method : "GET";
    struct call call = {.client = client,
                        .request = request,
                        .origin = origin_of(request->url),
                        .repeatable = request->repeatable || (strcmp(method, "POST") != 0 &&
                                                              strcmp(method, "PATCH") != 0)};
    *response = (struct http_response){0};
    if (call.origin == NULL) return error_set(err, ERR_INVALID, NULL, "not a URL of http or https");
    int status = name_secret(&call, err);
    if (status == 0) status = perform(&call, response, err);
    if (status != 0) http_response_free(response);
    if (call.secret != NULL) {
        explicit_bzero(call.secret, strlen(call.secret));
        free(call.secret);
    }
    free(call.origin);
    return status;
}
