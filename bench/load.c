#include "bench/load.h"

#include "bench/clock.h"
#include "bench/statistics.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOM = 64 << 10, MOST_ANSWER = 64 << 20 };

/* ---- Messages -------------------------------------------------------------------------------- */

static int add_message(struct messages *messages, const char *bytes, size_t length, tk_error *err)
{
    if ((messages->count & (messages->count - 1)) == 0) { /* a power of two, or none: it is full */
        const size_t room = messages->count > 0 ? 2 * messages->count : 1;
        struct message *list = realloc(messages->list, room * sizeof(*list));
        if (list == NULL) return fail(err, "memory ran out");
        messages->list = list;
    }
    messages->list[messages->count++] = (struct message){bytes, length};
    return 0;
}

static int split_messages(const char *path, struct messages *messages, tk_error *err)
{
    const char *at = messages->memory;
    const char *end = at + messages->size;
    while (at < end) {
        uint32_t length;
        if (end - at < 4) return fail(err, "%s: it ends within a message", path);
        memcpy(&length, at, 4);
        length = le32toh(length);
        if ((size_t)(end - at - 4) < length) return fail(err, "%s: it ends within a message", path);
        if (add_message(messages, at + 4, length, err) != 0) return -1;
        at += 4 + length;
    }
    return 0;
}

int messages_read(const char *path, struct messages *messages, tk_error *err)
{
    struct stat stat;
    *messages = (struct messages){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        fail(err, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    messages->size = (size_t)stat.st_size;
    if (messages->size > 0) {
        messages->memory = mmap(NULL, messages->size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (messages->memory == MAP_FAILED) messages->memory = NULL;
    }
    close(fd);
    if (messages->size > 0 && messages->memory == NULL)
        return fail(err, "%s: %s", path, strerror(errno));
    if (split_messages(path, messages, err) == 0) return 0;
    messages_free(messages);
    return -1;
}

void messages_free(struct messages *messages)
{
    if (messages->memory != NULL) munmap(messages->memory, messages->size);
    free(messages->list);
    *messages = (struct messages){0};
}

/* ---- Answers --------------------------------------------------------------------------------- */

struct client {
    int fd;
    size_t next;    /* the question that is asked next */
    uint64_t asked; /* when the one before was */
    char *answer;   /* what has come of it */
    size_t length, room;
    size_t looked; /* so far its messages are known (PostgreSQL) */
    size_t whole;  /* its length, once that is known (HTTP) */
    size_t body;   /* where its body begins (HTTP) */
    bool error;
};

/* Each of these: 1 when the answer is whole, 0 when more is to come, -1 when it is no answer. */

static int look_http(struct client *client)
{
    if (client->whole == 0) {
        const char *end = memmem(client->answer, client->length, "\r\n\r\n", 4);
        if (end == NULL) return 0;
        const char *at = client->answer;
        if (client->length < 12 || memcmp(at, "HTTP/1.1 ", 9) != 0) return -1;
        client->error = at[9] != '2';
        size_t length = 0;
        bool found = false;
        while (!found && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
            at++;
            found = strncasecmp(at, "Content-Length:", 15) == 0;
        }
        if (!found) return -1;
        length = strtoul(at + 15, NULL, 10);
        client->body = (size_t)(end + 4 - client->answer);
        client->whole = client->body + length;
    }
    return client->length >= client->whole;
}

static int look_postgres(struct client *client)
{
    while (client->length - client->looked >= 5) {
        const char *message = client->answer + client->looked;
        uint32_t length;
        memcpy(&length, message + 1, 4);
        length = ntohl(length);
        if (length < 4) return -1;
        if (client->length - client->looked < 1 + (size_t)length) return 0;
        client->looked += 1 + (size_t)length;
        if (message[0] == 'E') client->error = true;
        if (message[0] == 'Z') return client->looked == client->length ? 1 : -1;
    }
    return 0;
}

static int look(const struct load_options *options, struct client *client)
{
    return options->protocol == LOAD_HTTP ? look_http(client) : look_postgres(client);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static int send_all(struct client *client, const struct message *message, tk_error *err)
{
    size_t sent = 0;
    client->length = client->looked = client->whole = client->body = 0;
    client->error = false;
    while (sent < message->length) {
        const ssize_t count =
            send(client->fd, message->bytes + sent, message->length - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail(err, "sending to the server: %s", strerror(errno));
        sent += (size_t)count;
    }
    return 0;
}

static int ask(const struct load_options *options, struct client *client, tk_error *err)
{
    const struct message *question = &options->questions->list[client->next];
    client->next = (client->next + 1) % options->questions->count;
    client->asked = clock_now();
    return send_all(client, question, err);
}

/* Takes what is there, or waits for it where flags say so. Returns what look() says, -1 also where
 * the connection ends. */
static int receive(const struct load_options *options, struct client *client, int flags,
                   tk_error *err)
{
    if (client->length + ROOM / 2 > client->room) {
        const size_t room = client->room > 0 ? 2 * client->room : ROOM;
        char *answer = room <= MOST_ANSWER ? realloc(client->answer, room) : NULL;
        if (answer == NULL) return fail(err, "an answer of more than %zu bytes", client->room);
        client->answer = answer;
        client->room = room;
    }
    const ssize_t count =
        recv(client->fd, client->answer + client->length, client->room - client->length, flags);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (count < 0) return fail(err, "receiving from the server: %s", strerror(errno));
    if (count == 0) return fail(err, "the server has closed a connection");
    client->length += (size_t)count;
    const int done = look(options, client);
    if (done < 0) fail(err, "the server sends what is no answer");
    return done;
}

/* Sends a message and waits for its answer, which is to be no error. */
static int exchange(const struct load_options *options, struct client *client,
                    const struct message *message, tk_error *err)
{
    int done = 0;
    if (send_all(client, message, err) != 0) return -1;
    while (done == 0) done = receive(options, client, 0, err);
    if (done < 0) return -1;
    if (!client->error) return 0;
    return fail(err, "%.*s", (int)(client->length < 400 ? client->length : 400), client->answer);
}

static int connect_client(const struct load_options *options, struct client *client, tk_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(options->socket) >= sizeof(address.sun_path))
        return fail(err, "%s: too long for a socket", options->socket);
    strcpy(address.sun_path, options->socket);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 ||
        connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return fail(err, "%s: %s", options->socket, strerror(errno));
    for (size_t i = 0; options->hello != NULL && i < options->hello->count; i++) {
        if (exchange(options, client, &options->hello->list[i], err) != 0) return -1;
    }
    return 0;
}

static void free_clients(struct client *clients, unsigned count)
{
    for (unsigned i = 0; clients != NULL && i < count; i++) {
        if (clients[i].fd >= 0) close(clients[i].fd);
        free(clients[i].answer);
    }
    free(clients);
}

static struct client *make_clients(const struct load_options *options, unsigned count,
                                   tk_error *err)
{
    struct client *clients = calloc(count, sizeof(*clients));
    if (clients == NULL) {
        fail(err, "memory ran out");
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) clients[i].fd = -1;
    for (unsigned i = 0; i < count; i++) {
        clients[i].next = (size_t)i * options->questions->count / count;
        if (connect_client(options, &clients[i], err) != 0) {
            free_clients(clients, count);
            return NULL;
        }
    }
    return clients;
}

/* ---- For so long ----------------------------------------------------------------------------- */

struct run {
    const struct load_options *options;
    struct load_figures *figures;
    size_t room; /* of the latencies */
    uint64_t begin, end;
};

static int count_answer(struct run *run, const struct client *client, uint64_t now, tk_error *err)
{
    struct load_figures *figures = run->figures;
    if (client->error && figures->errors++ == 0)
        snprintf(figures->first_error, sizeof(figures->first_error), "%.*s",
                 (int)(client->length < 500 ? client->length : 500), client->answer);
    if (now < run->begin || now >= run->end) return 0;
    if (figures->answers == run->room) {
        run->room = run->room > 0 ? 2 * run->room : 1 << 16;
        uint32_t *latencies = realloc(figures->latencies, run->room * sizeof(*latencies));
        if (latencies == NULL) return fail(err, "memory ran out");
        figures->latencies = latencies;
    }
    figures->latencies[figures->answers++] = clock_latency(now - client->asked);
    return 0;
}

/* Takes what has come for a client; when the answer is whole, counts it and asks on. */
static int serve(struct run *run, struct client *client, int flags, uint64_t *now, tk_error *err)
{
    const int done = receive(run->options, client, flags, err);
    if (done <= 0) return done;
    *now = clock_now();
    if (count_answer(run, client, *now, err) != 0) return -1;
    return *now < run->end ? ask(run->options, client, err) : 0;
}

static int run_one(struct run *run, struct client *client, tk_error *err)
{
    uint64_t now = 0;
    if (ask(run->options, client, err) != 0) return -1;
    while (now < run->end) {
        if (serve(run, client, run->options->looks ? MSG_DONTWAIT : 0, &now, err) != 0) return -1;
    }
    return 0;
}

static int run_many(struct run *run, struct client *clients, unsigned count, tk_error *err)
{
    enum { EVENTS = 64, PATIENCE_MS = 60000 };
    struct epoll_event events[EVENTS];
    uint64_t now = 0;
    int rc = -1;
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll < 0) return fail(err, "epoll: %s", strerror(errno));
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event) != 0) {
            fail(err, "epoll: %s", strerror(errno));
            goto out;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (ask(run->options, &clients[i], err) != 0) goto out;
    }
    while (now < run->end) {
        const int ready = epoll_wait(poll, events, EVENTS, PATIENCE_MS);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            fail(err, "no answer for %d s", PATIENCE_MS / 1000);
            goto out;
        }
        for (int i = 0; i < ready; i++) {
            if (serve(run, events[i].data.ptr, MSG_DONTWAIT, &now, err) != 0) goto out;
        }
    }
    rc = 0;
out:
    close(poll);
    return rc;
}

int load_run(const struct load_options *options, struct load_figures *figures, tk_error *err)
{
    *figures = (struct load_figures){0};
    struct client *clients = make_clients(options, options->clients, err);
    if (clients == NULL) return -1;
    struct run run = {.options = options, .figures = figures};
    run.begin = clock_now() + (uint64_t)(options->warm_s * 1e9);
    run.end = run.begin + (uint64_t)(options->seconds * 1e9);
    figures->seconds = options->seconds;
    const int rc = options->clients == 1 ? run_one(&run, clients, err)
                                         : run_many(&run, clients, options->clients, err);
    free_clients(clients, options->clients);
    if (rc == 0) {
        sort_samples(figures->latencies, figures->answers);
        return 0;
    }
    free(figures->latencies);
    figures->latencies = NULL;
    return -1;
}

/* ---- Once ------------------------------------------------------------------------------------ */

int load_record(const struct load_options *options, FILE *out, tk_error *err)
{
    struct client *client = make_clients(options, 1, err);
    int rc = client != NULL ? 0 : -1;
    for (size_t i = 0; i < options->questions->count && rc == 0; i++) {
        rc = exchange(options, client, &options->questions->list[i], err);
        if (rc != 0) break;
        const size_t body = options->protocol == LOAD_HTTP ? client->body : 0;
        const uint32_t length = htole32((uint32_t)(client->length - body));
        if (fwrite(&length, 4, 1, out) != 1 ||
            fwrite(client->answer + body, client->length - body, 1, out) != 1)
            rc = fail(err, "writing the answers: %s", strerror(errno));
    }
    free_clients(client, 1);
    return rc;
}
