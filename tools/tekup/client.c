#include "tools/tekup/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Long enough for a large document to be embedded, short enough that a hung daemon is noticed. */
enum { CONNECT_SECONDS = 5, CALL_SECONDS = 600 };

struct client {
    CURL *curl;
    char socket[PATHS_SIZE + sizeof(PATHS_SOCKET)];
};

/* ---- Finding the daemon ---- */

static void socket_path(const char *run, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", run, PATHS_SOCKET);
}

int client_find_run(char run[PATHS_SIZE], struct error *err)
{
    if (paths_run(NULL, NULL, run, err) != 0) return -1;
    const char *chosen = getenv("TEKUP_RUN");
    if (chosen != NULL && *chosen != '\0') return 0;
    char path[PATHS_SIZE + sizeof(PATHS_SOCKET)];
    socket_path(run, path, sizeof(path));
    struct stat found;
    if (stat(path, &found) == 0) return 0;
    socket_path(PATHS_SYSTEM_RUN, path, sizeof(path));
    if (stat(path, &found) == 0) snprintf(run, PATHS_SIZE, "%s", PATHS_SYSTEM_RUN);
    return 0;
}

enum socket_state client_probe(const char *path, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        error_set(err, ERR_INVALID, "TEKUP_RUN",
                  "the socket's path %s is longer than the %zu bytes a socket can have", path,
                  sizeof(address.sun_path) - 1);
        return SOCKET_OTHER;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set(err, ERR_IO, NULL, "cannot make a socket: %s", strerror(errno));
        return SOCKET_OTHER;
    }
    const int failure = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    close(fd);
    switch (failure) {
    case 0:
        return SOCKET_ALIVE;
    case ENOENT:
    case ENOTDIR:
        error_set(
            err, ERR_UNAVAILABLE, NULL,
            "tekupd is not running: there is no socket %s. Start it with 'systemctl start tekupd' "
            "where it is a service, else with 'tekupd', or with './tools/run' in the source "
            "directory; set TEKUP_RUN if it runs elsewhere",
            path);
        return SOCKET_MISSING;
    case ECONNREFUSED:
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "tekupd is not running: it left the socket %s behind when it was killed. Start "
                  "it again with 'tekupd', or with './tools/run' in the source directory",
                  path);
        return SOCKET_STALE;
    case EACCES:
    case EPERM:
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "this user may not use the socket %s: it takes the daemon's group (see ls -l) or "
                  "root",
                  path);
        return SOCKET_DENIED;
    default:
        error_set(err, ERR_UNAVAILABLE, NULL, "cannot connect to %s: %s", path, strerror(failure));
        return SOCKET_OTHER;
    }
}

struct client *client_create(struct error *err)
{
    char run[PATHS_SIZE];
    if (client_find_run(run, err) != 0) return NULL;
    struct client *client = calloc(1, sizeof(*client));
    if (client != NULL && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        client->curl = curl_easy_init();
    if (client == NULL || client->curl == NULL) {
        free(client);
        error_set(err, ERR_INTERNAL, NULL, "libcurl could not be started: out of memory?");
        return NULL;
    }
    socket_path(run, client->socket, sizeof(client->socket));
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL) return;
    curl_easy_cleanup(client->curl);
    curl_global_cleanup();
    free(client);
}

/* ---- One call ---- */

void response_free(struct response *response)
{
    json_decref(response->json);
    free(response->body);
    *response = (struct response){0};
}

static size_t receive(char *bytes, size_t size, size_t count, void *arg)
{
    struct buffer *body = arg;
    buffer_append(body, bytes, size * count);
    return body->failed ? 0 : size * count;
}

/* One line of the answer's head. */
static size_t receive_header(char *bytes, size_t size, size_t count, void *arg)
{
    static const char name[] = "Tekup-Next:";
    struct response *response = arg;
    const size_t length = size * count, prefix = sizeof(name) - 1;
    if (length < prefix || strncasecmp(bytes, name, prefix) != 0) return length;
    size_t begin = prefix, end = length;
    while (begin < end && (bytes[begin] == ' ' || bytes[begin] == '\t')) begin++;
    while (end > begin && strchr(" \t\r\n", bytes[end - 1]) != NULL) end--;
    snprintf(response->next, sizeof(response->next), "%.*s", (int)(end - begin), bytes + begin);
    return length;
}

static enum error_code code_of(long status)
{
    switch (status) {
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 413:
        return ERR_TOO_LARGE;
    case 503:
        return ERR_UNAVAILABLE;
    default:
        return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
    }
}

/* Turns an answer of 400 and above into an error with the daemon's words. */
static int refuse(const struct response *response, struct error *err)
{
    const json_t *error = json_object_get(response->json, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *field = json_string_value(json_object_get(error, "field"));
    if (message == NULL)
        return error_set(err, code_of(response->status), NULL,
                         "tekupd answered with status %ld and no reason", response->status);
    return error_set(err, code_of(response->status), field, "%s", message);
}

/* The header lines of a call; NULL when memory ran out. */
static struct curl_slist *make_headers(bool with_body)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (headers == NULL || !with_body) return headers;
    struct curl_slist *more = curl_slist_append(headers, "Content-Type: application/json");
    if (more == NULL) curl_slist_free_all(headers);
    return more;
}

static int configure(struct client *client, const char *method, const char *url, const char *body,
                     struct curl_slist *headers, struct buffer *received, struct response *response,
                     char *reason)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl);
    int failed = 0;
    failed |= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    failed |= curl_easy_setopt(curl, CURLOPT_URL, url);
    failed |= curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever http_proxy says */
    failed |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    failed |= curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)CALL_SECONDS);
    failed |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, received);
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, response);
    if (body != NULL) {
        failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    failed |= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    return failed;
}

int client_explain(const char *socket, int code, const char *reason, struct error *err)
{
    if (code == CURLE_COULDNT_CONNECT && client_probe(socket, err) != SOCKET_ALIVE) return -1;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "tekupd did not answer within %d minutes; its log may say why",
                         CALL_SECONDS / 60);
    if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
        code == CURLE_PARTIAL_FILE)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "tekupd cut the connection before it had answered (%s); its log may say "
                         "why",
                         *reason != '\0' ? reason : curl_easy_strerror((CURLcode)code));
    return error_set(err, ERR_UNAVAILABLE, NULL, "the call of tekupd failed: %s",
                     *reason != '\0' ? reason : curl_easy_strerror((CURLcode)code));
}

/* Sends a call and takes the answer as it comes. Returns 0 when one came, whatever it says. */
static int exchange(struct client *client, const char *method, const char *target,
                    const json_t *body, struct response *response, struct error *err)
{
    int result = -1;
    char reason[CURL_ERROR_SIZE] = "";
    struct buffer url = {0}, received = {0};
    char *text = NULL;
    struct curl_slist *headers = make_headers(body != NULL);
    *response = (struct response){0};

    buffer_format(&url, "http://localhost%s", target);
    if (body != NULL) text = json_dumps(body, JSON_COMPACT);
    if (headers == NULL || url.failed || (body != NULL && text == NULL) ||
        configure(client, method, url.data, text, headers, &received, response, reason) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        goto out;
    }

    const CURLcode code = curl_easy_perform(client->curl);
    if (code != CURLE_OK) {
        client_explain(client->socket, (int)code, reason, err);
        goto out;
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &response->status);
    response->length = received.length;
    response->body = buffer_take(&received);
    result = response->body != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
out:
    curl_slist_free_all(headers);
    free(text);
    buffer_free(&url);
    buffer_free(&received);
    return result;
}

static void parse(struct response *response)
{
    json_error_t ignored = {0};
    response->json = json_loadb(response->body, response->length, 0, &ignored);
}

int client_call(struct client *client, const char *method, const char *target, const json_t *body,
                struct response *response, struct error *err)
{
    if (exchange(client, method, target, body, response, err) != 0) return -1;
    parse(response);
    if (response->status >= 400) return refuse(response, err);
    if (json_is_object(response->json)) return 0;
    return error_set(err, ERR_INTERNAL, NULL,
                     "tekupd's answer to %s %s is not a JSON object: is %s another program's "
                     "socket?",
                     method, target, client->socket);
}

int client_fetch(struct client *client, const char *target, struct response *response,
                 struct error *err)
{
    if (exchange(client, "GET", target, NULL, response, err) != 0) return -1;
    if (response->status < 400) return 0;
    parse(response);
    return refuse(response, err);
}

/* ---- An answer that goes on ---- */

struct lines {
    CURL *curl;
    client_line_fn fn;
    void *arg;
    struct buffer rest; /* of a line that is not complete, or of an answer that is no stream */
    bool ended;
};

static size_t receive_lines(char *bytes, size_t size, size_t count, void *arg)
{
    struct lines *lines = arg;
    long status = 0;
    buffer_append(&lines->rest, bytes, size * count);
    curl_easy_getinfo(lines->curl, CURLINFO_RESPONSE_CODE, &status);
    if (lines->rest.failed) return 0;
    if (status != 200) return size * count;
    char *line = lines->rest.data;
    char *end;
    while ((end = strchr(line, '\n')) != NULL && !lines->ended) {
        *end = '\0';
        lines->ended = lines->fn(lines->arg, line) != 0;
        line = end + 1;
    }
    const size_t used = (size_t)(line - lines->rest.data);
    memmove(lines->rest.data, line, lines->rest.length - used + 1);
    lines->rest.length -= used;
    return lines->ended ? 0 : size * count;
}

int client_follow(struct client *client, const char *target, const char *last_id,
                  client_line_fn line, void *arg, struct response *response, struct error *err)
{
    enum { SILENT_SECONDS = 60 }; /* there is a sign of life every 15 s */
    char reason[CURL_ERROR_SIZE] = "";
    struct buffer url = {0}, header = {0};
    struct lines lines = {.curl = client->curl, .fn = line, .arg = arg};
    struct curl_slist *headers = make_headers(false), *more = headers;
    int result = -1;
    *response = (struct response){0};
    buffer_format(&url, "http://localhost%s", target);
    if (last_id != NULL) {
        buffer_format(&header, "Last-Event-ID: %s", last_id);
        more = header.failed ? NULL : curl_slist_append(headers, header.data);
    }
    if (headers == NULL || more == NULL || url.failed ||
        configure(client, "GET", url.data, NULL, headers, &lines.rest, response, reason) != 0 ||
        curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, receive_lines) != CURLE_OK ||
        curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &lines) != CURLE_OK ||
        curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, 0L) != CURLE_OK ||
        curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L) != CURLE_OK ||
        curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENT_SECONDS) != CURLE_OK) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        goto out;
    }
    const CURLcode code = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &response->status);
    if (lines.ended) {
        result = 0;
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        error_set(err, ERR_UNAVAILABLE, NULL, "tekupd has said nothing for a minute");
    } else if (code != CURLE_OK) {
        client_explain(client->socket, (int)code, reason, err);
    } else if (response->status == 200) {
        error_set(err, ERR_UNAVAILABLE, NULL, "tekupd has ended the stream: it stops");
    } else {
        response->length = lines.rest.length;
        response->body = buffer_take(&lines.rest);
        if (response->body != NULL) parse(response);
        refuse(response, err);
    }
out:
    curl_slist_free_all(headers);
    buffer_free(&url);
    buffer_free(&header);
    buffer_free(&lines.rest);
    return result;
}

/* ---- Targets ---- */

static void escape(struct buffer *target, const char *value, const char *kept)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const unsigned char *byte = (const unsigned char *)value; *byte != '\0'; byte++) {
        const bool plain = (*byte >= 'a' && *byte <= 'z') || (*byte >= 'A' && *byte <= 'Z') ||
                           (*byte >= '0' && *byte <= '9') || strchr(kept, *byte) != NULL;
        const char escaped[3] = {'%', hex[*byte >> 4], hex[*byte & 15]};
        if (plain)
            buffer_append(target, byte, 1);
        else
            buffer_append(target, escaped, 3);
    }
}

void target_segment(struct buffer *target, const char *value)
{
    buffer_text(target, "/");
    escape(target, value, "-._~");
}

void target_add(struct buffer *target, const char *name, const char *value)
{
    if (value == NULL) return;
    const bool first = target->data == NULL || strchr(target->data, '?') == NULL;
    buffer_format(target, "%c%s=", first ? '?' : '&', name);
    escape(target, value, "-._~/");
}
