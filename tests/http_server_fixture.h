/* http_server_fixture.h: a server of tools/tekupd/http on a UNIX socket, with the routes of the
 * test, and ways to it, for one test program. */
#ifndef TESTS_HTTP_SERVER_FIXTURE_H
#define TESTS_HTTP_SERVER_FIXTURE_H

#include "tools/tekupd/http/http.h"
#include "tools/tekupd/http/tcp_socket.h"
#include "tools/tekupd/listener.h"
#include "tools/tekupd/workers.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[64];
static struct listener listener;
static struct workers *workers;
static struct http_server *server;
static atomic_int slow_begun __attribute__((unused)); /* by who has a slow route */
static atomic_bool slow_may_end;

/* With two loops on a socket of its own; fd and threads of the options are set here. */
static inline void fixture_serve(struct http_options options)
{
    struct error err = {0};
    signal(SIGPIPE, SIG_IGN);
    snprintf(directory, sizeof(directory), "/tmp/tekup-http-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(listener_open(directory, "http.sock", 0600, "", &listener, &err), 0);
    workers = workers_create("test", 4, 1000, &err);
    cr_assert_not_null(workers);
    options.fd = listener.fd;
    options.threads = 2;
    server = http_server_create(&options, &err);
    cr_assert_not_null(server, "%s", err.message);
}

static inline void fixture_end(void)
{
    atomic_store(&slow_may_end, true);
    cr_expect_eq(http_server_drain(server, 60000), 0, "every request was answered");
    workers_free(workers);
    http_server_free(server);
    listener_close(&listener);
    rmdir(directory);
}

static inline int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener.path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline int open_port(int door)
{
    struct error err = {0};
    char address[64] = "";
    const int fd = tcp_socket_open("127.0.0.1:0", "listen", address, sizeof(address), &err);
    cr_assert_geq(fd, 0, "%s", err.message);
    cr_assert_eq(http_door_open(server, door, fd, &err), 0, "%s", err.message);
    return atoi(strchr(address, ':') + 1);
}

/* Returns -1 where nobody listens. */
static inline int dial_port(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) return fd;
    close(fd);
    return -1;
}

#endif
