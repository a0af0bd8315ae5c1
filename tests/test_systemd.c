#include "tools/tekupd/systemd.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the files at 3 and after are. */
enum what { NOTHING, STREAM, CONNECTABLE_ONLY, DATAGRAM, TCP };

/* What came of systemd_open(), in a process of its own: Criterion has files at 3 and after, too. */
struct outcome {
    int rc;
    struct error err;
    struct systemd_sockets sockets;
    bool open[2], close_on_exec[2], nonblocking[2]; /* of 3 and 4 */
    bool variables;                                 /* there are some left */
};

static void put(int number, enum what what)
{
    close(number);
    if (what == NOTHING) return;
    const int fd =
        socket(what == TCP ? AF_INET : AF_UNIX, what == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "tekup-test-%d-%d", (int)getpid(),
             number);
    if (what == STREAM && bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) _exit(1);
    if ((what == STREAM || what == TCP) && listen(fd, 1) != 0) _exit(1);
    if (fd != number) {
        dup2(fd, number);
        close(fd);
    }
}

/* pid NULL: its own; names NULL: no such variable. */
static const struct outcome *open_with(enum what third, enum what fourth, const char *pid,
                                       const char *count, const char *names)
{
    static struct outcome *outcome;
    if (outcome == NULL)
        outcome =
            mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(outcome, MAP_FAILED);
    memset(outcome, 0, sizeof(*outcome));
    const pid_t child = fork();
    if (child == 0) {
        char own[16];
        snprintf(own, sizeof(own), "%d", (int)getpid());
        put(3, third);
        put(4, fourth);
        setenv("LISTEN_PID", pid != NULL ? pid : own, 1);
        setenv("LISTEN_FDS", count, 1);
        if (names != NULL) setenv("LISTEN_FDNAMES", names, 1);
        outcome->rc = systemd_open(&outcome->sockets, &outcome->err);
        for (int i = 0; i < 2; i++) {
            outcome->open[i] = fcntl(3 + i, F_GETFD) >= 0;
            outcome->close_on_exec[i] = fcntl(3 + i, F_GETFD) & FD_CLOEXEC;
            outcome->nonblocking[i] = fcntl(3 + i, F_GETFL) & O_NONBLOCK;
        }
        outcome->variables = getenv("LISTEN_PID") != NULL || getenv("LISTEN_FDS") != NULL ||
                             getenv("LISTEN_FDNAMES") != NULL;
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_expect_not(outcome->variables);
    return outcome;
}

Test(systemd, sockets_are_known_by_their_names)
{
    const struct outcome *outcome = open_with(STREAM, STREAM, NULL, "2", "postgresql:http");
    cr_assert_eq(outcome->rc, 0, "%s", outcome->err.message);
    cr_expect_eq(outcome->sockets.http, 4);
    cr_expect_eq(outcome->sockets.postgresql, 3);
    for (int i = 0; i < 2; i++) cr_expect(outcome->close_on_exec[i] && outcome->nonblocking[i]);
}

Test(systemd, one_socket_is_enough)
{
    const struct outcome *outcome = open_with(STREAM, NOTHING, NULL, "1", "http");
    cr_assert_eq(outcome->rc, 0, "%s", outcome->err.message);
    cr_expect_eq(outcome->sockets.http, 3);
    cr_expect_eq(outcome->sockets.postgresql, -1);
}

static void expect_none(const char *pid, const char *count)
{
    const struct outcome *outcome = open_with(STREAM, NOTHING, pid, count, "http");
    cr_expect_eq(outcome->rc, 0);
    cr_expect_eq(outcome->sockets.http, -1);
    cr_expect_eq(outcome->sockets.postgresql, -1);
    cr_expect(outcome->open[0], "it is somebody else's");
    cr_expect_not(outcome->close_on_exec[0]);
}

Test(systemd, what_is_another_process_s_is_left_alone)
{
    expect_none("1", "1");
    expect_none("", "1");
    expect_none(NULL, "0");
    expect_none(NULL, "-1");
    expect_none(NULL, "many");
    expect_none(NULL, "1x");
}

static void expect_refused(enum what third, enum what fourth, const char *count, const char *names,
                           const char *part)
{
    const struct outcome *outcome = open_with(third, fourth, NULL, count, names);
    cr_assert_eq(outcome->rc, -1);
    cr_expect_eq(outcome->err.code, ERR_INVALID);
    cr_expect(strstr(outcome->err.message, part) != NULL, "'%s' does not say '%s'",
              outcome->err.message, part);
    cr_expect_eq(outcome->sockets.http, -1);
    cr_expect_eq(outcome->sockets.postgresql, -1);
    cr_expect_not(outcome->open[0] || outcome->open[1], "what is refused is closed");
}

Test(systemd, other_sockets_are_refused)
{
    expect_refused(STREAM, NOTHING, "1", "tekupd.socket", "'tekupd.socket'");
    expect_refused(STREAM, NOTHING, "1", NULL, "'unknown'");
    expect_refused(STREAM, NOTHING, "1", "", "named ''");
    expect_refused(STREAM, STREAM, "2", "http", "'unknown'");
    expect_refused(STREAM, STREAM, "2", "http:http", "two sockets named 'http'");
    expect_refused(CONNECTABLE_ONLY, NOTHING, "1", "http", "not a listening UNIX stream socket");
    expect_refused(DATAGRAM, NOTHING, "1", "http", "not a listening UNIX stream socket");
    expect_refused(TCP, NOTHING, "1", "http", "not a listening UNIX stream socket");
    expect_refused(NOTHING, NOTHING, "1", "http", "what systemd passes as 'http'");
    const struct outcome *outcome = open_with(STREAM, NOTHING, NULL, "1000000", "http");
    cr_expect_eq(outcome->rc, -1);
}

/* A socket to be told on; abstract, so that nothing is left. */
static int open_notify(char name[64])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    snprintf(name, 64, "@tekup-notify-%d", (int)getpid());
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", name + 1);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                 0);
    return fd;
}

static const char *told(int fd)
{
    static char text[2048];
    const ssize_t length = recv(fd, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

Test(systemd, tells_in_one_datagram)
{
    struct systemd_sockets sockets;
    char name[64];
    systemd_notify("READY=1"); /* to nobody */
    const int fd = open_notify(name);
    setenv("NOTIFY_SOCKET", name, 1);
    cr_assert_eq(systemd_open(&sockets, NULL), 0);
    cr_expect_null(getenv("NOTIFY_SOCKET"));
    systemd_notify("READY=1\nSTATUS=%s, %d", "up", 7);
    cr_expect_str_eq(told(fd), "READY=1\nSTATUS=up, 7");
    systemd_reloading();
    const char *text = told(fd);
    long long us = 0;
    cr_expect_eq(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%lld", &us), 1, "%s", text);
    cr_expect_gt(us, 0);
    systemd_notify("STATUS=%04000d", 1);
    cr_expect_eq(strlen(told(fd)), 1023, "what is too long is cut");
    close(fd);
    systemd_notify("READY=1"); /* to nobody any more */
}

static int watchdog(const char *pid, const char *us)
{
    struct systemd_sockets sockets;
    char own[16];
    snprintf(own, sizeof(own), "%d", (int)getpid());
    if (pid != NULL) setenv("WATCHDOG_PID", *pid != '\0' ? pid : own, 1);
    setenv("WATCHDOG_USEC", us, 1);
    cr_assert_eq(systemd_open(&sockets, NULL), 0);
    cr_expect_null(getenv("WATCHDOG_USEC"));
    return systemd_watchdog_ms();
}

Test(systemd, the_watchdog_is_told_twice_in_its_time)
{
    cr_expect_eq(watchdog("", "60000000"), 30000);
    cr_expect_eq(watchdog(NULL, "60000000"), 30000);
    cr_expect_eq(watchdog("1", "60000000"), 0);
    cr_expect_eq(watchdog("", "never"), 0);
    cr_expect_eq(watchdog("", "-5"), 0);
    cr_expect_eq(watchdog("", "9000000000000000000"), 3600000);
}
