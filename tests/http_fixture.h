/* http_fixture.h: a server for tests of outgoing HTTP: what it answers, byte for byte, is up to the
 * test. */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture_server;

/* Answers a request, whose header and body are `text`, on a connection. Returns whether the
 * connection stays open. */
typedef bool (*fixture_answer)(struct fixture_server *server, int fd, const char *text);

struct fixture_server {
    int listener, port;
    fixture_answer answer;
    void *arg;
    char url[64]; /* http://127.0.0.1:PORT */
    pthread_t thread;
    atomic_int requests, connections, open, most_open;
    pthread_mutex_t lock;
    char last[8192];                  /* the request that came last */
    struct fixture_connection *first; /* of the connections that are open */
};

static inline void fixture_send(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        const ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0) return;
        text += sent;
        left -= (size_t)sent;
    }
}

/* An answer with a body; headers are lines, each with its line end. */
static inline void fixture_reply(int fd, const char *status, const char *headers, const char *body)
{
    char head[4096];
    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, headers,
             strlen(body));
    fixture_send(fd, head);
    fixture_send(fd, body);
}

struct fixture_connection {
    struct fixture_server *server;
    int fd;
    struct fixture_connection *next, **place;
};

static inline void fixture_enter(struct fixture_connection *connection)
{
    struct fixture_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    connection->next = server->first;
    connection->place = &server->first;
    if (server->first != NULL) server->first->place = &connection->next;
    server->first = connection;
    pthread_mutex_unlock(&server->lock);
}

static inline void fixture_leave(struct fixture_connection *connection)
{
    struct fixture_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    *connection->place = connection->next;
    if (connection->next != NULL) connection->next->place = connection->place;
    close(connection->fd);
    pthread_mutex_unlock(&server->lock);
    free(connection);
}

/* Reads a request whole; false when the client is gone. */
static inline bool fixture_read(int fd, char *text, size_t size)
{
    size_t length = 0;
    while (length + 1 < size) {
        const ssize_t got = recv(fd, text + length, 1, 0);
        if (got <= 0) return false;
        text[++length] = '\0';
        if (length >= 4 && strcmp(text + length - 4, "\r\n\r\n") == 0) break;
    }
    const char *field = strcasestr(text, "\r\nContent-Length:");
    size_t left = field != NULL ? strtoul(field + 17, NULL, 10) : 0;
    while (left > 0 && length + 1 < size) {
        const ssize_t got = recv(fd, text + length, left, 0);
        if (got <= 0) return false;
        length += (size_t)got;
        left -= (size_t)got;
        text[length] = '\0';
    }
    return true;
}

static inline void *fixture_talk(void *arg)
{
    struct fixture_connection *connection = arg;
    struct fixture_server *server = connection->server;
    char text[8192];
    while (fixture_read(connection->fd, text, sizeof(text))) {
        atomic_fetch_add(&server->requests, 1);
        pthread_mutex_lock(&server->lock);
        memcpy(server->last, text, sizeof(text));
        pthread_mutex_unlock(&server->lock);
        if (!server->answer(server, connection->fd, text)) break;
    }
    fixture_leave(connection);
    atomic_fetch_sub(&server->open, 1); /* after which the server may be gone */
    return NULL;
}

static inline void *fixture_accept(void *arg)
{
    struct fixture_server *server = arg;
    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0;) {
        struct fixture_connection *connection = malloc(sizeof(*connection));
        pthread_t thread;
        *connection = (struct fixture_connection){.server = server, .fd = fd};
        fixture_enter(connection);
        const int open = atomic_fetch_add(&server->open, 1) + 1;
        if (open > atomic_load(&server->most_open)) atomic_store(&server->most_open, open);
        atomic_fetch_add(&server->connections, 1);
        cr_assert_eq(pthread_create(&thread, NULL, fixture_talk, connection), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static inline void fixture_start(struct fixture_server *server, fixture_answer answer, void *arg)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *server = (struct fixture_server){.answer = answer, .arg = arg};
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(server->listener, 64), 0);
    cr_assert_eq(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", server->port);
    cr_assert_eq(pthread_create(&server->thread, NULL, fixture_accept, server), 0);
}

static inline void fixture_stop(struct fixture_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    /* A client may keep its connections for as long as it likes. */
    pthread_mutex_lock(&server->lock);
    for (struct fixture_connection *one = server->first; one != NULL; one = one->next)
        shutdown(one->fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
    while (atomic_load(&server->open) > 0) usleep(1000);
}

/* Whether the last request had this in it. */
static inline bool fixture_was_sent(struct fixture_server *server, const char *text)
{
    pthread_mutex_lock(&server->lock);
    const bool found = strcasestr(server->last, text) != NULL;
    pthread_mutex_unlock(&server->lock);
    return found;
}

#endif
