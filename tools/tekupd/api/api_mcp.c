/*
 * api_mcp.c: the Model Context Protocol over HTTP ("streamable HTTP"), without streams and without
 * sessions: a POST is a message and is answered with one, a GET has nothing to wait for.
 *
 * A browser that was led here by a hostile page sends that page's Origin and is refused.
 */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/guard.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/mcp/mcp.h"
#include "tools/tekupd/mcp/mcp_tools.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BATCH_MOST = 32 };

/* One message and its answer. */
struct part {
    struct exchange *exchange;
    struct mcp_message message;
    struct buffer answer; /* empty for what gets none */
    int status;
};

/* One POST. */
struct exchange {
    struct http_request *request;
    json_t *root; /* that the messages point into */
    bool batch;
    size_t count;
    atomic_size_t left;
    struct part parts[];
};

/* ---- Answers ---- */

static void refuse(struct http_request *request, const json_t *id, const struct mcp_fault *fault)
{
    struct buffer body = {0};
    mcp_put_error(&body, id, fault);
    http_respond(request, fault->status, &body);
}

static void respond_batch(struct exchange *exchange)
{
    struct buffer body = {0};
    json_put_open(&body, '[');
    for (size_t i = 0; i < exchange->count; i++) {
        struct part *part = &exchange->parts[i];
        if (part->answer.failed) body.failed = true;
        if (part->answer.length > 0) json_put_raw(&body, part->answer.data);
    }
    json_put_close(&body, ']');
    if (body.length == 2 && !body.failed) {
        buffer_free(&body);
        http_respond(exchange->request, 202, &body);
    } else {
        http_respond(exchange->request, 200, &body);
    }
}

/* Of one part; the last one answers the request. */
static void part_done(struct part *part)
{
    struct exchange *exchange = part->exchange;
    if (atomic_fetch_sub(&exchange->left, 1) != 1) return;
    if (exchange->batch)
        respond_batch(exchange);
    else
        http_respond(exchange->request, part->status, &part->answer);
    for (size_t i = 0; i < exchange->count; i++) buffer_free(&exchange->parts[i].answer);
    json_decref(exchange->root);
    free(exchange);
}

static void part_failed(struct part *part, const struct mcp_fault *fault)
{
    part->status = fault->status;
    mcp_put_error(&part->answer, part->message.id, fault);
    part_done(part);
}

static void take_answer(void *arg, const struct mcp_fault *fault, struct buffer *body)
{
    struct part *part = arg;
    if (fault != NULL) {
        part_failed(part, fault);
        return;
    }
    part->answer = *body;
    *body = (struct buffer){0};
    part->status = 200;
    part_done(part);
}

/* ---- Headers ---- */

/* Whether the header is the text, or =?base64?…?= of it. */
static bool header_says(const char *header, const char *text)
{
    static const char begin[] = "=?base64?";
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (strncmp(header, begin, sizeof(begin) - 1) != 0) return strcmp(header, text) == 0;
    struct buffer encoded = {0};
    const unsigned char *byte = (const unsigned char *)text;
    buffer_text(&encoded, begin);
    for (size_t left = strlen(text); left > 0;) {
        const size_t n = left < 3 ? left : 3;
        const unsigned bits =
            (unsigned)byte[0] << 16 | (n > 1 ? byte[1] << 8 : 0) | (n > 2 ? byte[2] : 0);
        buffer_format(&encoded, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63],
                      n > 1 ? digits[bits >> 6 & 63] : '=', n > 2 ? digits[bits & 63] : '=');
        byte += n;
        left -= n;
    }
    buffer_text(&encoded, "?=");
    const bool same = !encoded.failed && strcmp(header, encoded.data) == 0;
    buffer_free(&encoded);
    return same;
}

static int check_header(const struct http_request *request, const char *name, const char *text,
                        struct mcp_fault *fault)
{
    const char *header = http_header(request, name);
    if (header != NULL && header_says(header, text)) return 0;
    return mcp_fault_set(fault, MCP_HEADER_MISMATCH, 400,
                         "Header mismatch: %s %s, and the body says '%.64s'", name,
                         header == NULL ? "is missing" : "is something else", text);
}

/* A modern request says in headers again what it is, for proxies that do not read bodies. */
static int check_headers(const struct http_request *request, const struct mcp_message *message,
                         struct mcp_fault *fault)
{
    const char *version = http_header(request, "MCP-Protocol-Version");
    if (version != NULL && !mcp_version_known(version)) return mcp_fault_version(fault, version);
    if (message->kind != MCP_REQUEST) return 0;
    if (!message->modern) {
        if (version == NULL || strcmp(version, MCP_MODERN) != 0) return 0;
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 400,
                             "params._meta must have io.modelcontextprotocol/protocolVersion");
    }
    const json_t *name = json_object_get(message->params, "name");
    if (check_header(request, "MCP-Protocol-Version", MCP_MODERN, fault) != 0 ||
        check_header(request, "Mcp-Method", message->method, fault) != 0)
        return -1;
    if (strcmp(message->method, "tools/call") != 0 || !json_is_string(name)) return 0;
    return check_header(request, "Mcp-Name", json_string_value(name), fault);
}

/* Whether one of the types of Accept is application/json. No such header: anything is. */
static bool accepts_json(const char *accept)
{
    static const char *const types[] = {"application/json", "application/*", "*/*"};
    if (accept == NULL) return true;
    while (*accept != '\0') {
        accept += strspn(accept, " \t,");
        const size_t length = strcspn(accept, " \t;,");
        for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
            if (strlen(types[i]) == length && strncasecmp(accept, types[i], length) == 0)
                return true;
        }
        accept += strcspn(accept, ",");
    }
    return false;
}

/* Whether the page that a browser says it comes from is of this very server. */
static bool origin_is_own(const char *origin, const char *host)
{
    const char *place = strstr(origin, "://");
    return host != NULL && place != NULL && strcasecmp(place + 3, host) == 0;
}

static int check_request(const struct http_request *request, struct mcp_fault *fault)
{
    const char *origin = http_header(request, "Origin");
    if (origin != NULL && !origin_is_own(origin, http_header(request, "Host")))
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 403,
                             "pages of other servers may not ask here (Origin)");
    if (!accepts_json(http_header(request, "Accept")))
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 406,
                             "the answer is application/json, which Accept does not name");
    return 0;
}

/* ---- Messages ---- */

static json_t *read_body(const struct http_request *request, struct mcp_fault *fault)
{
    size_t length;
    const char *body = http_body(request, &length);
    json_error_t problem;
    json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        mcp_fault_set(fault, MCP_PARSE_ERROR, 400, "the message is not valid JSON: %s (byte %d)",
                      problem.text, problem.position);
    return root;
}

/* Several messages at once are of one version only, which is taken for that of who names none. */
static int check_batch(const struct http_request *request, const json_t *root,
                       struct mcp_fault *fault)
{
    const char *version = http_header(request, "MCP-Protocol-Version");
    if (version != NULL && !mcp_version_known(version)) return mcp_fault_version(fault, version);
    if (version != NULL && strcmp(version, MCP_BATCHES) != 0)
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400,
                             "version %s has no batches: send each message by itself", version);
    if (json_array_size(root) == 0 || json_array_size(root) > BATCH_MOST)
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400,
                             "a batch has 1 to %d messages, not %zu", BATCH_MOST,
                             json_array_size(root));
    return 0;
}

static struct exchange *make_exchange(struct http_request *request, json_t *root, bool batch)
{
    const size_t count = batch ? json_array_size(root) : 1;
    struct exchange *exchange = calloc(1, sizeof(*exchange) + count * sizeof(*exchange->parts));
    if (exchange == NULL) return NULL;
    exchange->request = request;
    exchange->root = root;
    exchange->batch = batch;
    exchange->count = count;
    atomic_init(&exchange->left, count);
    for (size_t i = 0; i < count; i++) exchange->parts[i].exchange = exchange;
    return exchange;
}

static void begin(struct daemon *daemon, struct part *part, const json_t *value)
{
    struct exchange *exchange = part->exchange;
    struct mcp_fault fault = {0};
    if (mcp_message_read(value, &part->message, &fault) != 0 ||
        check_headers(exchange->request, &part->message, &fault) != 0) {
        part_failed(part, &fault);
    } else if (part->message.kind != MCP_REQUEST) {
        part->status = 202;
        part_done(part);
    } else if (exchange->batch && strcmp(part->message.method, "initialize") == 0) {
        mcp_fault_set(&fault, MCP_INVALID_REQUEST, 400, "initialize must not be in a batch");
        part_failed(part, &fault);
    } else {
        mcp_answer(daemon, exchange->request, &part->message, take_answer, part);
    }
}

void api_mcp(struct daemon *daemon, struct http_request *request)
{
    struct mcp_fault fault = {0};
    json_t *root = NULL;
    struct exchange *exchange = NULL;
    if (check_request(request, &fault) == 0) root = read_body(request, &fault);
    if (root != NULL && (!json_is_array(root) || check_batch(request, root, &fault) == 0)) {
        exchange = make_exchange(request, root, json_is_array(root));
        if (exchange == NULL) mcp_fault_set(&fault, MCP_INTERNAL_ERROR, 500, "memory ran out");
    }
    if (exchange == NULL) {
        refuse(request, NULL, &fault);
        json_decref(root);
        return;
    }
    /* The last part that is done takes the exchange with it. */
    const size_t count = exchange->count;
    for (size_t i = 0; i < count; i++)
        begin(daemon, &exchange->parts[i], exchange->batch ? json_array_get(root, i) : root);
}

/* ---- The announcement ---- */

void api_mcp_card(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    char *tools = mcp_tools_list();
    json_put_open(&body, '{');
    json_field_text(&body, "protocolVersion", MCP_MODERN);
    json_put_key(&body, "supportedProtocolVersions");
    json_put_open(&body, '[');
    for (size_t i = 0; mcp_versions[i] != NULL; i++) json_put_text(&body, mcp_versions[i]);
    json_put_close(&body, ']');
    json_put_key(&body, "serverInfo");
    mcp_put_server(&body);
    json_field_text(&body, "description", "Searches and reads the documents that tekupdb holds.");
    json_put_key(&body, "transport");
    json_put_open(&body, '{');
    json_field_text(&body, "type", "streamable-http");
    json_field_text(&body, "endpoint", "/mcp");
    json_put_close(&body, '}');
    json_put_key(&body, "authentication");
    json_put_open(&body, '{');
    json_field_boolean(&body, "required", http_came_by_door(request) && guard_asks(daemon->guard));
    json_field_raw(&body, "schemes", "[\"bearer\"]");
    json_put_close(&body, '}');
    mcp_put_offer(&body);
    json_field_raw(&body, "tools", tools);
    json_put_close(&body, '}');
    if (tools == NULL) body.failed = true;
    free(tools);
    http_respond(request, 200, &body);
}
