/* Speaks raw bytes with a server over a UNIX socket, as bad clients do. */
#include "tests/http_server_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BODY = 100000, ANSWER_SIZE = 1 << 20 };

/* ---- Handlers ---- */

static void echo(struct http_request *request)
{
    struct buffer body = {0};
    size_t length;
    const char *text = http_body(request, &length);
    buffer_format(&body, "[%s|%s|%s|%d|", (const char *)http_route(request)->arg,
                  http_part(request) != NULL ? http_part(request) : "-",
                  http_query(request) != NULL ? http_query(request) : "-", http_body_kind(request));
    buffer_append(&body, text, length);
    buffer_text(&body, "]");
    http_respond(request, 200, &body);
}

/* Which thread the loop of this connection is. */
static void loop_of(struct http_request *request)
{
    struct buffer body = {0};
    buffer_format(&body, "%d", (int)gettid());
    http_respond(request, 200, &body);
}

static void answer_later(void *arg)
{
    struct http_request *request = arg;
    struct buffer body = {0};
    buffer_text(&body, "\"later\"");
    http_respond(request, 201, &body);
}

static void later(struct http_request *request)
{
    struct error err;
    if (workers_submit(workers, answer_later, request) != 0) {
        error_set(&err, ERR_UNAVAILABLE, NULL, "busy");
        http_respond_error(request, &err);
    }
}

static void answer_slowly(void *arg)
{
    atomic_fetch_add(&slow_begun, 1);
    while (!atomic_load(&slow_may_end)) usleep(1000);
    size_t length; /* of a body whose client may be gone */
    const char *body = http_body(arg, &length);
    cr_expect(length == 0 || body[length - 1] != '\0');
    answer_later(arg);
}

static void slow(struct http_request *request)
{
    cr_assert_eq(workers_submit(workers, answer_slowly, request), 0);
}

static void failing(struct http_request *request)
{
    struct error err;
    error_set(&err, ERR_UNAVAILABLE, "limit", "it is \"away\"");
    http_respond_error(request, &err);
}

static void octets(struct http_request *request)
{
    struct buffer body = {0};
    buffer_append(&body, "\0\1", 2);
    http_respond_octets(request, &body, http_query(request));
}

static void page(struct http_request *request)
{
    static const unsigned char bytes[] = "<!doctype html>";
    static const struct http_page hello = {"text/html; charset=utf-8", bytes, sizeof(bytes) - 1,
                                           "\"abc\""};
    http_respond_page(request, &hello);
}

static const struct http_route routes[] = {
    {"GET", "/", 0, page, NULL},
    {"GET", "/echo", 0, echo, "get"},
    {"POST", "/echo", HTTP_JSON | HTTP_OCTETS, echo, "post"},
    {"PUT", "/json", HTTP_JSON, echo, "json"},
    {"GET", "/things/one", 0, echo, "one"},
    {"DELETE", "/things/*", 0, echo, "thing"},
    {"GET", "/things/*", 0, echo, "thing"},
    {"POST", "/later", HTTP_JSON, later, NULL},
    {"POST", "/slow", HTTP_JSON, slow, NULL},
    {"GET", "/loop", 0, loop_of, NULL},
    {"GET", "/octets", 0, octets, NULL},
    {"GET", "/failing", 0, failing, NULL},
    {"GET", "/api/failing", 0, failing, NULL},
    {"POST", "/api/echo", HTTP_JSON, echo, "old"},
    {"GET", "/open", HTTP_OPEN, echo, "open"},
    /* Only where a test wants it, since it raises the limit of all. */
    {"POST", "/hook", HTTP_JSON | HTTP_OPEN | HTTP_LARGE, echo, "hook"},
};
enum { ALL_ROUTES = sizeof(routes) / sizeof(*routes) };

static const char *admit(void *context, const struct http_caller *caller, int *status)
{
    (void)context;
    *status = 401;
    const bool known = caller->api_key != NULL && strcmp(caller->api_key, "friend") == 0;
    return known ? NULL : "a friend is asked for";
}

static void begin_with(size_t route_count, int idle_timeout)
{
    fixture_serve((struct http_options){.max_body = MAX_BODY,
                                        .idle_timeout = idle_timeout,
                                        .routes = routes,
                                        .route_count = route_count,
                                        .admit = admit});
}

static void begin(void)
{
    begin_with(ALL_ROUTES - 1, 60);
}

static void begin_with_all(void)
{
    begin_with(ALL_ROUTES, 60);
}

static void begin_impatiently(void)
{
    begin_with(ALL_ROUTES - 1, 1);
}

TestSuite(http, .init = begin, .fini = fixture_end);

/* ---- A client ---- */

static void say_bytes(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t sent = write(fd, bytes, length);
        if (sent <= 0) return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* Reads one answer, head and body; returns its status, 0 when the connection ended before it. */
static int hear(int fd, char *answer, bool head_only)
{
    size_t length = 0;
    answer[0] = '\0';
    for (;;) {
        const char *body = strstr(answer, "\r\n\r\n");
        if (body != NULL) {
            const char *size = strstr(answer, "Content-Length: ");
            const size_t wanted = size != NULL && !head_only ? strtoul(size + 16, NULL, 10) : 0;
            if (length - (size_t)(body + 4 - answer) >= wanted) break;
        }
        const ssize_t got = read(fd, answer + length, ANSWER_SIZE - 1 - length);
        if (got <= 0) return 0;
        length += (size_t)got;
        answer[length] = '\0';
    }
    int status = 0;
    cr_expect_eq(sscanf(answer, "HTTP/1.1 %d ", &status), 1, "%s", answer);
    return status;
}

/* Whether the server has closed the connection. */
static bool closed(int fd)
{
    char byte;
    return read(fd, &byte, 1) <= 0;
}

/* Expects the status, and that the answer holds the text. */
static void expect(int fd, int status, const char *text)
{
    char *answer = malloc(ANSWER_SIZE);
    cr_assert_not_null(answer);
    cr_expect_eq(hear(fd, answer, false), status, "%s", answer);
    cr_expect_not_null(strstr(answer, text), "'%s' is not in %s", text, answer);
    free(answer);
}

static void expect_once(const char *request, int status, const char *text)
{
    const int fd = dial();
    say(fd, request);
    expect(fd, status, text);
    close(fd);
}

/* ---- Tests ---- */

Test(http, answers_and_keeps_the_connection)
{
    const int fd = dial();
    say(fd, "GET /echo?a=b%20c HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "\r\n\r\n[get|-|a=b%20c|1|]");
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    expect(fd, 200, "[post|-|-|1|abc]");
    say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    expect(fd, 201, "\"later\"");
    say(fd, "GET /things/a%2fb%c3%a6 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "[thing|a/b\xc3\xa6|-|1|]");
    say(fd, "GET /things/one HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "[one|-|");
    say(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(fd, 200, "[get|");
    cr_expect(closed(fd));
    close(fd);
}

Test(http, answers_head_without_a_body)
{
    char *answer = malloc(ANSWER_SIZE);
    const int fd = dial();
    say(fd, "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(hear(fd, answer, true), 200);
    cr_expect_not_null(strstr(answer, "Content-Length: 12\r\n"), "%s", answer);
    cr_expect_null(strstr(answer, "[get"));
    say(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "[get|-|-|1|]");
    close(fd);
    free(answer);
}

Test(http, answers_with_bytes_and_where_the_next_page_begins)
{
    char *answer = malloc(ANSWER_SIZE);
    const int fd = dial();
    say(fd, "GET /octets?7 HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(hear(fd, answer, false), 200);
    cr_expect_not_null(strstr(answer, "Content-Type: application/octet-stream\r\n"), "%s", answer);
    cr_expect_not_null(strstr(answer, "Tekup-Next: 7\r\n"), "%s", answer);
    cr_expect_eq(memcmp(strstr(answer, "\r\n\r\n") + 4, "\0\1", 2), 0);
    say(fd, "GET /octets HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(hear(fd, answer, false), 200);
    cr_expect_null(strstr(answer, "Tekup-Next"), "%s", answer);
    close(fd);
    free(answer);
}

Test(http, answers_with_a_page_that_may_do_nothing_elsewhere)
{
    char *answer = malloc(ANSWER_SIZE);
    const int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(hear(fd, answer, false), 200);
    static const char *const wanted[] = {
        "Content-Type: text/html; charset=utf-8\r\n",
        "Content-Length: 15\r\n",
        "ETag: \"abc\"\r\n",
        "Content-Security-Policy: default-src 'none'; script-src 'self'; ",
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff\r\n",
        "Referrer-Policy: no-referrer\r\n",
        "\r\n\r\n<!doctype html>"};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
        cr_expect_not_null(strstr(answer, wanted[i]), "'%s' is not in %s", wanted[i], answer);
    say(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_expect_eq(hear(fd, answer, true), 200);
    cr_expect_not_null(strstr(answer, "Content-Length: 15\r\n"), "%s", answer);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: W/\"0\", \"abc\"\r\n\r\n");
    cr_expect_eq(hear(fd, answer, true), 304);
    cr_expect_not_null(strstr(answer, "ETag: \"abc\"\r\n"), "%s", answer);
    cr_expect_null(strstr(answer, "Content-Length"), "%s", answer);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"abd\"\r\n\r\n");
    expect(fd, 200, "\r\n\r\n<!doctype html>");
    close(fd);
    free(answer);
}

Test(http, takes_requests_in_pieces_in_chunks_and_in_a_row)
{
    const int fd = dial();
    static const char slowly[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    for (size_t i = 0; i < sizeof(slowly) - 1; i++) say_bytes(fd, slowly + i, 1);
    usleep(20000);
    say(fd, "cde");
    expect(fd, 200, "|abcde]");
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    usleep(20000);
    say(fd, "2\r\nde\r\n0\r\n\r\n");
    expect(fd, 200, "|abcde]");

    for (int i = 0; i < 3; i++) say(fd, "GET /echo?in=a-row HTTP/1.1\r\nHost: x\r\n\r\n");
    char *answers = malloc(ANSWER_SIZE);
    size_t length = 0;
    int found = 0;
    while (found < 3) {
        const ssize_t got = read(fd, answers + length, ANSWER_SIZE - 1 - length);
        cr_assert_gt(got, 0);
        length += (size_t)got;
        answers[length] = '\0';
        found = 0;
        for (char *at = answers; (at = strstr(at, "[get|-|in=a-row|1|]")) != NULL; at++) found++;
    }
    free(answers);
    close(fd);
}

/* More than are answered before others get their turn, and the connection ends when all are. */
Test(http, answers_very_many_in_a_row_of_who_says_no_more)
{
    enum { REQUESTS = 500 };
    const int fd = dial();
    char *answers = malloc(ANSWER_SIZE);
    size_t length = 0;
    ssize_t got;
    int found = 0;
    for (int i = 0; i < REQUESTS; i++)
        say(fd, i % 7 == 0 ? "\r\nPOST /later HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
                           : "GET /echo HTTP/1.1\r\n\r\n");
    shutdown(fd, SHUT_WR);
    while ((got = read(fd, answers + length, ANSWER_SIZE - 1 - length)) > 0) length += (size_t)got;
    answers[length] = '\0';
    for (char *at = answers; (at = strstr(at, "HTTP/1.1 20")) != NULL; at++) found++;
    cr_expect_eq(found, REQUESTS);
    free(answers);
    close(fd);
}

static double processor_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* The loop of a client that asks at once again looks for what it asks next, but not for ever, and
 * others are served meanwhile. */
Test(http, sleeps_when_nobody_asks)
{
    const int fd = dial(), other = dial();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++) {
            say(fd, "GET /echo HTTP/1.1\r\n\r\n");
            expect(fd, 200, "[get|");
        }
        say(other, "POST /later HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
        expect(other, 201, "\"later\"");
    }
    const double before = processor_seconds();
    usleep(500000);
    cr_expect_lt(processor_seconds() - before, 0.25);
    close(fd);
    close(other);
}

Test(http, speaks_the_old_version)
{
    int fd = dial();
    say(fd, "GET /echo HTTP/1.0\r\n\r\n");
    expect(fd, 200, "Connection: close\r\n");
    cr_expect(closed(fd));
    close(fd);
    fd = dial();
    say(fd, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(fd, 200, "Connection: keep-alive\r\n");
    say(fd, "GET http://somewhere/echo?x HTTP/1.0\r\n\r\n");
    expect(fd, 200, "[get|-|x|");
    cr_expect(closed(fd));
    close(fd);
}

Test(http, keeps_what_the_client_does_not_take_yet)
{
    enum { TIMES = 30 };
    char *body = malloc(MAX_BODY), *answer = malloc(ANSWER_SIZE), head[128];
    const int fd = dial();
    memset(body, 'z', MAX_BODY);
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n", MAX_BODY);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){8 << 20}, sizeof(int)), 0);
    /* More than fits into the sockets, so that its reading waits for ours. */
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < TIMES; i++) {
            say(fd, head);
            say_bytes(fd, body, MAX_BODY);
        }
        _exit(0);
    }
    usleep(50000);
    size_t zeds = 0;
    ssize_t got;
    while (zeds < (size_t)TIMES * MAX_BODY && (got = read(fd, answer, ANSWER_SIZE)) > 0)
        for (ssize_t i = 0; i < got; i++) zeds += answer[i] == 'z';
    cr_expect_eq(zeds, (size_t)TIMES * MAX_BODY);
    waitpid(child, NULL, 0);
    free(body);
    free(answer);
    close(fd);
}

/* What is refused by its head is told before the body has come. */
Test(http, refuses_before_the_body_who_asks_whether_to_go_on)
{
    static const struct {
        const char *line;
        int status;
    } cases[] = {{"POST /nowhere", 404}, {"PATCH /echo", 405}, {"POST /echo", 413}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char request[200];
        snprintf(request, sizeof(request),
                 "%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
                 cases[i].line, MAX_BODY + 1);
        const int fd = dial();
        say(fd, request);
        expect(fd, cases[i].status, "Connection: close\r\n");
        cr_expect(closed(fd));
        close(fd);
    }
    /* A small one that has come with it costs nothing. */
    const int fd = dial();
    say(fd, "POST /nowhere HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
            "GET /echo HTTP/1.1\r\n\r\n");
    char *answers = malloc(ANSWER_SIZE);
    cr_expect_eq(hear(fd, answers, false), 404, "%s", answers);
    if (strstr(answers, "[get|") == NULL) expect(fd, 200, "[get|");
    free(answers);
    close(fd);
}

Test(http, says_go_on_to_those_who_ask)
{
    const int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect(fd, 100, "Continue");
    say(fd, "abc");
    expect(fd, 200, "|abc]");
    close(fd);
    expect_once("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n", 400,
                "\"code\":\"invalid\",\"message\":\"of Expect");
}

Test(http, refuses_in_the_error_form)
{
    expect_once("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404,
                "{\"error\":{\"code\":\"not_found\",\"message\":\"there is no such call\","
                "\"field\":null}}");
    expect_once("GET /things/a/b HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found");
    expect_once("GET /things/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found");
    expect_once("DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: GET, HEAD, POST\r\n");
    expect_once("PATCH /json HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: PUT\r\n");
    expect_once("DELETE /things/one HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: GET, HEAD\r\n");
    expect_once("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed");
    expect_once("BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405,
                "\"code\":\"method_not_allowed\",\"message\":\"this call takes GET, HEAD, POST\"");
    expect_once("BREW /coffee HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found");
    expect_once("PUT /json HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                "Content-Length: 1\r\n\r\nx",
                415, "\"code\":\"unsupported_media_type\"");
    expect_once("PUT /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                "Content-Length: 1\r\n\r\nx",
                415, "application/json\"");
    expect_once("PUT /json HTTP/1.1\r\nHost: x\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
                "Content-Length: 2\r\n\r\n{}",
                200, "[json|");
    expect_once("GET /things/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "\"code\":\"invalid\"");
    expect_once("GET /things/%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400, "\"code\":\"invalid\"");
    expect_once("GET /failing HTTP/1.1\r\nHost: x\r\n\r\n", 503, "Retry-After: ");
    expect_once("GET /failing HTTP/1.1\r\nHost: x\r\n\r\n", 503,
                "{\"error\":{\"code\":\"unavailable\",\"message\":\"it is \\\"away\\\"\","
                "\"field\":\"limit\"}}");
}

Test(http, refuses_heads_that_are_not_http_in_the_error_form)
{
    static const char line[] = "the request line is not HTTP/1.1", field[] = "a header is not",
                      length[] = "Content-Length is not a number of bytes";
    static const struct {
        const char *request, *message;
    } wrong[] = {
        {"hello, is anybody there?\r\n\r\n", line},
        {"GET /echo HTTP/9.9\r\nHost: x\r\n\r\n", line},
        {"GET /echo\r\n\r\n", line},
        {"GET echo HTTP/1.1\r\n\r\n", line},
        {"GET  /echo HTTP/1.1\r\n\r\n", line},
        {"GET /echo HTTP/1.1 \r\n\r\n", line},
        {"GET /ec\vho HTTP/1.1\r\n\r\n", line},
        {"G(T /echo HTTP/1.1\r\n\r\n", line},
        {"GET http://?x HTTP/1.1\r\n\r\n", line},
        {"GET /echo HTTP/1.1\r\nno colon here\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\nHost : x\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\nX: a\r\n b\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\nX: a\rb\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\nX: a\x01\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\n\rX: a\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\n: a\r\n\r\n", field},
        {"GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "more than one Host"},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", length},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", length},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", length},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", length},
        {"POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "larger than any"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "only chunked"},
        {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "only chunked"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "a chunk"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "a chunk"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\n", "a chunk"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "a chunk"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
         "a chunk"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const int fd = dial();
        say(fd, wrong[i].request);
        expect(fd, 400, "{\"error\":{\"code\":\"invalid\",\"message\":\"");
        cr_expect(closed(fd), "case %zu", i);
        close(fd);
        expect_once(wrong[i].request, 400, wrong[i].message);
    }
    /* On a connection that was used before, too. */
    const int used = dial();
    say(used, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(used, 200, "[get|");
    say(used, "GET /echo HTTP/1.1\r\nno colon here\r\n\r\n");
    expect(used, 400, "{\"error\":{\"code\":\"invalid\"");
    close(used);

    char *long_head = malloc(100000);
    memset(long_head, 'a', 100000);
    memcpy(long_head, "GET /echo?", 10);
    const int fd = dial();
    say_bytes(fd, long_head, 100000);
    expect(fd, 400, "larger than 64 KiB");
    close(fd);
    free(long_head);
}

/* Without turns one loop often took them all, and one processor did everything. */
Test(http, connections_that_come_at_once_go_to_all_loops)
{
    enum { CONNECTIONS = 60 };
    int fds[CONNECTIONS], loops[CONNECTIONS], of_first = 0;
    char *answer = malloc(ANSWER_SIZE);
    cr_assert_not_null(answer);
    /* Again, where the machine has no time for the other loop just then. */
    for (int tries = 0; tries < 100 && (tries == 0 || of_first == CONNECTIONS); tries++) {
        of_first = 0;
        for (int i = 0; i < CONNECTIONS; i++) fds[i] = dial();
        for (int i = 0; i < CONNECTIONS; i++) {
            say(fds[i], "GET /loop HTTP/1.1\r\nHost: x\r\n\r\n");
            cr_assert_eq(hear(fds[i], answer, false), 200);
            loops[i] = atoi(strstr(answer, "\r\n\r\n") + 4);
            of_first += loops[i] == loops[0];
        }
        for (int i = 0; i < CONNECTIONS; i++) close(fds[i]);
    }
    cr_expect_lt(of_first, CONNECTIONS, "one loop took them all");
    free(answer);
}

Test(http, refuses_a_body_with_two_ends_and_what_follows)
{
    static const char *const heads[] = {
        "Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc",
        "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        char request[512];
        char *answer = malloc(ANSWER_SIZE);
        cr_assert_not_null(answer);
        snprintf(
            request, sizeof(request),
            "POST /echo HTTP/1.1\r\nHost: x\r\n%sGET /echo?smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            heads[i]);
        const int fd = dial();
        say(fd, request);
        cr_expect_eq(hear(fd, answer, false), 400, "%s", answer);
        cr_expect_null(strstr(answer, "echo"), "%s", answer);
        cr_expect_not_null(strstr(answer, "Connection: close\r\n"), "%s", answer);
        cr_expect(closed(fd));
        free(answer);
        close(fd);
    }
    expect_once(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 200,
        "abc");
}

Test(http, drops_a_body_that_is_too_large_and_says_so)
{
    char *body = calloc(1, 1000000);
    char head[128];
    int fd = dial();
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             100 * 1000000);
    say(fd, head);
    for (int i = 0; i < 100; i++) say_bytes(fd, body, 1000000);
    expect(fd, 413,
           "{\"error\":{\"code\":\"too_large\",\"message\":\"the body is larger than "
           "100000 bytes\",\"field\":null}}");
    cr_expect(closed(fd));
    close(fd);

    /* Told before the body is sent: with one chunk too many. */
    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(head, sizeof(head), "%x\r\n", MAX_BODY + 1);
    say(fd, head);
    expect(fd, 413, "\"code\":\"too_large\"");
    close(fd);
    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Expect: 100-continue\r\n\r\n");
    expect(fd, 100, "Continue");
    say(fd, head);
    expect(fd, 413, "\"code\":\"too_large\"");
    close(fd);

    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             MAX_BODY);
    fd = dial();
    memset(body, 'z', MAX_BODY);
    say(fd, head);
    say_bytes(fd, body, MAX_BODY);
    expect(fd, 200, "zzzzz]");
    close(fd);

    /* A smaller limit holds at once, for connections that are there as well. */
    fd = dial();
    http_server_set_max_body(server, 2);
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    expect(fd, 413, "larger than 2 bytes");
    close(fd);
    free(body);
}

/* Whatever is refused, on a new connection or one that was used, in a row or not. */
Test(http, refuses_the_old_calls_in_their_own_form)
{
    static const char form[] = "\r\n\r\n{\"success\":false,\"error\":\"";
    static const char large[] =
        "POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n";
    expect_once("GET /api/nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404,
                "\r\n\r\n{\"success\":false,\"error\":\"there is no such call\"}");
    expect_once("DELETE /api/echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, form);
    expect_once("GET /api/failing HTTP/1.1\r\nHost: x\r\n\r\n", 503,
                "{\"success\":false,\"error\":\"it is \\\"away\\\"\"}");
    expect_once("POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                "Content-Length: 1\r\n\r\nx",
                415, form);
    expect_once("POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, form);
    expect_once("POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n",
                400, form);
    expect_once(large, 413, form);

    int fd = dial();
    say(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "[get|");
    say(fd, "POST /a");
    usleep(20000);
    say(fd, "pi/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    expect(fd, 200, "[old|");
    say(fd, large);
    expect(fd, 413, form);
    close(fd);
    fd = dial();
    say(fd, "GET /api/nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n");
    char *answers = malloc(ANSWER_SIZE);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, answers + length, ANSWER_SIZE - 1 - length)) > 0) length += (size_t)got;
    answers[length] = '\0';
    cr_expect_not_null(strstr(answers, form), "%s", answers);
    cr_expect_not_null(strstr(answers, "{\"error\":{\"code\":\"invalid\""), "%s", answers);
    free(answers);
    close(fd);
}

Test(http, survives_clients_that_go_away)
{
    /* In the head, in the body, while a worker is at it, and before the answer is read. */
    static const char *const unfinished[] = {
        "GET /ec", "GET /echo HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
    for (size_t i = 0; i < sizeof(unfinished) / sizeof(*unfinished); i++) {
        const int fd = dial();
        say(fd, unfinished[i]);
        close(fd);
    }
    for (int i = 0; i < 4; i++) {
        const int fd = dial();
        say(fd, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
        while (atomic_load(&slow_begun) <= i) usleep(1000);
        close(fd);
    }
    atomic_store(&slow_may_end, true);
    for (int i = 0; i < 50; i++) {
        const int fd = dial();
        say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
        close(fd);
    }
    expect_once("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "[get|");
}

Test(http, ends_connections_that_are_silent_but_for_a_handler, .init = begin_impatiently)
{
    static const char *const said[] = {"", "GET /ec",
                                       "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
                                       "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9",
                                       "GET /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n"};
    const int busy = dial();
    say(busy, "POST /slow HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
        char bytes[1000];
        const int fd = dial();
        say(fd, said[i]);
        while (read(fd, bytes, sizeof(bytes)) > 0) continue;
        close(fd);
    }
    atomic_store(&slow_may_end, true);
    expect(busy, 201, "\"later\"");
    cr_expect(closed(busy), "until it was answered");
    close(busy);
}

Test(http, lets_what_is_under_way_end_before_it_stops)
{
    const int fd = dial();
    const int idle = dial();
    say(fd, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    while (atomic_load(&slow_begun) == 0) usleep(1000);
    cr_expect_eq(http_server_drain(server, 50), 1, "one is not done yet");
    atomic_store(&slow_may_end, true);
    cr_expect_eq(http_server_drain(server, 60000), 0);
    expect(fd, 201, "Connection: close\r\n");
    cr_expect(closed(fd));
    close(fd);
    close(idle);
}

static void *many_requests(void *arg)
{
    atomic_int *right = arg;
    char *answer = malloc(ANSWER_SIZE);
    const int fd = dial();
    for (int i = 0; i < 200; i++) {
        char request[200], wanted[32];
        snprintf(wanted, sizeof(wanted), "%d", i);
        snprintf(request, sizeof(request),
                 i % 2 == 0 ? "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
                            : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(wanted), wanted);
        snprintf(wanted, sizeof(wanted), i % 2 == 0 ? "\"later\"" : "|%d]", i);
        say(fd, request);
        if (hear(fd, answer, false) != 0 && strstr(answer, wanted) != NULL)
            atomic_fetch_add(right, 1);
    }
    close(fd);
    free(answer);
    return NULL;
}

Test(http, serves_many_clients_at_once)
{
    pthread_t clients[8];
    atomic_int right = 0;
    for (int i = 0; i < 8; i++) pthread_create(&clients[i], NULL, many_requests, &right);
    for (int i = 0; i < 8; i++) pthread_join(clients[i], NULL);
    cr_expect_eq(atomic_load(&right), 1600);
}

/* ---- Doors ---- */

static const char stranger[] = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";
static const char friend_says[] = "GET /echo HTTP/1.1\r\nHost: x\r\nX-API-Key: friend\r\n\r\n";

static void wait_until_closed(int port)
{
    for (int i = 0; i < 60000; i++) {
        const int fd = dial_port(port);
        if (fd < 0) return;
        close(fd);
        usleep(1000);
    }
    cr_assert_fail("the door is still open");
}

Test(http, asks_who_comes_in_by_a_door)
{
    const int fd = dial_port(open_port(0));
    say(fd, stranger);
    expect(fd, 401, "a friend is asked for");
    say(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 401, "WWW-Authenticate: Bearer");
    say(fd, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd, 200, "[open|");
    say(fd, friend_says);
    expect(fd, 200, "[get|");
    close(fd);
    expect_once(stranger, 200, "[get|"); /* not by a door */
}

/* Says a head for a body of so many bytes, which is told in the way that is given. */
static int begin_body(int port, const char *path, const char *headers, const char *length)
{
    char head[512];
    const int fd = dial_port(port);
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n\r\n", path, headers,
             length);
    say(fd, head);
    return fd;
}

static void say_zeds(int fd, size_t count)
{
    char *body = malloc(count);
    cr_assert_not_null(body);
    memset(body, 'z', count);
    say_bytes(fd, body, count);
    free(body);
}

Test(http, reads_a_large_body_of_nobody_who_may_not_come_in)
{
    enum { LARGE = 90000, SMALL = 1000 }; /* both less than MAX_BODY */
    static const char friends[] = "x-api-key:  friend \r\n", length[] = "Content-Length: 90000";
    static const char chunked[] = "Transfer-Encoding: chunked\r\n\r\n15f90";
    const int port = open_port(0);

    int fd = begin_body(port, "/echo", "", length);
    say_zeds(fd, LARGE);
    expect(fd, 401, "a friend is asked for");
    cr_expect(closed(fd));
    close(fd);
    fd = begin_body(port, "/echo", "X-API-Key: enemy\r\nX-API-Key: friend\r\n", length);
    say_zeds(fd, LARGE);
    expect(fd, 401, "WWW-Authenticate: Bearer");
    close(fd);
    fd = begin_body(port, "/api/echo", "", chunked); /* told before it is sent */
    expect(fd, 401, "{\"success\":false,\"error\":\"a friend is asked for\"}");
    close(fd);
    fd = begin_body(port, "/echo", "", "Content-Length: 1000");
    say_zeds(fd, SMALL); /* which does not cost the connection */
    expect(fd, 401, "a friend is asked for");

    /* Every request is asked, on a connection that is kept and in pieces. */
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nX-API-Key: friend\r\n"
                               "Content-Length: 90000\r\n\r\n";
    for (size_t piece = 1; piece < sizeof(head); piece *= 2) {
        for (size_t at = 0; at < sizeof(head) - 1; at += piece) {
            const size_t left = sizeof(head) - 1 - at;
            say_bytes(fd, head + at, left < piece ? left : piece);
            usleep(1000);
        }
        say_zeds(fd, LARGE);
        expect(fd, 200, "zzz]");
    }
    say(fd, friend_says);
    expect(fd, 200, "[get|");
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n");
    say_zeds(fd, LARGE);
    expect(fd, 401, "a friend is asked for");
    close(fd);

    /* Ends of lines without a return, and what comes behind another request. */
    fd = dial_port(port);
    say(fd, "POST /echo HTTP/1.1\nHost: x\nX-API-Key: friend\nContent-Length: 90000\n\n");
    say_zeds(fd, LARGE);
    expect(fd, 200, "zzz]");
    say(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nX-API-Key: friend\r\n\r\n"
            "POST /echo HTTP/1.1\r\nHost: x\r\nX-API-Key: friend\r\nConnection: close\r\n"
            "Content-Length: 90000\r\n\r\n");
    say_zeds(fd, LARGE);
    char *answers = malloc(ANSWER_SIZE);
    size_t got = 0;
    ssize_t more;
    while ((more = read(fd, answers + got, ANSWER_SIZE - 1 - got)) > 0) got += (size_t)more;
    answers[got] = '\0';
    cr_expect_not_null(strstr(answers, "[get|"));
    cr_expect_not_null(strstr(answers, "zzz]"));
    free(answers);
    close(fd);
    fd = begin_body(port, "/echo", friends, chunked);
    say_zeds(fd, LARGE - 2); /* the chunk began with an end of a line */
    say(fd, "\r\n0\r\n\r\n");
    expect(fd, 200, "zzz]");
    close(fd);

    /* A head that is too large, and one that ends in the middle. */
    fd = dial_port(port);
    say(fd, "GET /echo HTTP/1.1\r\nX: ");
    say_zeds(fd, 100000);
    expect(fd, 400, "larger than 64 KiB");
    close(fd);
    fd = dial_port(port);
    say(fd, "GET /echo HTTP/1.1\r\nHost:");
    close(fd);
}

Test(http, lets_few_strangers_send_much_to_a_call_that_is_open, .init = begin_with_all)
{
    enum { LARGE = 90000, MANY = 64, MOST = 2 * 4 }; /* in each of two loops */
    static const char length[] = "Content-Length: 90000";
    const int port = open_port(0);
    int fds[MANY], refused = 0, held = 0;
    char byte;
    for (int i = 0; i < MANY; i++)
        fds[i] = begin_body(port, "/hook", "", "Transfer-Encoding: chunked\r\n\r\n15f90");
    for (int tries = 0; tries < 60000 && refused < MANY - MOST; tries++) {
        usleep(1000);
        refused = 0;
        for (int i = 0; i < MANY; i++)
            refused += recv(fds[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
    }
    cr_expect_geq(refused, MANY - MOST);
    int fd = begin_body(port, "/hook", "", "Content-Length: 1000");
    say_zeds(fd, 1000); /* small ones are not held up */
    expect(fd, 200, "[hook|");
    close(fd);
    for (int i = 0; i < MANY; i++) {
        if (recv(fds[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
            expect(fds[i], 503, "strangers");
        } else {
            held++;
            say_zeds(fds[i], LARGE - 2);
            say(fds[i], "\r\n0\r\n\r\n");
            expect(fds[i], 200, "[hook|");
        }
        close(fds[i]);
    }
    cr_expect_geq(held, 4);

    /* Whoever was answered, and whoever has gone away, is none any more. */
    char *answer = malloc(ANSWER_SIZE);
    int served = 0;
    for (int i = 0; i < 6000 && served < 20; i++) {
        fd = begin_body(port, "/hook", "", length);
        if (i % 2 == 0) {
            say_zeds(fd, LARGE);
            served += hear(fd, answer, false) == 200;
        }
        close(fd);
        usleep(20000);
    }
    cr_expect_eq(served, 20);
    free(answer);
}

Test(http, closes_a_door_and_keeps_who_is_in)
{
    const int first = open_port(0), second = open_port(1);
    const int fd = dial_port(second);
    say(fd, friend_says);
    expect(fd, 200, "[get|");
    http_door_close(server, 1);
    wait_until_closed(second);
    say(fd, friend_says);
    expect(fd, 200, "[get|");
    close(fd);
    const int again = open_port(1);
    for (int port = 0; port < 2; port++) {
        const int other = dial_port(port == 0 ? first : again);
        say(other, friend_says);
        expect(other, 200, "[get|");
        close(other);
    }
    open_port(1); /* in place of the other */
    wait_until_closed(again);
    for (int i = 0; i < 50; i++) { /* faster than the loops, perhaps */
        open_port(1);
        http_door_close(server, 1);
    }
}

Test(http, takes_nobody_by_a_door_while_it_stops)
{
    const int port = open_port(0);
    const int fd = dial_port(port);
    say(fd, friend_says);
    expect(fd, 200, "[get|");
    cr_expect_eq(http_server_drain(server, 60000), 0);
    say(fd, friend_says);
    expect(fd, 503, "stopping");
    close(fd);
}
