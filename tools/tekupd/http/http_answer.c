/*
 * http_answer.c: what a request is answered with.
 *
 * A handler answers from any thread. From another one than the loop's the answer goes into the
 * loop's list of finished requests, under its lock, and the loop is woken.
 */
#include "storage/base/log.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/http_internal.h"
#include "tools/tekupd/http/wake_latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counting -------------------------------------------------------------------------------- */

bool http_request_begin(struct http_request *request)
{
    struct http_server *server = request->connection->loop->server;
    clock_gettime(CLOCK_MONOTONIC, &request->began);
    http_look_asked(request->connection);
    wake_latency_hold(server->wake, &request->began);
    pthread_mutex_lock(&server->lock);
    const bool drained = server->drained;
    server->active++;
    pthread_mutex_unlock(&server->lock);
    return !drained;
}

static void count_answer(const struct http_server *server, int status)
{
    struct http_tally *tally = server->options.tally;
    if (tally != NULL && status > 0 && status < HTTP_STATUSES)
        atomic_fetch_add_explicit(&tally->answers[status], 1, memory_order_relaxed);
}

double http_elapsed_ms(const struct http_request *request)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - request->began.tv_sec) * 1e3 +
           (double)(now.tv_nsec - request->began.tv_nsec) / 1e6;
}

void http_request_done(struct http_request *request)
{
    struct http_server *server = request->connection->loop->server;
    const struct http_head *head = &request->connection->head;
    log_debug("http.request", "method=%s path=%s status=%d ms=%.2f",
              *head->method != '\0' ? head->method : "?", log_quote(head->path), request->status,
              http_elapsed_ms(request));
    buffer_free(&request->answer);
    free(request->part);
    request->part = NULL;

    pthread_mutex_lock(&server->lock);
    if (--server->active == 0) pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

/* ---- Its head -------------------------------------------------------------------------------- */

/* What a browser is told with a page: nothing is loaded, run, sent or framed but from and to this
 * origin, no text becomes a script, and no other page learns where one was. */
static const char page_headers[] =
    "Cache-Control: no-cache\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n";

static void put(struct buffer *out, const char *name, const char *value)
{
    buffer_text(out, name);
    buffer_append(out, ": ", 2);
    buffer_text(out, value);
    buffer_append(out, "\r\n", 2);
}

static void put_number(struct buffer *out, const char *name, size_t value)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(out, name, digits + at);
}

/* In the one form that is allowed (RFC 9110, 5.6.7), whatever the locale. */
static const char *date_now(struct date *date)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (date->of == now.tv_sec && date->text[0] != '\0') return date->text;
    date->of = now.tv_sec;
    gmtime_r(&date->of, &tm);
    snprintf(date->text, sizeof(date->text), "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
             days + (size_t)tm.tm_wday % 7 * 3, (unsigned)tm.tm_mday % 32,
             months + (size_t)tm.tm_mon % 12 * 3, (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)tm.tm_hour % 24, (unsigned)tm.tm_min % 60, (unsigned)tm.tm_sec % 61);
    return date->text;
}

struct buffer *http_answer_head(struct http_request *request)
{
    struct connection *connection = request->connection;
    struct loop *loop = connection->loop;
    struct buffer *out = &loop->head;
    const int status = request->status;
    const char line[] = {' ',
                         (char)('0' + status / 100),
                         (char)('0' + status / 10 % 10),
                         (char)('0' + status % 10),
                         ' ',
                         '\0'};
    connection->closes = connection->closes || !connection->head.keeps || request->stream != NULL ||
                         atomic_load(&loop->server->stopping);
    buffer_clear(out);
    buffer_text(out, "HTTP/1.1");
    buffer_text(out, line);
    buffer_text(out, http_reason(status));
    buffer_append(out, "\r\n", 2);
    put(out, "Date", date_now(&loop->date));
    put(out, "Content-Type", request->type != NULL ? request->type : "application/json");
    if (connection->closes)
        put(out, "Connection", "close");
    else if (connection->head.old_version)
        put(out, "Connection", "keep-alive");
    return out;
}

static void put_headers(struct http_request *request, struct buffer *out, size_t length)
{
    if (request->status != 304) put_number(out, "Content-Length", length);
    if (request->page != NULL) {
        put(out, "ETag", request->page->etag);
        buffer_append(out, page_headers, sizeof(page_headers) - 1);
    }
    if (request->next_page[0] != '\0') put(out, "Tekup-Next", request->next_page);
    if (request->allow[0] != '\0') put(out, "Allow", request->allow);
    if (request->status == 401 && request->connection->by_door)
        put(out, "WWW-Authenticate", HTTP_CHALLENGE);
    if (request->status == 503) put(out, "Retry-After", "2");
    buffer_append(out, "\r\n", 2);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void say_that_memory_ran_out(struct http_request *request)
{
    const char *sorry = http_path_is_old(request->connection->head.path)
                            ? "{\"success\":false,\"error\":\"memory ran out\"}"
                            : "{\"error\":{\"code\":\"internal\",\"message\":\"memory ran "
                              "out\",\"field\":null}}";
    buffer_free(&request->answer);
    request->status = 500;
    request->type = NULL;
    request->next_page[0] = '\0';
    buffer_text(&request->answer, sorry);
}

void http_answer_send(struct http_request *request)
{
    struct connection *connection = request->connection;
    if (request->answer.failed) say_that_memory_ran_out(request);
    count_answer(connection->loop->server, request->status);
    const struct http_page *page = request->status == 200 ? request->page : NULL;
    const size_t length = page != NULL ? page->length : request->answer.length;
    const void *body = page != NULL ? (const void *)page->bytes : request->answer.data;
    const bool without = http_is_head(request) || request->status == 304;
    struct buffer *head = http_answer_head(request);
    put_headers(request, head, length);
    if (head->failed || request->answer.failed)
        connection->broken = true;
    else
        connection_write(connection, head->data, head->length, body, without ? 0 : length);
    http_look_answered(connection->loop);
    connection_answered(connection);
}

void http_respond(struct http_request *request, int status, struct buffer *body)
{
    struct loop *loop = request->connection->loop;
    request->status = status;
    request->answer = *body;
    *body = (struct buffer){0};
    if (pthread_equal(pthread_self(), loop->self)) {
        http_answer_send(request);
        return;
    }
    pthread_mutex_lock(&loop->lock);
    const bool first = loop->finished == NULL;
    request->next = loop->finished;
    loop->finished = request;
    if (first) event_active(loop->wake, EV_READ, 0);
    pthread_mutex_unlock(&loop->lock);
}

void http_respond_octets(struct http_request *request, struct buffer *body, const char *next)
{
    request->type = "application/octet-stream";
    if (next != NULL) snprintf(request->next_page, sizeof(request->next_page), "%s", next);
    http_respond(request, 200, body);
}

void http_respond_metrics(struct http_request *request, struct buffer *body)
{
    request->type = "text/plain; version=0.0.4; charset=utf-8";
    http_respond(request, 200, body);
}

void http_respond_page(struct http_request *request, const struct http_page *page)
{
    struct buffer none = {0};
    const char *known = http_header(request, "If-None-Match");
    /* A list of tags, each perhaps marked as weak: ours is in it or not. */
    const bool unchanged = known != NULL && strstr(known, page->etag) != NULL;
    request->type = page->type;
    request->page = page;
    http_respond(request, unchanged ? 304 : 200, &none);
}

void http_respond_refusal(struct http_request *request, int status, const char *field,
                          const char *message)
{
    struct buffer body = {0};
    http_write_refusal(&body, http_path_is_old(request->connection->head.path), status, field,
                       message);
    http_respond(request, status, &body);
}

void http_respond_error(struct http_request *request, const struct error *err)
{
    http_respond_refusal(request, http_status_of(err->code), err->field, err->message);
}
