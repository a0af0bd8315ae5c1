/* transfer.c: see transfer.h. */
#include "ingest/http/transfer.h"

#include "ingest/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Bytes that may wait for a sink before the connection has to. */
#define LOOK_EACH_S 0.2
enum { SINK_MOST = 256 << 10, POLL_MS = 1000, HEADERS_MOST = 1000 };

/* ---- What curl calls, in the client's thread ---- */

static size_t response_most(const struct transfer *transfer)
{
    const size_t most = transfer->request->response_most;
    return most != 0 ? most : HTTP_RESPONSE_MOST;
}

/* The room of a buffer of so many bytes: the next power of two. */
static size_t room_for(size_t length)
{
    size_t room = 4096;
    while (room < length) room *= 2;
    return room;
}

/* Appends to a buffer that stays NUL-terminated. */
static int append(char **buffer, size_t *length, const char *bytes, size_t count)
{
    const size_t room = room_for(*length + count + 1);
    if (*buffer == NULL || room > room_for(*length + 1)) {
        char *grown = realloc(*buffer, room);
        if (grown == NULL) return -1;
        *buffer = grown;
    }
    memcpy(*buffer + *length, bytes, count);
    *length += count;
    (*buffer)[*length] = '\0';
    return 0;
}

static bool goes_to_sink(struct transfer *transfer)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return transfer->request->sink != NULL && status / 100 == 2;
}

static size_t hand_over(struct http_client *client, struct transfer *transfer, const char *bytes,
                        size_t count)
{
    pthread_mutex_lock(&client->lock);
    const bool full = transfer->waiting_length > 0 && transfer->waiting_length + count > SINK_MOST;
    if (full)
        transfer->paused = true;
    else if (append(&transfer->waiting, &transfer->waiting_length, bytes, count) != 0)
        transfer->out_of_memory = true;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    if (full) return CURL_WRITEFUNC_PAUSE;
    return transfer->out_of_memory ? 0 : count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    count *= size;
    if (count > response_most(transfer) - transfer->received) {
        transfer->too_large = true;
        return 0;
    }
    if (goes_to_sink(transfer)) {
        const size_t taken = hand_over(transfer->client, transfer, bytes, count);
        if (taken == count) transfer->received += count;
        return taken;
    }
    transfer->received += count;
    if (append(&transfer->response.body, &transfer->response.length, bytes, count) == 0)
        return count;
    transfer->out_of_memory = true;
    return 0;
}

static void forget_headers(struct http_response *response)
{
    for (size_t i = 0; i < response->header_count; i++) {
        free(response->headers[i].name);
        free(response->headers[i].value);
    }
    free(response->headers);
    response->headers = NULL;
    response->header_count = 0;
}

static int add_header(struct http_response *response, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || response->header_count == HEADERS_MOST) return 0;
    const char *value = colon + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) end--;
    struct http_header *grown =
        realloc(response->headers, (response->header_count + 1) * sizeof(*grown));
    if (grown == NULL) return -1;
    response->headers = grown;
    struct http_header *header = &grown[response->header_count];
    header->name = strndup(line, (size_t)(colon - line));
    header->value = strndup(value, (size_t)(end - value));
    response->header_count++;
    return header->name != NULL && header->value != NULL ? 0 : -1;
}

/* Each line of the header, of "100 Continue" and a proxy's answer too: the last one counts. */
static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    count *= size;
    if (count >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        forget_headers(&transfer->response);
    } else if (add_header(&transfer->response, line, count) != 0) {
        transfer->out_of_memory = true;
        return 0;
    }
    return count;
}

/* ---- Preparing ---- */

static int add_line(struct transfer *transfer, const char *line)
{
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (longer == NULL) return -1;
    transfer->headers = longer;
    return 0;
}

static int set_headers(struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    char line[160];
    if (add_line(transfer, "Expect:") != 0) return -1;
    if (transfer->with_body) {
        snprintf(line, sizeof(line), "Content-Type: %s",
                 request->content_type != NULL ? request->content_type : "application/json");
        if (add_line(transfer, line) != 0) return -1;
    }
    for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
        if (add_line(transfer, request->headers[i]) != 0) return -1;
    if (transfer->secret != NULL && add_line(transfer, transfer->secret) != 0) return -1;
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return 0;
}

static void set_method(struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    CURL *easy = transfer->easy;
    if (transfer->with_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        if (strcmp(transfer->method, "POST") != 0)
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, transfer->method);
    } else if (strcmp(transfer->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(transfer->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, transfer->method);
    }
}

/* What users of curl know, which libcurl by itself does not look at. */
static void set_certificates(const struct http_client *client, CURL *easy)
{
    const char *file = client->ca_file, *directory = getenv("SSL_CERT_DIR");
    if (file == NULL) file = getenv("CURL_CA_BUNDLE");
    if (file == NULL) file = getenv("SSL_CERT_FILE");
    if (file != NULL && *file != '\0') curl_easy_setopt(easy, CURLOPT_CAINFO, file);
    if (client->ca_file != NULL) {
        /* Instead of the system's, which libcurl would look up in a directory all the same. */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, file);
        curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    } else if (directory != NULL && *directory != '\0') {
        curl_easy_setopt(easy, CURLOPT_CAPATH, directory);
    }
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
}

static int prepare(struct http_client *client, struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    const double timeout = request->timeout_s > 0 ? request->timeout_s : HTTP_TIMEOUT_S;
    CURL *easy = transfer->easy = curl_easy_init();
    if (easy == NULL) return -1;
    transfer->client = client;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_S);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout * 1000));
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)HTTP_STALLED_S);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    /* On a connection that was used before, libcurl repeats by itself what came to nothing. */
    if (transfer->once) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    set_certificates(client, easy);
    if (client->proxy != NULL) curl_easy_setopt(easy, CURLOPT_PROXY, client->proxy);
    set_method(transfer);
    if (curl_easy_setopt(easy, CURLOPT_URL, transfer->url) != CURLE_OK) return -1;
    return set_headers(transfer);
}

/* ---- The client's thread ---- */

static void note_answer(struct transfer *transfer)
{
    char *redirect = NULL, *url = NULL;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->response.status);
    curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &redirect);
    curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (redirect != NULL) transfer->redirect = strdup(redirect);
    transfer->response.url = strdup(url != NULL ? url : transfer->url);
    if (transfer->response.body == NULL) transfer->response.body = strdup("");
    if (transfer->response.url == NULL || transfer->response.body == NULL ||
        (redirect != NULL && transfer->redirect == NULL))
        transfer->out_of_memory = true;
}

/* Gives a transfer back to its caller. */
static void end_transfer(struct http_client *client, struct transfer *transfer, CURLcode code)
{
    if (transfer->added) curl_multi_remove_handle(client->multi, transfer->easy);
    transfer->code = code;
    if (code == CURLE_OK) note_answer(transfer);
    pthread_mutex_lock(&client->lock);
    transfer->ended = true;
    TAILQ_REMOVE(&client->transfers, transfer, link);
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

enum work { NOTHING, ADD, RESUME, CANCEL };

static enum work next_work(struct http_client *client, struct transfer **found)
{
    enum work work = NOTHING;
    struct transfer *transfer;
    pthread_mutex_lock(&client->lock);
    TAILQ_FOREACH(transfer, &client->transfers, link)
    {
        if (transfer->cancelled || atomic_load(&client->stop))
            work = CANCEL;
        else if (!transfer->added)
            work = ADD;
        else if (transfer->resume)
            work = RESUME;
        else
            continue;
        if (work == RESUME) transfer->resume = transfer->paused = false;
        break;
    }
    *found = transfer;
    pthread_mutex_unlock(&client->lock);
    return work;
}

/* Does what callers have asked for. No lock is held at calls of curl, which calls back. */
static void do_work(struct http_client *client)
{
    struct transfer *transfer;
    for (enum work work; (work = next_work(client, &transfer)) != NOTHING;) {
        if (work == CANCEL) {
            end_transfer(client, transfer, CURLE_ABORTED_BY_CALLBACK);
        } else if (work == RESUME) {
            curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
        } else {
            transfer->added = true;
            if (curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK)
                end_transfer(client, transfer, CURLE_FAILED_INIT);
        }
    }
}

static void end_those_done(struct http_client *client)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        struct transfer *transfer = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        const CURLcode code = message->data.result; /* the message goes with the handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        end_transfer(client, transfer, code);
    }
}

void *transfer_loop(void *arg)
{
    struct http_client *client = arg;
    while (!atomic_load(&client->stop)) {
        int running;
        do_work(client);
        curl_multi_perform(client->multi, &running);
        end_those_done(client);
        curl_multi_poll(client->multi, NULL, 0, POLL_MS, NULL);
    }
    do_work(client);
    return NULL;
}

/* ---- The caller ---- */

/* Under the lock, which is let go for the sink's call. */
static int feed_sink(struct http_client *client, struct transfer *transfer, struct error *err)
{
    char *bytes = transfer->waiting;
    const size_t length = transfer->waiting_length;
    transfer->waiting = NULL;
    transfer->waiting_length = 0;
    transfer->sunk = true;
    pthread_mutex_unlock(&client->lock);
    const int status = transfer->request->sink(transfer->request->arg, bytes, length, err);
    free(bytes);
    pthread_mutex_lock(&client->lock);
    if (status == 0 && !transfer->paused) return 0;
    if (status == 0)
        transfer->resume = true;
    else
        transfer->cancelled = true;
    curl_multi_wakeup(client->multi);
    return status;
}

/* Under the lock. Returns what the sink said. */
static int wait_for_end(struct http_client *client, struct transfer *transfer, struct error *err)
{
    const atomic_bool *stop = transfer->request->stop;
    int status = 0;
    for (;;) {
        if (stop != NULL && atomic_load(stop) && !transfer->cancelled) {
            transfer->cancelled = true;
            curl_multi_wakeup(client->multi);
        }
        if (transfer->waiting_length > 0 && !transfer->cancelled) {
            status = feed_sink(client, transfer, err);
            continue;
        }
        if (transfer->ended) return status;
        const struct timespec until = clock_after(LOOK_EACH_S);
        pthread_cond_timedwait(&client->changed, &client->lock, &until);
    }
}

int transfer_run(struct http_client *client, struct transfer *transfer, enum transfer_end *end,
                 struct error *err)
{
    if (prepare(client, transfer) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "a transfer cannot be prepared");
    pthread_mutex_lock(&client->lock);
    int status = 0;
    *end = TRANSFER_STOPPED;
    if (!atomic_load(&client->stop)) {
        TAILQ_INSERT_TAIL(&client->transfers, transfer, link);
        curl_multi_wakeup(client->multi);
        status = wait_for_end(client, transfer, err);
    }
    pthread_mutex_unlock(&client->lock);
    if (status != 0) return -1;
    if (transfer->out_of_memory) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    if (transfer->cancelled)
        return 0; /* whether it came to its end or not: not all of it may have been taken */
    if (transfer->too_large)
        *end = TRANSFER_TOO_LARGE;
    else if (transfer->ended && transfer->code == CURLE_OK)
        *end = TRANSFER_DONE;
    else if (transfer->ended && transfer->code != CURLE_ABORTED_BY_CALLBACK)
        *end = TRANSFER_FAILED;
    return 0;
}

void transfer_release(struct transfer *transfer)
{
    if (transfer->easy != NULL) curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    http_response_free(&transfer->response);
    free(transfer->waiting);
    free(transfer->redirect);
}

const char *http_response_header(const struct http_response *response, const char *name)
{
    for (size_t i = response->header_count; i-- > 0;)
        if (strcasecmp(response->headers[i].name, name) == 0) return response->headers[i].value;
    return NULL;
}

void http_response_free(struct http_response *response)
{
    forget_headers(response);
    free(response->body);
    free(response->url);
    *response = (struct http_response){0};
}
