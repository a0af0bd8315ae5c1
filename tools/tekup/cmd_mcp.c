/*
 * cmd_mcp.c: tekup mcp: brings the lines of a client of the Model Context Protocol to the daemon,
 * and its answers back. Several are under way at a time, since a client need not wait for an answer
 * before it asks again; each is a POST to /mcp. Nothing is kept of the daemon, which may be started
 * anew at any time.
 */
#include "tools/tekup/command.h"
#include "tools/tekup/mcp_message.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLIGHTS_MOST = 16, READ_SIZE = 64 << 10, LINE_MOST = 64 << 20 };
enum { CONNECT_SECONDS = 5, CALL_SECONDS = 600 };

enum { PARSE_ERROR = -32700, INTERNAL_ERROR = -32603 };

static const char help[] =
    "Usage: tekup mcp\n"
    "\n"
    "Serves the Model Context Protocol on standard input and output, for a program that starts "
    "it:\n"
    "language models search and read the documents by it. It needs a running tekupd, which may be\n"
    "started, stopped and started again meanwhile; requests that come while it is away get an\n"
    "error that says so. Ends at the end of its input.\n"
    "\n"
    "Examples:\n"
    "  claude mcp add tekupdb -- tekup mcp\n"
    "  {\"mcpServers\": {\"tekupdb\": {\"command\": \"tekup\", \"args\": [\"mcp\"]}}}\n"
    "                           in the settings of Claude Desktop, Cursor and others\n";

/* A message on its way. */
struct flight {
    struct flight *next;
    struct line line;
    CURL *curl;
    struct curl_slist *headers;
    struct buffer answer;
    char socket[PATHS_SIZE + sizeof(PATHS_SOCKET)];
    char reason[CURL_ERROR_SIZE];
};

struct relay {
    CURLM *multi;
    struct flight *flights;
    int count;
    char version[32];    /* that the client and the daemon agreed on */
    struct buffer input; /* from the last end of a line */
    size_t searched;     /* bytes of it in which no line ends */
    bool skipping;       /* what comes belongs to a line that is too long */
    bool ended;          /* the input */
    bool failed;         /* the output: nobody reads it any more */
};

/* ---- Output ---- */

static void print(struct relay *relay, struct buffer *out)
{
    if (out->failed)
        command_note("out of memory: an answer is lost");
    else if (out->length > 0 &&
             (fwrite(out->data, 1, out->length, stdout) != out->length || fflush(stdout) != 0))
        relay->failed = true;
    buffer_free(out);
}

/* What was not a request gets no answer, and the client's log has to do. */
static void print_error(struct relay *relay, const json_t *id, int code, const char *message)
{
    struct buffer out = {0};
    command_note("%s", message);
    if (id != NULL || code == PARSE_ERROR) answer_error(&out, id, code, message);
    print(relay, &out);
}

/* ---- Flights ---- */

static size_t receive(char *bytes, size_t size, size_t count, void *arg)
{
    struct buffer *answer = arg;
    buffer_append(answer, bytes, size * count);
    return answer->failed ? 0 : size * count;
}

static void flight_free(struct relay *relay, struct flight *flight)
{
    if (flight->curl != NULL) {
        curl_multi_remove_handle(relay->multi, flight->curl);
        curl_easy_cleanup(flight->curl);
    }
    curl_slist_free_all(flight->headers);
    line_free(&flight->line);
    buffer_free(&flight->answer);
    free(flight);
}

static void flight_end(struct relay *relay, struct flight *flight)
{
    struct flight **place = &relay->flights;
    while (*place != flight) place = &(*place)->next;
    *place = flight->next;
    relay->count--;
    flight_free(relay, flight);
}

static int flight_configure(struct relay *relay, struct flight *flight)
{
    CURL *curl = flight->curl;
    int failed = 0;
    failed |= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, flight->socket);
    failed |= curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/mcp");
    failed |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    failed |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    failed |= curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)CALL_SECONDS);
    failed |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, flight->reason);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, flight->headers);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, &flight->answer);
    failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)flight->line.length);
    failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, flight->line.text);
    failed |= curl_easy_setopt(curl, CURLOPT_PRIVATE, flight);
    return failed != 0 || curl_multi_add_handle(relay->multi, curl) != CURLM_OK;
}

/* Takes the line over. */
static void flight_begin(struct relay *relay, struct line *line)
{
    struct error err = {0};
    char run[PATHS_SIZE];
    struct flight *flight = calloc(1, sizeof(*flight));
    if (flight == NULL) {
        print_error(relay, line->id, INTERNAL_ERROR, "out of memory");
        line_free(line);
        return;
    }
    flight->line = *line;
    flight->headers = line_headers(line, relay->version);
    flight->curl = curl_easy_init();
    flight->next = relay->flights;
    relay->flights = flight;
    relay->count++;
    /* Found anew each time: the daemon may have come since. */
    if (client_find_run(run, &err) != 0) {
        print_error(relay, line->id, INTERNAL_ERROR, err.message);
        flight_end(relay, flight);
        return;
    }
    snprintf(flight->socket, sizeof(flight->socket), "%s/%s", run, PATHS_SOCKET);
    if (flight->headers == NULL || flight->curl == NULL || flight_configure(relay, flight) != 0) {
        print_error(relay, line->id, INTERNAL_ERROR, "out of memory");
        flight_end(relay, flight);
    }
}

static void flight_arrived(struct relay *relay, struct flight *flight, CURLcode code)
{
    struct buffer out = {0};
    struct error err = {0};
    long status = 0;
    const json_t *id = flight->line.id;
    const struct buffer *answer = &flight->answer;
    curl_easy_getinfo(flight->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        client_explain(flight->socket, (int)code, flight->reason, &err);
        print_error(relay, id, INTERNAL_ERROR, err.message);
    } else if (answer->length > 0 && answer_take(&out, answer->data, answer->length)) {
        if (flight->line.initialize) answer_version(answer->data, answer->length, relay->version);
    } else if (status != 202) {
        answer_refusal(answer->data != NULL ? answer->data : "", answer->length, status, &out);
        print_error(relay, id, INTERNAL_ERROR, out.failed ? "out of memory" : out.data);
        buffer_free(&out);
    }
    print(relay, &out);
    flight_end(relay, flight);
}

static void collect(struct relay *relay)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(relay->multi, &left)) != NULL) {
        struct flight *flight = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        const CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &flight);
        flight_arrived(relay, flight, code);
    }
}

/* A request that is cancelled gets no answer: its connection is cut, and the daemon sees that. */
static void cancel(struct relay *relay, const json_t *id)
{
    for (struct flight *flight = relay->flights; flight != NULL; flight = flight->next) {
        if (flight->line.id == NULL || !json_equal(flight->line.id, id)) continue;
        flight_end(relay, flight);
        return;
    }
}

/* ---- Input ---- */

static void take_line(struct relay *relay, const char *text, size_t length)
{
    struct line line;
    if (length > 0 && text[length - 1] == '\r') length--;
    if (length == 0) return;
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        command_note("out of memory: a message is lost");
        return;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    line_read(&line, copy, length);
    if (line.cancelled != NULL) {
        cancel(relay, line.cancelled);
        line_free(&line);
    } else {
        flight_begin(relay, &line);
    }
}

/* Takes the lines that are complete, as long as there is room for their flights. */
static void take_lines(struct relay *relay)
{
    struct buffer *input = &relay->input;
    size_t begin = 0;
    while (relay->count < FLIGHTS_MOST && begin < input->length) {
        const char *from = input->data + begin + relay->searched;
        const char *end = memchr(from, '\n', input->length - begin - relay->searched);
        relay->searched = end != NULL ? 0 : input->length - begin;
        if (end == NULL && !relay->ended) break;
        const size_t length =
            end != NULL ? (size_t)(end - input->data) - begin : input->length - begin;
        if (!relay->skipping) take_line(relay, input->data + begin, length);
        relay->skipping = false;
        relay->searched = 0;
        begin += length + (end != NULL);
    }
    if (begin == 0) return;
    memmove(input->data, input->data + begin, input->length - begin);
    input->length -= begin;
}

static void drop_line(struct relay *relay, const char *why)
{
    if (!relay->skipping) print_error(relay, NULL, PARSE_ERROR, why);
    relay->skipping = true;
    relay->searched = 0;
    buffer_free(&relay->input);
}

static void read_input(struct relay *relay)
{
    char piece[READ_SIZE];
    const ssize_t length = read(STDIN_FILENO, piece, sizeof(piece));
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (length <= 0) {
        relay->ended = true;
        return;
    }
    buffer_append(&relay->input, piece, (size_t)length);
    if (relay->input.failed)
        drop_line(relay, "out of memory: the message is too large");
    else if (relay->searched > LINE_MOST)
        drop_line(relay, "the message is larger than 64 MiB");
}

/* libcurl does not tell of an end of the input, and poll() does. */
static bool input_waits(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static void run_relay(struct relay *relay)
{
    enum { WAIT_MS = 60000 };
    int running;
    for (;;) {
        take_lines(relay);
        curl_multi_perform(relay->multi, &running);
        const int before = relay->count;
        collect(relay);
        if (relay->failed || (relay->ended && relay->count == 0 && relay->input.length == 0))
            return;
        if (relay->count < before && relay->input.length > 0) continue;
        struct curl_waitfd input = {.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN};
        const bool reading = !relay->ended && relay->count < FLIGHTS_MOST;
        curl_multi_poll(relay->multi, &input, reading ? 1 : 0, WAIT_MS, NULL);
        if (reading && input_waits()) read_input(relay);
    }
}

static int run(const struct arguments *arguments)
{
    const struct option_spec specs[] = {{0}};
    struct relay relay = {0};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;
    if (isatty(STDIN_FILENO))
        command_note("this is for programs that speak the Model Context Protocol; 'tekup mcp "
                     "--help' says how they are told of it");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) relay.multi = curl_multi_init();
    if (relay.multi == NULL) {
        command_note("libcurl could not be started: out of memory?");
        return EXIT_FAILED;
    }
    curl_multi_setopt(relay.multi, CURLMOPT_MAXCONNECTS, (long)FLIGHTS_MOST);
    run_relay(&relay);
    while (relay.flights != NULL) flight_end(&relay, relay.flights);
    buffer_free(&relay.input);
    curl_multi_cleanup(relay.multi);
    curl_global_cleanup();
    if (!relay.failed) return EXIT_DONE;
    command_note("nobody reads the answers");
    return EXIT_FAILED;
}

const struct command command_mcp = {
    .name = "mcp",
    .summary = "for language models: the Model Context Protocol on stdin and stdout",
    .help = help,
    .run = run,
};
