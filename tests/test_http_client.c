/* test_http_client.c: outgoing HTTP against servers that do what they like. */
#include "ingest/http/http_client.h"
#include "ingest/http/secret.h"
#include "tests/http_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct http_client *client;
static struct fixture_server server, other;

static struct http_client *make_client(const char *ca_file, int per_host)
{
    struct error err = {0};
    const struct http_client_options options = {
        .user_agent = "tekupdb/test", .ca_file = ca_file, .per_host = per_host};
    struct http_client *made = http_client_create(&options, &err);
    cr_assert_not_null(made, "%s", err.message);
    return made;
}

static void start(void)
{
    static const char *const variables[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
                                            "all_proxy",  "ALL_PROXY",   "no_proxy"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) unsetenv(variables[i]);
    client = make_client(NULL, 8);
}

static void finish(void)
{
    http_client_free(client);
    if (server.answer != NULL) fixture_stop(&server);
    if (other.answer != NULL) fixture_stop(&other);
}

TestSuite(http_client, .init = start, .fini = finish, .timeout = 600);

static const char *url_of(const struct fixture_server *of, const char *path)
{
    static char url[512];
    snprintf(url, sizeof(url), "%s%s", of->url, path);
    return url;
}

static struct http_response expect_answer(const struct http_request *request, long status)
{
    struct http_response response;
    struct error err = {0};
    cr_assert_eq(http_perform(client, request, &response, &err), 0, "%s", err.message);
    cr_expect_eq(response.status, status, "%ld", response.status);
    return response;
}

static struct error expect_failure(const struct http_request *request, enum error_code code)
{
    struct http_response response;
    struct error err = {0};
    cr_assert_eq(http_perform(client, request, &response, &err), -1);
    cr_expect_eq(err.code, code, "%d %s", err.code, err.message);
    return err;
}

/* ---- Plain exchanges ---- */

static bool answer_hello(struct fixture_server *from, int fd, const char *text)
{
    (void)from, (void)text;
    fixture_reply(fd, "200 OK", "X-One: 1\r\nx-two:  two words \r\n", "hello");
    return true;
}

Test(http_client, gets_and_uses_the_connection_again)
{
    fixture_start(&server, answer_hello, NULL);
    const char *headers[] = {"Accept: text/x", NULL};
    for (int i = 0; i < 5; i++) {
        const struct http_request request = {.url = url_of(&server, "/a?b=c"), .headers = headers};
        struct http_response response = expect_answer(&request, 200);
        cr_expect_str_eq(response.body, "hello");
        cr_expect_eq(response.length, 5);
        cr_expect_str_eq(http_response_header(&response, "x-ONE"), "1");
        cr_expect_str_eq(http_response_header(&response, "X-Two"), "two words");
        cr_expect_null(http_response_header(&response, "X-Three"));
        cr_expect_str_eq(response.url, request.url);
        http_response_free(&response);
    }
    cr_expect_eq(atomic_load(&server.connections), 1);
    cr_expect(fixture_was_sent(&server, "GET /a?b=c HTTP/1.1"));
    cr_expect(fixture_was_sent(&server, "User-Agent: tekupdb/test"));
    cr_expect(fixture_was_sent(&server, "Accept: text/x"));
    cr_expect_not(fixture_was_sent(&server, "Authorization"));
}

Test(http_client, posts_a_body_with_a_secret)
{
    fixture_start(&server, answer_hello, NULL);
    struct http_request request = {.method = "POST",
                                   .url = url_of(&server, "/"),
                                   .authorization = "Bearer s3cret",
                                   .body = "{\"a\": 1}",
                                   .body_length = 8};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "Authorization: Bearer s3cret"));
    cr_expect(fixture_was_sent(&server, "Content-Type: application/json"));
    cr_expect(fixture_was_sent(&server, "\r\n\r\n{\"a\": 1}"));
    request.secret_header = "api-key";
    request.method = "PATCH";
    response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "api-key: Bearer s3cret"));
    cr_expect(fixture_was_sent(&server, "PATCH / "));
    cr_expect_not(fixture_was_sent(&server, "Authorization"));
    request.authorization = "x\r\nEvil: 1";
    expect_failure(&request, ERR_INVALID);
}

Test(http_client, what_is_no_url_of_http_is_refused)
{
    const char *urls[] = {"", "x", "file:///etc/passwd", "ftp://localhost/", "http://", "//x/y"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++)
        expect_failure(&(struct http_request){.url = urls[i]}, ERR_INVALID);
}

/* ---- Redirects ---- */

/* /to-other, /to-self, /loop, /up: redirects; anything else is the end. */
static bool answer_redirects(struct fixture_server *from, int fd, const char *text)
{
    char headers[256] = "";
    const struct fixture_server *to = from->arg;
    if (strstr(text, " /to-other") != NULL)
        snprintf(headers, sizeof(headers), "Location: %s/end?token=abc\r\n", to->url);
    else if (strstr(text, " /to-self") != NULL)
        snprintf(headers, sizeof(headers), "Location: /end\r\n");
    else if (strstr(text, " /loop") != NULL)
        snprintf(headers, sizeof(headers), "Location: /loop\r\n");
    else if (strstr(text, " /file") != NULL)
        snprintf(headers, sizeof(headers), "Location: file:///etc/passwd\r\n");
    const char *status = strstr(text, "keep") != NULL ? "307 Temporary Redirect" : "302 Found";
    fixture_reply(fd, *headers != '\0' ? status : "200 OK", headers, *headers != '\0' ? "" : "end");
    return true;
}

Test(http_client, a_redirect_takes_no_secret_to_another_origin)
{
    fixture_start(&server, answer_redirects, &other);
    fixture_start(&other, answer_redirects, &server);
    struct http_request request = {.url = url_of(&server, "/to-self"),
                                   .authorization = "Bearer s3cret"};
    struct http_response response = expect_answer(&request, 200);
    cr_expect_str_eq(response.body, "end");
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "GET /end"));
    cr_expect(fixture_was_sent(&server, "Bearer s3cret"), "the same origin is trusted");
    /* The same host, another port. */
    request.url = url_of(&server, "/to-other");
    response = expect_answer(&request, 200);
    cr_expect_str_eq(response.url, url_of(&other, "/end?token=abc"));
    http_response_free(&response);
    cr_expect(fixture_was_sent(&other, "GET /end?token=abc"));
    cr_expect_not(fixture_was_sent(&other, "s3cret"));
    cr_expect_not(fixture_was_sent(&other, "Authorization"));
}

Test(http_client, redirects_of_what_is_sent)
{
    fixture_start(&server, answer_redirects, &other);
    fixture_start(&other, answer_redirects, &server);
    struct http_request request = {
        .method = "POST", .url = url_of(&server, "/to-self"), .body = "x", .body_length = 1};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "GET /end"), "302 turns a POST into a GET");
    request.url = url_of(&server, "/to-self?keep");
    response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "POST /end"));
    request.url = url_of(&server, "/to-other?keep");
    expect_failure(&request, ERR_INVALID);
    cr_expect_eq(atomic_load(&other.requests), 0);
}

/* A redirect to where nobody listens. */
static bool answer_moved(struct fixture_server *from, int fd, const char *text)
{
    char headers[128];
    (void)text;
    snprintf(headers, sizeof(headers), "Location: http://127.0.0.1:%d/\r\n", *(int *)from->arg);
    fixture_reply(fd, "303 See Other", headers, "");
    return true;
}

Test(http_client, a_post_that_was_answered_is_not_repeated_for_what_comes_after_it)
{
    fixture_start(&other, answer_hello, NULL);
    int port = other.port;
    fixture_stop(&other);
    other.answer = NULL;
    fixture_start(&server, answer_moved, &port);
    struct http_request request = {
        .method = "POST", .url = url_of(&server, "/"), .body = "x", .body_length = 1, .tries = 3};
    expect_failure(&request, ERR_UNAVAILABLE);
    cr_expect_eq(atomic_load(&server.requests), 1);
    request.repeatable = true;
    expect_failure(&request, ERR_UNAVAILABLE);
    cr_expect_eq(atomic_load(&server.requests), 4);
}

Test(http_client, only_a_post_becomes_a_get)
{
    fixture_start(&server, answer_redirects, &other);
    struct http_request request = {.method = "DELETE", .url = url_of(&server, "/to-self")};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "DELETE /end"));
    request.method = "HEAD";
    response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "HEAD /end"));
}

Test(http_client, redirects_that_are_not_followed)
{
    fixture_start(&server, answer_redirects, NULL);
    struct error err = expect_failure(
        &(struct http_request){.url = url_of(&server, "/loop?q=s3cret")}, ERR_INVALID);
    cr_expect_eq(atomic_load(&server.requests), HTTP_REDIRECTS + 1);
    cr_expect(strstr(err.message, "s3cret") == NULL, "%s", err.message);
    expect_failure(&(struct http_request){.url = url_of(&server, "/file")}, ERR_INVALID);
}

/* ---- Size, and bodies that come bit by bit ---- */

static bool answer_large(struct fixture_server *from, int fd, const char *text)
{
    (void)from;
    char block[65537] = ""; /* each connection's thread has its own */
    memset(block, 'x', sizeof(block) - 1);
    fixture_send(fd, strstr(text, "missing") != NULL
                         ? "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
                         : "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 64; i++) fixture_send(fd, block);
    return false;
}

struct sink {
    size_t length, most;
};

static int take(void *arg, const void *bytes, size_t length, struct error *err)
{
    struct sink *sink = arg;
    (void)bytes;
    sink->length += length;
    if (sink->length > sink->most) return error_set(err, ERR_IO, NULL, "the disk is full");
    usleep(500);
    return 0;
}

Test(http_client, a_body_that_is_too_large_ends_the_call)
{
    fixture_start(&server, answer_large, NULL);
    struct http_request request = {.url = url_of(&server, "/"), .response_most = 1 << 20};
    expect_failure(&request, ERR_TOO_LARGE);
    cr_expect_eq(atomic_load(&server.requests), 1, "and is not asked for again");
    request.response_most = 4 << 20;
    struct http_response response = expect_answer(&request, 200);
    cr_expect_eq(response.length, 4 << 20);
    http_response_free(&response);
}

Test(http_client, a_sink_takes_the_body_as_it_comes)
{
    fixture_start(&server, answer_large, NULL);
    struct sink sink = {.most = SIZE_MAX};
    struct http_request request = {.url = url_of(&server, "/"), .sink = take, .arg = &sink};
    struct http_response response = expect_answer(&request, 200);
    cr_expect_eq(sink.length, 4 << 20);
    cr_expect_eq(response.length, 0);
    http_response_free(&response);
    sink = (struct sink){.most = 1 << 20};
    struct error err = expect_failure(&request, ERR_IO);
    cr_expect_str_eq(err.message, "the disk is full");
    sink = (struct sink){.most = SIZE_MAX};
    request.url = url_of(&server, "/missing");
    response = expect_answer(&request, 404);
    cr_expect_eq(sink.length, 0, "the body of an error is no content");
    cr_expect_eq(response.length, 4 << 20);
    http_response_free(&response);
}

static bool answer_without_end(struct fixture_server *from, int fd, const char *text)
{
    (void)from, (void)text;
    char block[65537] = ""; /* each connection's thread has its own */
    memset(block, 'x', sizeof(block) - 1);
    fixture_send(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while (send(fd, block, sizeof(block) - 1, MSG_NOSIGNAL) > 0) continue;
    return false;
}

struct slow_sink {
    atomic_bool stop;
    int taken;
};

static int take_slowly(void *arg, const void *bytes, size_t length, struct error *err)
{
    struct slow_sink *sink = arg;
    (void)bytes, (void)length, (void)err;
    usleep(20000);
    if (++sink->taken == 5) atomic_store(&sink->stop, true);
    return 0;
}

Test(http_client, is_stopped_while_there_is_always_more_for_the_sink)
{
    struct slow_sink sink = {.taken = 0};
    fixture_start(&server, answer_without_end, NULL);
    const struct http_request request = {.url = url_of(&server, "/"),
                                         .response_most = SIZE_MAX,
                                         .stop = &sink.stop,
                                         .sink = take_slowly,
                                         .arg = &sink};
    expect_failure(&request, ERR_CANCELLED);
    cr_expect_eq(sink.taken, 5, "%d", sink.taken);
}

/* 64 MiB of spaces in gzip, which gzip itself makes of a few bytes. */
static char *bomb; /* stays: the server may be sending it at the test's end */
static size_t bomb_length;

static bool answer_bomb(struct fixture_server *from, int fd, const char *text)
{
    char head[160];
    (void)from, (void)text;
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
             bomb_length);
    fixture_send(fd, head);
    for (size_t sent = 0; sent < bomb_length;) {
        const ssize_t more = send(fd, bomb + sent, bomb_length - sent, MSG_NOSIGNAL);
        if (more <= 0) return false;
        sent += (size_t)more;
    }
    return true;
}

Test(http_client, limits_hold_for_what_a_body_is_decompressed_to)
{
    FILE *made = popen("head -c 67108864 /dev/zero | tr '\\0' ' ' | gzip -9", "r");
    cr_assert_not_null(made);
    bomb = malloc(1 << 20);
    bomb_length = fread(bomb, 1, 1 << 20, made);
    pclose(made);
    cr_assert(bomb_length > 1000 && bomb_length < 1 << 20, "%zu", bomb_length);
    fixture_start(&server, answer_bomb, NULL);
    struct http_request request = {.url = url_of(&server, "/"), .response_most = 1 << 20};
    expect_failure(&request, ERR_TOO_LARGE);
    struct sink sink = {.most = SIZE_MAX};
    request.sink = take;
    request.arg = &sink;
    expect_failure(&request, ERR_TOO_LARGE);
    cr_expect(sink.length <= 1 << 20, "%zu", sink.length);
    request.sink = NULL;
    request.response_most = 64 << 20;
    struct http_response response = expect_answer(&request, 200);
    cr_expect_eq(response.length, 64 << 20);
    http_response_free(&response);
}

static bool answer_headers(struct fixture_server *from, int fd, const char *text)
{
    (void)from, (void)text;
    char line[1100];
    memset(line, 'x', sizeof(line));
    memcpy(line, "X-Y: ", 5);
    memcpy(line + sizeof(line) - 3, "\r\n", 3);
    fixture_send(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++) fixture_send(fd, line);
    return false;
}

Test(http_client, headers_without_end)
{
    fixture_start(&server, answer_headers, NULL);
    const struct http_request request = {.url = url_of(&server, "/"), .tries = 1};
    expect_failure(&request, ERR_UNAVAILABLE);
}

/* ---- Trying again ---- */

/* Fails in the way that arg names, as often as `failures` says, and then answers. */
struct trouble {
    const char *answer; /* NULL: the connection is cut */
    int failures;
    atomic_int met;
};

static bool answer_trouble(struct fixture_server *from, int fd, const char *text)
{
    struct trouble *trouble = from->arg;
    (void)text;
    if (atomic_fetch_add(&trouble->met, 1) >= trouble->failures) {
        fixture_reply(fd, "200 OK", "", "at last");
        return true;
    }
    if (trouble->answer != NULL) fixture_send(fd, trouble->answer);
    return false;
}

static double clock_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void expect_tries(const char *answer, int failures, const char *method, bool repeatable,
                         int tries, long status)
{
    struct trouble trouble = {.answer = answer, .failures = failures};
    struct fixture_server troubled;
    fixture_start(&troubled, answer_trouble, &trouble);
    const struct http_request request = {.method = method,
                                         .url = url_of(&troubled, "/"),
                                         .body = *method == 'P' ? "{}" : NULL,
                                         .body_length = *method == 'P' ? 2 : 0,
                                         .repeatable = repeatable,
                                         .tries = 3};
    struct http_response response;
    struct error err = {0};
    const int result = http_perform(client, &request, &response, &err);
    cr_expect_eq(result == 0 ? response.status : -1, status, "%s %s: %ld %s", method,
                 answer != NULL ? answer : "cut", response.status, err.message);
    if (result != 0) cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(atomic_load(&trouble.met), tries, "%s %s: %d", method,
                 answer != NULL ? answer : "cut", atomic_load(&trouble.met));
    http_response_free(&response);
    fixture_stop(&troubled);
}

#define SHORT "Content-Length: 0\r\nConnection: close\r\n"

Test(http_client, tries_again_what_may_be_repeated)
{
    expect_tries(NULL, 1, "GET", false, 2, 200);
    expect_tries(NULL, 9, "GET", false, 3, -1);
    expect_tries("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 1, "GET", false, 2, 200);
    expect_tries("HTTP/1.1 502 Bad Gateway\r\n" SHORT "\r\n", 1, "GET", false, 2, 200);
    expect_tries("HTTP/1.1 503 Busy\r\n" SHORT "\r\n", 9, "GET", false, 3, 503);
    expect_tries("HTTP/1.1 404 Not Found\r\n" SHORT "\r\n", 9, "GET", false, 1, 404);
    expect_tries("HTTP/1.1 501 No\r\n" SHORT "\r\n", 9, "GET", false, 1, 501);
    expect_tries(NULL, 1, "POST", true, 2, 200);
    expect_tries(NULL, 1, "PUT", false, 2, 200);
}

Test(http_client, does_not_send_a_post_twice_that_may_have_counted)
{
    expect_tries(NULL, 1, "POST", false, 1, -1);
    expect_tries("HTTP/1.1 502 Bad Gateway\r\n" SHORT "\r\n", 1, "POST", false, 1, 502);
    expect_tries("HTTP/1.1 500 No\r\n" SHORT "\r\n", 1, "POST", false, 1, 500);
    expect_tries("HTTP/1.1 429 Slow\r\n" SHORT "Retry-After: 0\r\n\r\n", 1, "POST", false, 2, 200);
    expect_tries("HTTP/1.1 503 Busy\r\n" SHORT "Retry-After: 0\r\n\r\n", 1, "POST", false, 2, 200);
}

/* Keeps the connection after a GET, and cuts it at a POST. */
static bool answer_get_only(struct fixture_server *from, int fd, const char *text)
{
    if (strncmp(text, "GET", 3) != 0) return false;
    return answer_hello(from, fd, text);
}

Test(http_client, does_not_send_a_post_twice_on_a_connection_that_was_used_before)
{
    fixture_start(&server, answer_get_only, NULL);
    struct http_request request = {.url = url_of(&server, "/")};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    request.method = "POST";
    request.body = "{}";
    request.body_length = 2;
    expect_failure(&request, ERR_UNAVAILABLE);
    cr_expect_eq(atomic_load(&server.requests), 2);
    request.method = "PATCH";
    expect_failure(&request, ERR_UNAVAILABLE);
    cr_expect_eq(atomic_load(&server.requests), 3);
}

Test(http_client, waits_as_long_as_it_is_asked_to)
{
    char answer[256], date[64];
    double began = clock_s();
    expect_tries("HTTP/1.1 429 Slow\r\n" SHORT "Retry-After: 1\r\n\r\n", 1, "GET", false, 2, 200);
    cr_expect(clock_s() - began >= 1, "in seconds");
    const time_t then = time(NULL) + 2;
    struct tm utc;
    gmtime_r(&then, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    snprintf(answer, sizeof(answer), "HTTP/1.1 503 Busy\r\n" SHORT "Retry-After: %s\r\n\r\n", date);
    began = clock_s();
    expect_tries(answer, 1, "GET", false, 2, 200);
    cr_expect(clock_s() - began >= 0.9, "as a date");
}

struct told {
    int waits, ends;
    char why[200];
    double wait; /* what the judge says */
    int judged;
};

static void on_waiting(void *arg, const char *why, time_t until)
{
    struct told *told = arg;
    if (why == NULL) {
        told->ends++;
        return;
    }
    told->waits++;
    snprintf(told->why, sizeof(told->why), "%s", why);
    cr_expect(until >= time(NULL));
}

static double judge(void *arg, const struct http_response *response)
{
    struct told *told = arg;
    if (response->status != 403) return 0;
    told->judged++;
    return told->wait;
}

Test(http_client, the_caller_judges_answers_and_is_told_of_waits)
{
    struct trouble trouble = {.answer = "HTTP/1.1 403 Limit\r\n" SHORT "\r\n", .failures = 4};
    struct told told = {.wait = 0.01};
    fixture_start(&server, answer_trouble, &trouble);
    struct http_request request = {.url = url_of(&server, "/"),
                                   .tries = 2,
                                   .judge = judge,
                                   .waiting = on_waiting,
                                   .arg = &told};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect_eq(told.judged, 4, "waits that the judge asks for are no tries");
    cr_expect_eq(told.waits, 0, "of short ones nobody is told");
    trouble.failures = 6;
    told = (struct told){.wait = 1.2};
    response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect_eq(told.waits, told.judged);
    cr_expect_eq(told.ends, told.waits);
    cr_expect(strstr(told.why, "127.0.0.1") != NULL, "%s", told.why);
    atomic_store(&trouble.met, 0);
    told = (struct told){.wait = -1};
    response = expect_answer(&request, 403);
    http_response_free(&response);
    atomic_store(&trouble.met, 0);
    told = (struct told){.wait = 100};
    request.wait_most_s = 50;
    response = expect_answer(&request, 403);
    http_response_free(&response);
}

/* ---- Ends ---- */

static bool answer_never(struct fixture_server *from, int fd, const char *text)
{
    (void)text;
    if (from->arg != NULL) fixture_send(fd, from->arg);
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) continue;
    return false;
}

Test(http_client, times_out_in_words)
{
    const char *starts[] = {NULL, "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture_server silent;
        fixture_start(&silent, answer_never, (void *)starts[i]);
        const struct http_request request = {.url = url_of(&silent, "/?key=s3cret"),
                                             .authorization = "Bearer s3cret",
                                             .timeout_s = 0.3,
                                             .tries = 1};
        struct error err = expect_failure(&request, ERR_UNAVAILABLE);
        cr_expect(strstr(err.message, "127.0.0.1") != NULL, "%s", err.message);
        cr_expect(strstr(err.message, "s3cret") == NULL, "%s", err.message);
        fixture_stop(&silent);
    }
}

/* A socket on a port of 127.0.0.1 (0: any) that nobody else gets, and nobody listens on; -1 where
 * it is taken. */
static int hold_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    const int held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(held, (struct sockaddr *)&address, size) != 0) {
        close(held);
        return -1;
    }
    cr_assert_eq(getsockname(held, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return held;
}

Test(http_client, a_server_that_is_not_there)
{
    char url[100];
    int port = 0;
    const int held = hold_port(&port);
    cr_assert_geq(held, 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    struct error err =
        expect_failure(&(struct http_request){.url = url, .tries = 2}, ERR_UNAVAILABLE);
    cr_expect(strstr(err.message, "127.0.0.1") != NULL, "%s", err.message);
    close(held);
}

struct stopper {
    atomic_bool stop;
    struct http_client *client;
};

static void *stop_soon(void *arg)
{
    struct stopper *stopper = arg;
    usleep(200000);
    if (stopper->client != NULL)
        http_client_stop(stopper->client);
    else
        atomic_store(&stopper->stop, true);
    return NULL;
}

static void expect_stopped(struct http_request *request, struct stopper *stopper)
{
    pthread_t thread;
    const double began = clock_s();
    cr_assert_eq(pthread_create(&thread, NULL, stop_soon, stopper), 0);
    request->stop = &stopper->stop;
    expect_failure(request, ERR_CANCELLED);
    cr_expect(clock_s() - began < 50, "not at the end of the wait");
    pthread_join(thread, NULL);
}

Test(http_client, is_stopped_in_a_transfer_and_in_a_wait)
{
    struct trouble trouble = {.answer = "HTTP/1.1 429 Slow\r\n" SHORT "Retry-After: 60\r\n\r\n",
                              .failures = 9};
    struct stopper stopper = {0};
    fixture_start(&server, answer_never, NULL);
    fixture_start(&other, answer_trouble, &trouble);
    expect_stopped(&(struct http_request){.url = url_of(&server, "/")}, &stopper);
    atomic_store(&stopper.stop, false);
    expect_stopped(&(struct http_request){.url = url_of(&other, "/")}, &stopper);
    atomic_store(&stopper.stop, false);
    stopper.client = client;
    expect_stopped(&(struct http_request){.url = url_of(&other, "/")}, &stopper);
    expect_failure(&(struct http_request){.url = url_of(&other, "/")}, ERR_CANCELLED);
}

/* ---- Many at once ---- */

static bool answer_slowly(struct fixture_server *from, int fd, const char *text)
{
    usleep(20000);
    return answer_hello(from, fd, text);
}

static void *get_some(void *arg)
{
    for (int i = 0; i < 10; i++) {
        struct http_response response;
        struct error err = {0};
        const struct http_request request = {.url = arg};
        cr_assert_eq(http_perform(client, &request, &response, &err), 0, "%s", err.message);
        cr_assert_str_eq(response.body, "hello");
        http_response_free(&response);
    }
    return NULL;
}

Test(http_client, bounds_the_connections_to_a_host)
{
    enum { THREADS = 12 };
    pthread_t threads[THREADS];
    fixture_start(&server, answer_slowly, NULL);
    http_client_free(client);
    client = make_client(NULL, 3);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, get_some, server.url), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&server.requests), 10 * THREADS);
    cr_expect(atomic_load(&server.most_open) <= 3, "%d", atomic_load(&server.most_open));
}

/* ---- TLS ---- */

extern char **environ;

/* A server with a certificate of its own making, run by another program. */
struct tls_server {
    char directory[32], ca_file[64], url[64];
    int port;
    pid_t pid;
};

/* None of those that the system gives to whoever asks for any (32768 and on, as a rule): it might,
 * before the program has it. */
static int free_port(void)
{
    struct timespec now;
    int held = -1, port = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned state = (unsigned)now.tv_nsec ^ (unsigned)getpid() << 12;
    while (held < 0) {
        state = state * 1664525u + 1013904223u;
        port = 12000 + (int)((state >> 8) % 20000);
        held = hold_port(&port);
    }
    close(held);
    return port;
}

/* `program` is what the shell runs in the directory of cert.pem and key.pem; it finds the port in
 * $PORT. `name` is the subject's alternative name. */
static void tls_start(struct tls_server *tls, const char *name, const char *program)
{
    char command[2048];
    strcpy(tls->directory, "/tmp/tekup-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(tls->directory));
    tls->port = free_port();
    snprintf(tls->ca_file, sizeof(tls->ca_file), "%s/cert.pem", tls->directory);
    snprintf(tls->url, sizeof(tls->url), "https://127.0.0.1:%d/", tls->port);
    snprintf(
        command, sizeof(command),
        "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
        " -subj /CN=test -addext subjectAltName=%s >/dev/null 2>&1",
        tls->directory, name);
    cr_assert_eq(system(command), 0);
    snprintf(command, sizeof(command),
             "cd %s && export PORT=%d && exec %s >/dev/null 2>&1 </dev/null", tls->directory,
             tls->port, program);
    char *arguments[] = {(char *)"sh", (char *)"-c", command, NULL};
    cr_assert_eq(posix_spawn(&tls->pid, "/bin/sh", NULL, NULL, arguments, environ), 0);
}

static void tls_stop(const struct tls_server *tls)
{
    char command[100];
    kill(tls->pid, SIGTERM);
    waitpid(tls->pid, NULL, 0);
    snprintf(command, sizeof(command), "rm -rf %s", tls->directory);
    cr_assert_eq(system(command), 0);
}

/* Asks until the server is there, or says what does not change: something about a certificate. */
static int tls_get(struct http_client *of_tls, const struct tls_server *tls,
                   struct http_response *response, struct error *err)
{
    int status = -1;
    for (int i = 0; i < 2400 && status != 0; i++) {
        *err = (struct error){0};
        status = http_perform(of_tls, &(struct http_request){.url = tls->url, .tries = 1}, response,
                              err);
        if (status != 0 && strcasestr(err->message, "certificate") != NULL) break;
        if (status != 0) usleep(50000);
    }
    return status;
}

static void check_tls(const char *name, bool trusted, bool accepted)
{
    struct tls_server tls;
    struct http_response response;
    struct error err;
    tls_start(&tls, name,
              "openssl s_server -accept 127.0.0.1:$PORT -cert cert.pem -key key.pem -www");
    struct http_client *of_tls = make_client(trusted ? tls.ca_file : NULL, 2);
    const int status = tls_get(of_tls, &tls, &response, &err);
    cr_expect_eq(status == 0, accepted, "%s", err.message);
    if (!accepted) cr_expect(strcasestr(err.message, "certificate") != NULL, "%s", err.message);
    http_response_free(&response);
    http_client_free(of_tls);
    tls_stop(&tls);
}

Test(http_client, certificates_are_verified)
{
    unsetenv("CURL_CA_BUNDLE");
    unsetenv("SSL_CERT_FILE");
    check_tls("IP:127.0.0.1", true, true);
    check_tls("IP:127.0.0.1", false, false);
    check_tls("DNS:example.com", true, false);
}

/* Answers with the version of HTTP, what was sent as Authorization, and how many connections there
 * have been, after a moment; /to?URL redirects. */
#define HTTP2_SERVER                                                                               \
    "node -e '"                                                                                    \
    "const fs = require(\"fs\"); let sessions = 0;"                                                \
    "const server = require(\"http2\").createSecureServer({allowHTTP1: true,"                      \
    " key: fs.readFileSync(\"key.pem\"), cert: fs.readFileSync(\"cert.pem\")},"                    \
    " (request, response) => setTimeout(() => {"                                                   \
    " if (request.url.startsWith(\"/to?\"))"                                                       \
    " response.writeHead(302, {location: request.url.slice(4)});"                                  \
    " response.end(`${request.httpVersion} ${request.headers.authorization || \"none\"}"           \
    " ${sessions}`); }, 100));"                                                                    \
    "server.on(\"session\", () => sessions++); server.listen(process.env.PORT, \"127.0.0.1\");'"

static struct tls_server http2;

static void start_http2(void)
{
    struct http_response response;
    struct error err;
    if (system("command -v node >/dev/null 2>&1") != 0) cr_skip_test("there is no node here");
    tls_start(&http2, "IP:127.0.0.1", HTTP2_SERVER);
    http_client_free(client);
    client = make_client(http2.ca_file, 2);
    cr_assert_eq(tls_get(client, &http2, &response, &err), 0, "%s", err.message);
    http_response_free(&response);
}

static void *get_http2(void *arg)
{
    const struct http_request request = {.url = http2.url};
    struct http_response response = expect_answer(&request, 200);
    (void)arg;
    cr_expect_str_eq(response.body, "2.0 none 1", "%s", response.body);
    http_response_free(&response);
    return NULL;
}

Test(http_client, speaks_http_2_in_many_streams_of_one_connection)
{
    enum { THREADS = 10 };
    pthread_t threads[THREADS];
    start_http2();
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, get_http2, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    tls_stop(&http2);
}

static bool answer_to_tls(struct fixture_server *from, int fd, const char *text)
{
    char headers[128];
    (void)text;
    snprintf(headers, sizeof(headers), "Location: %s\r\n", (const char *)from->arg);
    fixture_reply(fd, "302 Found", headers, "");
    return true;
}

Test(http_client, redirects_between_http_and_https)
{
    char url[200];
    start_http2();
    fixture_start(&server, answer_to_tls, http2.url);
    struct http_request request = {.url = url_of(&server, "/"), .authorization = "Bearer s3cret"};
    struct http_response response = expect_answer(&request, 200);
    cr_expect(strstr(response.body, " none ") != NULL, "another scheme is another origin: %s",
              response.body);
    http_response_free(&response);
    fixture_start(&other, answer_hello, NULL);
    snprintf(url, sizeof(url), "%sto?%s/", http2.url, other.url);
    request.url = url;
    expect_failure(&request, ERR_INVALID);
    cr_expect_eq(atomic_load(&other.requests), 0, "from https to http nothing is followed");
    snprintf(url, sizeof(url), "%sto?%s", http2.url, http2.url);
    response = expect_answer(&request, 200);
    cr_expect(strstr(response.body, "Bearer s3cret") != NULL, "%s", response.body);
    http_response_free(&response);
    tls_stop(&http2);
}

Test(http_client, a_proxy_of_the_environment_is_used)
{
    fixture_start(&server, answer_hello, NULL);
    setenv("http_proxy", server.url, 1);
    const struct http_request request = {.url = "http://nowhere.invalid/x", .tries = 1};
    struct http_response response = expect_answer(&request, 200);
    http_response_free(&response);
    cr_expect(fixture_was_sent(&server, "GET http://nowhere.invalid/x "));
    setenv("no_proxy", "nowhere.invalid", 1);
    expect_failure(&request, ERR_UNAVAILABLE);
}

Test(http_client, a_proxy_that_is_none_is_not_quoted)
{
    static const char *const proxies[] = {
        "http://user:s3cret@[", "http://user:s3cret@a b/", "gopher://user:s3cret@localhost",
        "http://user:s3cret@127.0.0.1:1", "http://user:s3cret@nowhere.invalid"};
    for (size_t i = 0; i < sizeof(proxies) / sizeof(*proxies); i++) {
        struct http_response response;
        struct error err = {0};
        const struct http_client_options options = {
            .user_agent = "tekupdb/test", .proxy = proxies[i], .per_host = 2};
        struct http_client *of_proxy = http_client_create(&options, &err);
        cr_assert_not_null(of_proxy);
        const struct http_request request = {.url = "http://example.com/", .tries = 1};
        cr_expect_eq(http_perform(of_proxy, &request, &response, &err), -1);
        cr_expect(strstr(err.message, "s3cret") == NULL, "%s", err.message);
        cr_expect(strstr(err.message, "roxy") != NULL || strstr(err.message, "connect") != NULL,
                  "%s", err.message);
        http_client_free(of_proxy);
    }
}

/* ---- Secrets ---- */

static void expect_secret(const char *env, const char *file, const char *expected,
                          const char *wrong)
{
    char *secret;
    struct error err = {0};
    const int status = secret_read(env, file, "config.tokenEnv", &secret, &err);
    if (expected != NULL) {
        cr_assert_eq(status, 0, "%s", err.message);
        cr_expect_str_eq(secret, expected);
    } else {
        cr_expect_eq(status, -1);
        cr_expect_null(secret);
        cr_expect_str_eq(err.field, "config.tokenEnv");
        cr_expect(strstr(err.message, wrong) != NULL, "%s", err.message);
    }
    secret_forget(secret);
}

static void write_secret(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(chmod(path, mode), 0);
}

Test(http_client, secrets_come_from_the_environment_or_a_file)
{
    char path[] = "/tmp/tekup-secret-XXXXXX";
    close(mkstemp(path));
    setenv("TEST_SECRET", "  s3 cret\n", 1);
    setenv("TEST_EMPTY", " \n", 1);
    expect_secret("TEST_SECRET", NULL, "  s3 cret", NULL);
    expect_secret("TEST_EMPTY", NULL, NULL, "is empty");
    expect_secret("TEST_NOT_SET", NULL, NULL, "TEST_NOT_SET is not set");
    write_secret(path, "token\r\n", 0600);
    expect_secret(NULL, path, "token", NULL);
    write_secret(path, "token", 0604);
    expect_secret(NULL, path, NULL, "everybody");
    write_secret(path, "a\nb\n", 0600);
    expect_secret(NULL, path, NULL, "more than one line");
    expect_secret(NULL, "relative", NULL, "absolute");
    expect_secret(NULL, "/nonexistent/token", NULL, "cannot be read");
    expect_secret(NULL, "/tmp", NULL, "not a file");
    unlink(path);
    cr_expect(secret_env_name_is_valid("GITHUB_TOKEN2"));
    cr_expect_not(secret_env_name_is_valid("2X"));
    cr_expect_not(secret_env_name_is_valid("A-B"));
    cr_expect_not(secret_env_name_is_valid(""));
}
