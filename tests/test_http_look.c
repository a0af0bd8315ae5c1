/* A client that asks one thing right after the other, whose next question its loop looks for. */
#include "tests/http_server_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { IDLE_SECONDS = 2, MANY = 200 };

static const char question[] = "PUT /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";

static void echo(struct http_request *request)
{
    struct buffer body = {0};
    size_t length;
    const char *bytes = http_body(request, &length);
    buffer_append(&body, bytes, length);
    http_respond_octets(request, &body, NULL);
}

static const struct http_route routes[] = {
    {"PUT", "/echo", HTTP_OCTETS | HTTP_JSON, echo, NULL},
};

static const char *admit(void *context, const struct http_caller *caller, int *status)
{
    (void)context;
    (void)caller;
    (void)status;
    return NULL;
}

static void begin(void)
{
    fixture_serve((struct http_options){.max_body = 1 << 20,
                                        .idle_timeout = IDLE_SECONDS,
                                        .routes = routes,
                                        .route_count = sizeof(routes) / sizeof(*routes),
                                        .admit = admit});
}

TestSuite(http_look, .init = begin, .fini = fixture_end);

static double now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Reads an answer; returns whether it is 200 with that body. */
static bool hear(int fd, const char *body, size_t length)
{
    static _Thread_local char answer[1 << 18];
    size_t got = 0, whole = 0;
    while (whole == 0 || got < whole) {
        const ssize_t more = read(fd, answer + got, sizeof(answer) - 1 - got);
        if (more <= 0) return false;
        got += (size_t)more;
        answer[got] = '\0';
        const char *end = strstr(answer, "\r\n\r\n");
        if (whole == 0 && end != NULL) whole = (size_t)(end + 4 - answer) + length;
    }
    return got == whole && strncmp(answer, "HTTP/1.1 200 ", 13) == 0 &&
           memcmp(answer + whole - length, body, length) == 0;
}

static bool ask(int fd)
{
    return write(fd, question, sizeof(question) - 1) == sizeof(question) - 1 &&
           hear(fd, "hello", 5);
}

/* So that it is looked for what it says next. */
static void ask_many(int fd)
{
    for (int i = 0; i < MANY; i++) cr_assert(ask(fd), "question %d", i);
}

/* libevent, which counts the time, does not see these questions. */
Test(http_look, does_not_take_who_asks_all_the_time_for_silent)
{
    const int fd = dial();
    const double begun = now(CLOCK_MONOTONIC);
    while (now(CLOCK_MONOTONIC) < begun + 2 * IDLE_SECONDS) cr_assert(ask(fd));
    close(fd);
}

Test(http_look, closes_who_asked_all_the_time_and_fell_silent)
{
    char byte;
    const int fd = dial();
    ask_many(fd);
    const double silent = now(CLOCK_MONOTONIC);
    cr_expect_eq(read(fd, &byte, 1), 0);
    cr_expect_geq(now(CLOCK_MONOTONIC) - silent, 0.5 * IDLE_SECONDS);
    close(fd);
}

Test(http_look, sleeps_when_nobody_asks)
{
    const int fd = dial();
    ask_many(fd);
    usleep(100000);
    const double used = now(CLOCK_PROCESS_CPUTIME_ID);
    usleep(500000);
    cr_expect_lt(now(CLOCK_PROCESS_CPUTIME_ID) - used, 0.25);
    cr_expect(ask(fd));
    close(fd);
}

static void *ask_on(void *over)
{
    const int fd = dial();
    unsigned long answers = 0;
    while (!atomic_load((atomic_bool *)over) && ask(fd)) answers++;
    close(fd);
    return (void *)answers;
}

Test(http_look, leaves_others_their_turn)
{
    atomic_bool over = false;
    pthread_t thread;
    void *answers;
    cr_assert_eq(pthread_create(&thread, NULL, ask_on, &over), 0);
    for (int i = 0; i < MANY; i++) {
        const int fd = dial();
        cr_expect(ask(fd), "client %d", i);
        close(fd);
        usleep(500);
    }
    atomic_store(&over, true);
    pthread_join(thread, &answers);
    cr_expect_gt((unsigned long)answers, 0);
}

Test(http_look, takes_what_comes_in_pieces)
{
    enum { BODY = 100000 };
    static char body[BODY];
    static const char head[] = "PUT /echo HTTP/1.1\r\nContent-Length: 100000\r\n\r\n";
    memset(body, 'x', sizeof(body));
    const int fd = dial();
    for (int round = 0; round < 20; round++) {
        ask_many(fd);
        for (size_t i = 0; i < sizeof(head) - 1; i += 7) {
            const size_t piece = sizeof(head) - 1 - i < 7 ? sizeof(head) - 1 - i : 7;
            cr_assert_eq(write(fd, head + i, piece), (ssize_t)piece);
        }
        for (size_t i = 0; i < BODY; i += BODY / 10)
            cr_assert_eq(write(fd, body + i, BODY / 10), BODY / 10);
        cr_expect(hear(fd, body, BODY), "round %d", round);
    }
    close(fd);
}

Test(http_look, bears_who_goes_away_while_it_looks)
{
    static const char *const last[] = {
        "",
        "PUT /ec",
        "PUT /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nhe",
        "PUT /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        question,
        "\r\n",
        "what?\r\n\r\n"};
    for (size_t i = 0; i < sizeof(last) / sizeof(*last); i++) {
        for (int half = 0; half < 2; half++) {
            char byte;
            const int fd = dial();
            ask_many(fd);
            cr_assert_eq(write(fd, last[i], strlen(last[i])), (ssize_t)strlen(last[i]));
            if (half == 1) shutdown(fd, SHUT_WR);
            if (half == 1)
                while (read(fd, &byte, 1) > 0) continue;
            close(fd);
        }
    }
    const int fd = dial();
    cr_expect(ask(fd));
    close(fd);
}

Test(http_look, ends_although_somebody_asks_all_the_time)
{
    atomic_bool over = false;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, ask_on, &over), 0);
    usleep(100000);
    cr_expect_eq(http_server_drain(server, 60000), 0);
    pthread_join(thread, NULL); /* its connection was closed */
}
