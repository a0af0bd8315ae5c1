/*
 * The command line's HTTP client against a server of one canned answer: what it makes of good and
 * bad answers, of no answer, and of sockets that are not what they should be.
 */
#include "tools/tekup/client.h"
#include "tools/tekup/command.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char run[] = "/tmp/tekup-client-XXXXXX";
static char socket_path[64];

static void start(void)
{
    cr_assert_not_null(mkdtemp(run));
    snprintf(socket_path, sizeof(socket_path), "%s/%s", run, PATHS_SOCKET);
    setenv("TEKUP_RUN", run, 1);
    setenv("http_proxy", "http://127.0.0.1:1/", 1); /* must not be asked */
}

static void end(void)
{
    unlink(socket_path);
    rmdir(run);
}

TestSuite(client, .init = start, .fini = end);

/* ---- A server of one answer ---- */

struct server {
    int listener;
    const char *answer;
    char request[4096];
    pthread_t thread;
};

static int listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, socket_path, sizeof(socket_path));
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(listener, 4), 0);
    return listener;
}

static void *serve(void *arg)
{
    struct server *server = arg;
    const int fd = accept(server->listener, NULL, NULL);
    size_t used = 0;
    ssize_t got;
    /* A request without a body ends at the empty line; those with one are short enough here to
     * come in whole with what precedes them or right after. */
    while (strstr(server->request, "\r\n\r\n") == NULL &&
           (got = read(fd, server->request + used, sizeof(server->request) - 1 - used)) > 0)
        used += (size_t)got;
    if (write(fd, server->answer, strlen(server->answer)) < 0) perror("write");
    close(fd);
    return NULL;
}

static void server_start(struct server *server, const char *answer)
{
    *server = (struct server){.listener = listen_here(), .answer = answer};
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_end(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
    unlink(socket_path);
}

static int call(const char *answer, struct response *response, struct error *err)
{
    struct server server;
    server_start(&server, answer);
    *err = (struct error){0};
    const int result = command_call("GET", "/v1/status", NULL, response, err);
    server_end(&server);
    cr_expect_eq(strncmp(server.request, "GET /v1/status HTTP/1.1\r\n", 25), 0);
    return result;
}

/* ---- Tests ---- */

Test(client, a_good_answer)
{
    struct response response;
    struct error err;
    cr_assert_eq(
        call("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"pid\": 42}\n", &response, &err), 0,
        "%s", err.message);
    cr_expect_eq(field_integer(response.json, "pid"), 42);
    cr_expect_str_eq(response.body, "{\"pid\": 42}\n");
    cr_expect_str_eq(field_text(response.json, "pid"), "", "another type reads as nothing");
    response_free(&response);
}

Test(client, the_daemons_own_words_about_a_failure)
{
    struct response response;
    struct error err;
    cr_assert_eq(call("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
                      "{\"error\": {\"code\": \"invalid\", \"message\": \"limit must be from 1 to "
                      "1000\", \"field\": \"limit\"}}",
                      &response, &err),
                 -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.message, "limit must be from 1 to 1000");
    cr_expect_str_eq(err.field, "limit");
    cr_expect_eq(response.status, 400);
    response_free(&response);

    call("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
         "{\"error\": {\"code\": \"not_found\", \"message\": \"no such document\", \"field\": "
         "null}}",
         &response, &err);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_str_eq(err.field, "");
    response_free(&response);
}

Test(client, answers_that_no_daemon_gives)
{
    static const struct {
        const char *answer;
        enum error_code code;
    } strange[] = {
        {"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops", ERR_INTERNAL},
        {"HTTP/1.1 503 Away\r\nContent-Length: 2\r\n\r\n{}", ERR_UNAVAILABLE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", ERR_INTERNAL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ERR_INTERNAL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"cut\": ", ERR_UNAVAILABLE},
        {"SSH-2.0-OpenSSH\r\n", ERR_UNAVAILABLE},
        {"", ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++) {
        struct response response;
        struct error err;
        cr_expect_eq(call(strange[i].answer, &response, &err), -1, "%s", strange[i].answer);
        cr_expect_eq(err.code, strange[i].code, "%s: %s", strange[i].answer, err.message);
        cr_expect_neq(err.message[0], '\0');
        response_free(&response);
    }
}

static int fetch(const char *answer, struct response *response, struct error *err)
{
    struct server server;
    server_start(&server, answer);
    *err = (struct error){0};
    *response = (struct response){0};
    struct client *client = client_create(err);
    cr_assert_not_null(client, "%s", err->message);
    const int result = client_fetch(client, "/v1/embeddings", response, err);
    client_free(client);
    server_end(&server);
    return result;
}

Test(client, an_answer_of_bytes)
{
    struct response response;
    struct error err;
    cr_assert_eq(fetch("HTTP/1.1 200 OK\r\nTekup-Nextly: 6\r\ntekup-next: \t17 \r\n"
                       "Content-Length: 5\r\n\r\n[1, x",
                       &response, &err),
                 0, "%s", err.message);
    cr_expect_eq(response.length, 5);
    cr_expect_str_eq(response.body, "[1, x");
    cr_expect_str_eq(response.next, "17");
    cr_expect_null(response.json);
    response_free(&response);

    cr_assert_eq(fetch("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &response, &err), 0);
    cr_expect_eq(response.length, 0);
    cr_expect_str_eq(response.next, "");
    response_free(&response);

    cr_assert_eq(fetch("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
                       "{\"error\": {\"code\": \"invalid\", \"message\": \"after is odd\", "
                       "\"field\": \"after\"}}",
                       &response, &err),
                 -1);
    cr_expect_str_eq(err.message, "after is odd");
    cr_expect_str_eq(err.field, "after");
    response_free(&response);

    cr_expect_eq(fetch("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", &response, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    response_free(&response);
}

Test(client, says_why_there_is_no_daemon_and_how_to_start_it)
{
    struct response response;
    struct error err = {0};
    cr_expect_eq(client_probe(socket_path, &err), SOCKET_MISSING);
    cr_expect_eq(command_call("GET", "/", NULL, &response, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, "not running"));
    cr_expect_not_null(strstr(err.message, socket_path));
    response_free(&response);

    const int listener = listen_here();
    cr_expect_eq(client_probe(socket_path, &err), SOCKET_ALIVE);
    close(listener);
    cr_expect_eq(client_probe(socket_path, &err), SOCKET_STALE);
    cr_expect_eq(command_call("GET", "/", NULL, &response, &err), -1);
    cr_expect_not_null(strstr(err.message, "killed"));
    response_free(&response);

    char endless[300];
    memset(endless, 'x', sizeof(endless) - 1);
    endless[0] = '/';
    endless[sizeof(endless) - 1] = '\0';
    cr_expect_eq(client_probe(endless, &err), SOCKET_OTHER);
    cr_expect_str_eq(err.field, "TEKUP_RUN");

    if (geteuid() == 0) {
        unlink(socket_path);
        close(listen_here());
        cr_assert_eq(chmod(run, 0700), 0);
        cr_assert_eq(seteuid(12345), 0);
        cr_expect_eq(client_probe(socket_path, &err), SOCKET_DENIED);
        cr_assert_eq(seteuid(0), 0);
    }
}

Test(client, a_person_without_a_daemon_of_their_own_gets_the_systems)
{
    char found[PATHS_SIZE];
    struct error err = {0};
    cr_assert_eq(client_find_run(found, &err), 0);
    cr_expect_str_eq(found, run, "TEKUP_RUN decides, whether or not there is a socket");

    unsetenv("TEKUP_RUN");
    if (geteuid() == 0) cr_assert_eq(chmod(run, 0755), 0);
    if (geteuid() == 0) cr_assert_eq(chown(run, 12345, 12345), 0);
    if (geteuid() == 0) cr_assert_eq(seteuid(12345), 0);
    setenv("XDG_RUNTIME_DIR", run, 1);
    char own[64], own_socket[96];
    snprintf(own, sizeof(own), "%s/tekupdb", run);
    snprintf(own_socket, sizeof(own_socket), "%s/%s", own, PATHS_SOCKET);
    cr_assert_eq(client_find_run(found, &err), 0);
    struct stat system_socket;
    if (stat(PATHS_SYSTEM_RUN "/" PATHS_SOCKET, &system_socket) == 0)
        cr_expect_str_eq(found, PATHS_SYSTEM_RUN);
    else
        cr_expect_str_eq(found, own);

    cr_assert_eq(mkdir(own, 0700), 0);
    FILE *file = fopen(own_socket, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_assert_eq(client_find_run(found, &err), 0);
    cr_expect_str_eq(found, own);
    unlink(own_socket);
    rmdir(own);
    if (geteuid() == 12345) cr_assert_eq(seteuid(0), 0);
}

Test(client, targets_carry_any_text)
{
    struct buffer target = {0};
    buffer_text(&target, "/v1/documents");
    target_segment(&target, "a/b?c");
    cr_expect_str_eq(target.data, "/v1/documents/a%2Fb%3Fc");
    buffer_clear(&target);
    buffer_text(&target, "/v1/sync");
    target_add(&target, "source", "local");
    target_add(&target, "skipped", NULL);
    target_add(&target, "repository",
               "/r\xc3\xb8"
               "d & gr\xc3\xb8n=100%+");
    cr_expect_str_eq(target.data,
                     "/v1/sync?source=local&repository=/r%C3%B8d%20%26%20gr%C3%B8n%3D100%25%2B");
    buffer_free(&target);
}
