/* Clients that ask for more than they take, say too much, or are gone at the wrong moment. */
#include "tests/http_server_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_STRANGERS = 30 }; /* for each of the two loops */

static struct http_tally tally;
static _Atomic(struct http_stream *) stream;
static atomic_int taken;

/* ---- The server ---- */

static void hello(struct http_request *request)
{
    struct buffer body = {0};
    buffer_text(&body, "\"hello\"");
    http_respond(request, 200, &body);
}

static void answer_slowly(void *request)
{
    atomic_fetch_add(&slow_begun, 1);
    while (!atomic_load(&slow_may_end)) usleep(1000);
    hello(request);
}

static void slow(struct http_request *request)
{
    cr_assert_eq(workers_submit(workers, answer_slowly, request), 0);
}

static void say_taken(void *arg)
{
    (void)arg;
    atomic_fetch_add(&taken, 1);
}

static void begin_stream(struct http_request *request)
{
    atomic_store(&stream, http_stream_begin(request, "text/plain", say_taken, NULL));
}

static const struct http_route routes[] = {
    {"GET", "/hello", 0, hello, NULL},
    {"GET", "/slow", 0, slow, NULL},
    {"GET", "/stream", 0, begin_stream, NULL},
    {"PUT", "/things/*", HTTP_JSON, hello, NULL},
    {"PUT", "/large", HTTP_OCTETS | HTTP_LARGE | HTTP_OPEN, hello, NULL},
};

static const char *admit(void *context, const struct http_caller *caller, int *status)
{
    (void)context;
    (void)caller;
    (void)status;
    return NULL;
}

static void begin_with(int idle_timeout)
{
    fixture_serve((struct http_options){.max_body = 100000,
                                        .idle_timeout = idle_timeout,
                                        .most_strangers = MOST_STRANGERS,
                                        .routes = routes,
                                        .route_count = sizeof(routes) / sizeof(*routes),
                                        .admit = admit,
                                        .tally = &tally});
}

static void begin(void)
{
    begin_with(60);
}

static void begin_impatiently(void)
{
    begin_with(1);
}

TestSuite(http_pressure, .init = begin, .fini = fixture_end);

/* ---- A client ---- */

static void say(int fd, const char *text)
{
    const size_t length = strlen(text);
    cr_expect_eq(write(fd, text, length), (ssize_t)length);
}

/* How often the text comes until so many have, or the connection ends. */
static int hear(int fd, const char *text, int most)
{
    const size_t length = strlen(text);
    char bytes[4096];
    size_t kept = 0;
    int found = 0;
    ssize_t got;
    while (found < most && (got = read(fd, bytes + kept, sizeof(bytes) - 1 - kept)) > 0) {
        char *from = bytes, *at;
        kept += (size_t)got;
        bytes[kept] = '\0';
        for (; (at = strstr(from, text)) != NULL; from = at + length) found++;
        const size_t left = (size_t)(bytes + kept - from);
        kept = left < length ? left : length - 1;
        memmove(bytes, from + left - kept, kept);
    }
    return found;
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* ---- Tests ---- */

/* None of them waits for a worker: the connection goes on by its own, a few at a time. */
Test(http_pressure, answers_many_in_a_row_of_who_says_no_more)
{
    enum { REQUESTS = 200 };
    for (int pause = 0; pause < 2; pause++) {
        const int fd = dial();
        for (int i = 0; i < REQUESTS; i++) say(fd, "GET /hello HTTP/1.1\r\n\r\n");
        if (pause == 1) usleep(2000);
        shutdown(fd, SHUT_WR);
        cr_expect_eq(hear(fd, "\"hello\"", REQUESTS + 1), REQUESTS);
        close(fd);
    }
    /* The end is seen while some are still to be answered. */
    const int fd = dial();
    say(fd, "GET /slow HTTP/1.1\r\n\r\n");
    for (int i = 1; i < REQUESTS; i++) say(fd, "GET /hello HTTP/1.1\r\n\r\n");
    shutdown(fd, SHUT_WR);
    atomic_store(&slow_may_end, true);
    cr_expect_eq(hear(fd, "\"hello\"", REQUESTS + 1), REQUESTS);
    close(fd);
}

/* What was read and is not answered yet has to be kept in memory, and moved with each answer. */
Test(http_pressure, reads_little_ahead_of_what_it_answers)
{
    enum { REQUEST = 1000, REQUESTS = 8000, AHEAD = 2 << 20 };
    static const char length[] = "Content-Length: 7\r\n";
    char request[REQUEST + 1], answers[64 << 10];
    const int fd = dial();
    memset(request, 'a', REQUEST);
    memcpy(request, "GET /hello?", 11);
    memcpy(request + REQUEST - 13, " HTTP/1.1\r\n\r\n", 14);
    size_t sent = 0, most = 0, kept = 0;
    long answered = 0;
    while (answered < REQUESTS) {
        struct pollfd one = {.fd = fd,
                             .events = POLLIN | (sent < (size_t)REQUEST * REQUESTS ? POLLOUT : 0)};
        cr_assert_eq(poll(&one, 1, 60000), 1, "after %ld answers", answered);
        if ((one.revents & POLLOUT) != 0) {
            const size_t at = sent % REQUEST;
            const ssize_t some = send(fd, request + at, REQUEST - at, MSG_DONTWAIT);
            if (some > 0) sent += (size_t)some;
        }
        if ((one.revents & POLLIN) != 0) {
            const ssize_t got = recv(fd, answers + kept, sizeof(answers) - 1 - kept, MSG_DONTWAIT);
            cr_assert(got > 0 || errno == EAGAIN);
            char *from = answers, *at;
            kept += got > 0 ? (size_t)got : 0;
            answers[kept] = '\0';
            for (; (at = strstr(from, length)) != NULL; from = at + 1) answered++;
            const size_t left = (size_t)(answers + kept - from);
            kept = left < sizeof(length) - 2 ? left : sizeof(length) - 2;
            memmove(answers, from + left - kept, kept);
        }
        const size_t ahead = sent - (size_t)answered * REQUEST;
        if (ahead > most) most = ahead;
    }
    cr_expect_lt(most, AHEAD, "%zu bytes were taken ahead of the answers", most);
    close(fd);
}

static size_t memory(void)
{
    const struct mallinfo2 info = mallinfo2(); /* of zeros under a sanitizer */
    return info.uordblks + info.hblkhd;
}

/* The beginning of another request behind it does not keep it. */
Test(http_pressure, keeps_no_memory_of_a_large_body)
{
    enum { CLIENTS = 4, LARGE = 20 << 20 };
    int fds[CLIENTS];
    char *body = calloc(1, LARGE + 1), head[128];
    memset(body, 'z', LARGE);
    snprintf(head, sizeof(head),
             "PUT /large HTTP/1.1\r\nContent-Type: application/octet-stream\r\n"
             "Content-Length: %d\r\n\r\n",
             LARGE - 1);
    const size_t before = memory();
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial();
        say(fds[i], head);
        say(fds[i], body);
        cr_expect_eq(hear(fds[i], "\"hello\"", 1), 1);
    }
    for (int i = 0; i < 10000 && memory() > before + LARGE / 2; i++) usleep(1000);
    cr_expect_leq(memory(), before + LARGE / 2);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
    free(body);
}

/* With what was found in its head already. A leak sanitizer sees what stays. */
Test(http_pressure, forgets_who_goes_away_in_the_body)
{
    static const char *const bodies[] = {"Content-Length: 10\r\n\r\nabc",
                                         "Transfer-Encoding: chunked\r\n\r\n5\r\nab"};
    for (int i = 0; i < 20; i++) {
        const int fd = dial();
        say(fd, "PUT /things/a%20name%20that%20is%20kept%20meanwhile HTTP/1.1\r\n");
        say(fd, bodies[i % 2]);
        usleep(1000);
        close(fd);
    }
    const int fd = dial();
    say(fd, "PUT /things/a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    cr_expect_eq(hear(fd, "\"hello\"", 1), 1);
    close(fd);
}

/* A socket that is closed with something unread in it tells its client of a fault. */
Test(http_pressure, ends_well_with_who_says_more_than_was_asked)
{
    char byte;
    const int fd = dial();
    say(fd, "GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
    while (atomic_load(&slow_begun) == 0) usleep(1000);
    say(fd, "\r\n");
    atomic_store(&slow_may_end, true);
    cr_expect_eq(hear(fd, "\"hello\"", 1), 1);
    cr_expect_eq(read(fd, &byte, 1), 0, "%s", strerror(errno));
    close(fd);
}

/* The time in which the client waited for its answer is not counted. */
Test(http_pressure, waits_for_the_next_request_from_the_answer_on, .init = begin_impatiently)
{
    bool in_time = false;
    for (int tries = 0; tries < 20 && !in_time; tries++) {
        const int fd = dial();
        atomic_store(&slow_may_end, false);
        say(fd, "GET /slow HTTP/1.1\r\n\r\n");
        usleep(700000);
        atomic_store(&slow_may_end, true);
        const double answered = now();
        cr_expect_eq(hear(fd, "\"hello\"", 1), 1);
        usleep(500000);
        const ssize_t sent = send(fd, "GET /hello HTTP/1.1\r\n\r\n", 23, MSG_NOSIGNAL);
        const int heard = hear(fd, "\"hello\"", 1);
        in_time = now() - answered < 0.9; /* else the machine was too slow to tell */
        if (in_time) cr_expect(sent == 23 && heard == 1);
        close(fd);
    }
    cr_expect(in_time);
}

/* Few may send much at a time. Who was refused is none of them, although it is there still. */
Test(http_pressure, a_stranger_who_was_refused_is_in_nobodys_way)
{
    enum { STRANGERS = 20 };
    static const char head[] = "PUT /large HTTP/1.1\r\nContent-Type: application/octet-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    const int port = open_port(0);
    int fds[STRANGERS];
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = dial_port(port);
        cr_expect_geq(fds[i], 0);
        say(fds[i], head);
        say(fds[i], "7000000\r\n");
        cr_expect_eq(hear(fds[i], " 413 ", 1), 1, "of stranger %d", i);
    }
    for (int i = 0; i < STRANGERS; i++) close(fds[i]);
}

/* And in nobody's way but strangers'; when they go, others may come. */
Test(http_pressure, turns_strangers_away_who_are_too_many)
{
    enum { STRANGERS = 3 * MOST_STRANGERS };
    static const char hello[] = "GET /hello HTTP/1.1\r\n\r\n";
    const int port = open_port(0);
    int fds[STRANGERS], refused = 0, heard = 0;
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = dial_port(port);
        cr_assert_geq(fds[i], 0);
        (void)!send(fds[i], hello, sizeof(hello) - 1, MSG_NOSIGNAL);
    }
    for (int i = 0; i < STRANGERS; i++) {
        char answer[16] = "";
        refused += recv(fds[i], answer, sizeof(answer) - 1, 0) < 12 ||
                   strncmp(answer, "HTTP/1.1 503", 12) == 0;
    }
    cr_expect_geq(refused, STRANGERS - 2 * MOST_STRANGERS);
    cr_expect_leq(refused, STRANGERS - MOST_STRANGERS);
    const int fd = dial();
    say(fd, hello);
    cr_expect_eq(hear(fd, "\"hello\"", 1), 1);
    close(fd);
    for (int i = 0; i < STRANGERS; i++) close(fds[i]);
    for (int tries = 0; tries < 10000 && heard == 0; tries++) {
        const int other = dial_port(port);
        (void)!send(other, hello, sizeof(hello) - 1, MSG_NOSIGNAL);
        heard = hear(other, "\"hello\"", 1);
        close(other);
        usleep(1000);
    }
    cr_expect_eq(heard, 1, "there is room again");
}

/* Each byte of it comes in time. */
Test(http_pressure, does_not_wait_for_ever_for_a_head, .init = begin_impatiently)
{
    const int fd = dial();
    int sent = 0;
    say(fd, "GET /hello HTTP/1.1\r\nCookie: ");
    while (sent < 600 && send(fd, "a", 1, MSG_NOSIGNAL) == 1) {
        usleep(100000);
        sent++;
    }
    cr_expect_lt(sent, 600);
    close(fd);
}

/* It waits for descriptors to accept with, and is closed meanwhile. */
Test(http_pressure, closes_a_door_that_has_run_out_of_descriptors)
{
    struct rlimit limit;
    char byte;
    mallopt(M_PERTURB, 0x5a); /* what is freed is of no use to anybody */
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)open_port(0)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int stranger = socket(AF_INET, SOCK_STREAM, 0), fd = dial();
    say(fd, "GET /hello HTTP/1.1\r\n\r\n"); /* the doors are open when this is answered */
    cr_expect_eq(hear(fd, "\"hello\"", 1), 1);
    const int none = dup(fd);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit low = {.rlim_cur = (rlim_t)none, .rlim_max = limit.rlim_max};
    close(none);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    cr_expect_eq(connect(stranger, (const struct sockaddr *)&address, sizeof(address)), 0);
    usleep(30000); /* they have failed to accept it, and will try again */
    http_door_close(server, 0);
    cr_expect_leq(recv(stranger, &byte, 1, 0), 0, "it is closed");
    usleep(200000);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(stranger);
    const int other = dial();
    for (int i = 0; i < 2; i++) {
        const int one = i == 0 ? fd : other;
        say(one, "GET /hello HTTP/1.1\r\n\r\n");
        cr_expect_eq(hear(one, "\"hello\"", 1), 1);
        close(one);
    }
}

/* ---- Streams ---- */

static struct http_stream *open_stream(int fd)
{
    struct http_stream *begun;
    say(fd, "GET /stream HTTP/1.1\r\n\r\n");
    while ((begun = atomic_exchange(&stream, NULL)) == NULL) usleep(1000);
    return begun;
}

static bool happens(atomic_int *count, int wanted)
{
    for (int i = 0; i < 60000 && atomic_load(count) < wanted; i++) usleep(1000);
    return atomic_load(count) == wanted;
}

/* Whether it was asked before the system had it all or after. */
Test(http_pressure, a_stream_says_when_all_is_taken)
{
    const int fd = dial();
    struct http_stream *one = open_stream(fd);
    for (int i = 1; i <= 50; i++) {
        http_stream_wait(one);
        http_stream_send(one, "abc", 3);
        cr_assert(happens(&taken, 2 * i - 1), "of %d, asked before", i);
        while (http_stream_state(one).backlog > 0) usleep(100);
        http_stream_wait(one);
        cr_assert(happens(&taken, 2 * i), "of %d, asked after", i);
    }
    http_stream_end(one);
    cr_expect_eq(hear(fd, "abc", 100), 50);
    close(fd);
}

/* In time for what is told of it, also by who sends nothing any more. */
Test(http_pressure, a_stream_outlives_its_client)
{
    char *much = malloc(1 << 20);
    memset(much, 'z', 1 << 20);
    for (int i = 0; i < 30; i++) {
        const int fd = dial();
        struct http_stream *one = open_stream(fd);
        if (i % 2 == 0) http_stream_send(one, much, 1 << 20);
        if (i % 3 == 0) usleep(2000);
        close(fd);
        while (!http_stream_state(one).gone) usleep(1000);
        http_stream_send(one, much, 1 << 20);
        http_stream_wait(one);
        if (i % 5 == 0)
            http_stream_cut(one);
        else
            http_stream_end(one);
    }
    const int fd = dial();
    struct http_stream *one = open_stream(fd);
    http_stream_send(one, much, 1 << 20);
    http_stream_end(one);
    cr_expect_eq(hear(fd, "zzzzzzzz", 1 << 20), (1 << 20) / 8);
    close(fd);
    free(much);
}
