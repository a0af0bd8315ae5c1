/* openai_send.c: see openai_send.h. */
#include "ingest/embedding/openai_send.h"

#include "ingest/clock.h"
#include "ingest/embedding/openai_message.h"
#include "ingest/http/http_client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUERY_TIMEOUT_S = 20, QUERY_WAIT_S = 3, QUERY_TRIES = 2, LIMIT_WAIT_MOST_S = 600 };

/* ---- Limits ---- */

static void hold_back(struct openai_server *server, double seconds)
{
    pthread_mutex_lock(&server->lock);
    server->not_before = fmax(server->not_before, clock_now() + fmin(seconds, LIMIT_WAIT_MOST_S));
    pthread_mutex_unlock(&server->lock);
}

static double header_number(const struct http_response *response, const char *name, double without)
{
    const char *text = http_response_header(response, name);
    char *end;
    if (text == NULL) return without;
    const double value = strtod(text, &end);
    return end != text && isfinite(value) ? value : without;
}

/* How long until a limit is whole again. */
static double reset_of(const struct http_response *response, const char *name)
{
    const double seconds = openai_read_duration(http_response_header(response, name));
    return seconds >= 0 ? seconds : 0;
}

/* When nothing is left of a limit, nothing is sent until it is back: that is sooner than asking and
 * being told to wait. */
static void keep_to_limits(struct openai_server *server, const struct http_response *response,
                           size_t tokens)
{
    if (header_number(response, "x-ratelimit-remaining-requests", 1) < 1)
        hold_back(server, reset_of(response, "x-ratelimit-reset-requests"));
    if (header_number(response, "x-ratelimit-remaining-tokens", (double)tokens) < (double)tokens)
        hold_back(server, reset_of(response, "x-ratelimit-reset-tokens"));
}

struct sending {
    struct openai_server *server;
    const struct embed_call *call;
};

static void pass_waiting(void *arg, const char *why, time_t until)
{
    const struct embed_call *call = ((struct sending *)arg)->call;
    if (call->waiting != NULL) call->waiting(call->arg, why, until);
}

/* A 429 says when to come again in more ways than one, and may mean that there is no money left. */
static double judge(void *arg, const struct http_response *response)
{
    struct sending *sending = arg;
    char message[8], code[64];
    if (response->status != 429) return 0;
    openai_read_error(response->body, response->length, message, sizeof(message), code,
                      sizeof(code));
    if (strcmp(code, "insufficient_quota") == 0) return -1;
    double wait = header_number(response, "retry-after-ms", -1) / 1000;
    if (wait < 0) wait = http_retry_after(response);
    if (wait < 0)
        wait = fmax(reset_of(response, "x-ratelimit-reset-requests"),
                    reset_of(response, "x-ratelimit-reset-tokens"));
    if (wait <= 0) return 0;
    hold_back(sending->server, wait);
    return wait;
}

static bool is_stopped(const struct openai_server *server, const struct embed_call *call)
{
    return atomic_load(http_client_stopped(server->http)) ||
           (call->stop != NULL && atomic_load(call->stop));
}

/* When the server takes more; others may be told of a later moment meanwhile. */
static double moment_of(struct openai_server *server)
{
    pthread_mutex_lock(&server->lock);
    const double moment = server->not_before;
    pthread_mutex_unlock(&server->lock);
    return moment;
}

static int wait_for_limits(struct openai_server *server, const struct embed_call *call,
                           struct error *err)
{
    bool told = false;
    for (double left; (left = moment_of(server) - clock_now()) > 0 && !is_stopped(server, call);) {
        if (!told && left > 1 && call->waiting != NULL) {
            told = true;
            call->waiting(call->arg, "the embedding server's rate limit",
                          time(NULL) + (time_t)ceil(left));
        }
        clock_sleep_until(clock_now() + left, call->stop, http_client_stopped(server->http));
    }
    if (told) call->waiting(call->arg, NULL, 0);
    return is_stopped(server, call) ? error_set(err, ERR_CANCELLED, NULL, "interrupted") : 0;
}

/* ---- What went wrong ---- */

/* The server's words, without the key, which some servers repeat. */
static void take_words(const struct openai_server *server, const struct http_response *response,
                       char *words, size_t size, char *code, size_t code_size)
{
    openai_read_error(response->body, response->length, words, size, code, code_size);
    const char *key = server->key != NULL ? server->key : "";
    if (strncmp(key, "Bearer ", 7) == 0) key += 7;
    for (char *at; *key != '\0' && (at = strstr(words, key)) != NULL;) memset(at, '*', strlen(key));
}

static enum openai_verdict explain(const struct openai_server *server,
                                   const struct http_response *response, struct error *err)
{
    char words[240], code[64];
    const long status = response->status;
    take_words(server, response, words, sizeof(words), code, sizeof(code));
    const char *colon = words[0] != '\0' ? ": " : "";
    if (status == 401 || status == 403)
        error_set(err, ERR_UNAVAILABLE, NULL, "the embedding server refuses the key (%ld)%s%s",
                  status, colon, words);
    else if (status == 404)
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "the embedding server has no model \"%s\", or nothing at this address (404)%s%s",
                  server->model, colon, words);
    else if (strcmp(code, "insufficient_quota") == 0)
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "the embedding server's quota is used up: see its plan and billing%s%s", colon,
                  words);
    else if (status == 400 || status == 413 || status == 422)
        error_set(err, ERR_INVALID, NULL, "the embedding server refuses it (%ld)%s%s", status,
                  colon, words);
    else
        error_set(err, ERR_UNAVAILABLE, NULL, "the embedding server answers %ld%s%s", status, colon,
                  words);
    return err->code == ERR_INVALID ? OPENAI_REFUSED : OPENAI_FAILED;
}

/* ---- Sending ---- */

static enum openai_verdict read_answer(struct openai_server *server,
                                       const struct http_response *response, size_t count,
                                       float *const *vectors, struct error *err)
{
    if (response->status != 200) return explain(server, response, err);
    if (openai_read(response->body, response->length, count, vectors, err) != 0) {
        /* More texts would meet the same. */
        if (err->code == ERR_INVALID) err->code = ERR_UNAVAILABLE;
        return OPENAI_FAILED;
    }
    pthread_mutex_lock(&server->lock);
    server->proven = true;
    pthread_mutex_unlock(&server->lock);
    return OPENAI_DONE;
}

enum openai_verdict openai_send(struct openai_server *server, const struct embed_call *call,
                                const struct embed_text *const *texts, size_t count,
                                float *const *vectors, struct error *err)
{
    struct sending sending = {server, call};
    struct http_response response;
    struct error own = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += texts[i]->length;
    if (!call->is_query && wait_for_limits(server, call, &own) != 0) goto failed;
    char *body = openai_request(server->model, server->dimensions, texts, count, &own);
    if (body == NULL) goto failed;
    const struct http_request request = {
        .method = "POST",
        .url = server->url,
        .authorization = server->key,
        .secret_header = server->azure ? "api-key" : NULL,
        .body = body,
        .body_length = strlen(body),
        .repeatable = true,
        .timeout_s = call->is_query ? QUERY_TIMEOUT_S : 0,
        .tries = call->is_query ? QUERY_TRIES : 0,
        .wait_most_s = call->is_query ? QUERY_WAIT_S : LIMIT_WAIT_MOST_S,
        .stop = call->stop,
        .waiting = pass_waiting,
        .judge = judge,
        .arg = &sending,
    };
    const int status = http_perform(server->http, &request, &response, &own);
    free(body);
    if (status != 0) {
        /* Where it redirects to, and how much it says, is not the fault of who asks for this. */
        if (own.code == ERR_INVALID || own.code == ERR_TOO_LARGE) own.code = ERR_UNAVAILABLE;
        if (own.code == ERR_UNAVAILABLE) error_prefix(&own, "the embedding server");
        goto failed;
    }
    keep_to_limits(server, &response, bytes / 4);
    const enum openai_verdict verdict = read_answer(server, &response, count, vectors, &own);
    http_response_free(&response);
    if (verdict != OPENAI_DONE && err != NULL) *err = own;
    return verdict;
failed:
    if (err != NULL) *err = own;
    return OPENAI_FAILED;
}

bool openai_is_proven(struct openai_server *server, const struct embed_call *call,
                      struct error *err)
{
    static const struct embed_text plain = {"tekupdb", 7};
    const struct embed_text *text = &plain;
    float vector[EMBEDDING_DIM], *place = vector;
    pthread_mutex_lock(&server->lock);
    const bool proven = server->proven;
    pthread_mutex_unlock(&server->lock);
    return proven || openai_send(server, call, &text, 1, &place, err) == OPENAI_DONE;
}
