#include "tools/tekupd/mcp/mcp.h"

#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/mcp/mcp_tools.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* How long a client may keep the list of tools: it changes with the program only. */
enum { LIST_KEPT_MS = 3600 * 1000 };

static const char instructions[] =
    "tekupdb holds the company's documents: GitHub repositories, Notion pages, Google Drive files "
    "and local files. Ask search_knowledge for the passages that answer a question, or search for "
    "documents, and read a whole document with fetch. list_repositories tells what there is to "
    "narrow a search to, get_repository_info what one of them holds, and get_sync_status how "
    "current they are. Everything only reads.";

struct exchange {
    const struct mcp_message *message;
    mcp_done done;
    void *arg;
    struct mcp_call call;
    json_t *no_arguments;
};

void mcp_put_offer(struct buffer *out)
{
    json_put_key(out, "capabilities");
    json_put_open(out, '{');
    json_put_key(out, "tools");
    json_put_open(out, '{');
    json_field_boolean(out, "listChanged", false);
    json_put_close(out, '}');
    json_put_close(out, '}');
    json_field_text(out, "instructions", instructions);
}

/* ---- Methods ---- */

static int no_memory(struct mcp_fault *fault)
{
    return mcp_fault_set(fault, MCP_INTERNAL_ERROR, 500, "memory ran out");
}

/* The version that the client asks for, if it is one that begins like this. */
static int initialize(const struct mcp_message *message, struct buffer *out,
                      struct mcp_fault *fault)
{
    const json_t *version = json_object_get(message->params, "protocolVersion");
    if (!json_is_string(version))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200,
                             "params.protocolVersion must be a string");
    if (!json_is_object(json_object_get(message->params, "capabilities")) ||
        !json_is_object(json_object_get(message->params, "clientInfo")))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200,
                             "params.capabilities and params.clientInfo must be objects");
    const char *asked = json_string_value(version);
    const bool taken = mcp_version_known(asked) && strcmp(asked, MCP_MODERN) != 0;
    mcp_result_open(out, message);
    json_field_text(out, "protocolVersion", taken ? asked : MCP_HANDSHAKE);
    mcp_put_offer(out);
    json_put_key(out, "serverInfo");
    mcp_put_server(out);
    mcp_result_close(out);
    return 0;
}

static void put_caching(struct buffer *out)
{
    json_field_integer(out, "ttlMs", LIST_KEPT_MS);
    json_field_text(out, "cacheScope", "public");
}

static int discover(const struct mcp_message *message, struct buffer *out, struct mcp_fault *fault)
{
    if (!message->modern)
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 400,
                             "params._meta must have io.modelcontextprotocol/protocolVersion");
    mcp_result_open(out, message);
    json_put_key(out, "supportedVersions");
    json_put_open(out, '[');
    for (size_t i = 0; mcp_versions[i] != NULL; i++) json_put_text(out, mcp_versions[i]);
    json_put_close(out, ']');
    mcp_put_offer(out);
    put_caching(out);
    mcp_result_close(out);
    return 0;
}

static int ping(const struct mcp_message *message, struct buffer *out)
{
    mcp_result_open(out, message);
    mcp_result_close(out);
    return 0;
}

static int list_tools(const struct mcp_message *message, struct buffer *out,
                      struct mcp_fault *fault)
{
    if (json_object_get(message->params, "cursor") != NULL)
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200,
                             "params.cursor is of no list of this server");
    char *list = mcp_tools_list();
    if (list == NULL) return no_memory(fault);
    mcp_result_open(out, message);
    json_field_raw(out, "tools", list);
    if (message->modern) put_caching(out);
    mcp_result_close(out);
    free(list);
    return 0;
}

/* ---- Tools ---- */

static void finish(struct exchange *exchange, const struct mcp_fault *fault, struct buffer *body)
{
    struct mcp_fault short_of_memory;
    if (fault == NULL && body->failed) {
        no_memory(&short_of_memory);
        fault = &short_of_memory;
    }
    exchange->done(exchange->arg, fault, body);
    buffer_free(body);
    buffer_free(&exchange->call.content);
    json_decref(exchange->no_arguments);
    free(exchange);
}

static void put_text(struct buffer *out, const char *text, size_t length)
{
    json_put_key(out, "content");
    json_put_open(out, '[');
    json_put_open(out, '{');
    json_field_text(out, "type", "text");
    json_put_key(out, "text");
    json_put_text_of(out, text, length);
    json_put_close(out, '}');
    json_put_close(out, ']');
}

/* What a model asked wrongly it can ask again: so that is a result, and says what is wrong. */
static void put_failure(struct buffer *out, const struct error *err)
{
    struct buffer text = {0};
    buffer_text(&text, err->message);
    if (err->code == ERR_UNAVAILABLE) buffer_text(&text, ". Trying again later may help.");
    put_text(out, text.data != NULL ? text.data : "", text.length);
    json_field_boolean(out, "isError", true);
    if (text.failed) out->failed = true;
    buffer_free(&text);
}

static void tool_done(struct mcp_call *call)
{
    struct exchange *exchange = (struct exchange *)((char *)call - offsetof(struct exchange, call));
    struct buffer body = {0};
    mcp_result_open(&body, exchange->message);
    if (call->err.code != ERR_NONE) {
        put_failure(&body, &call->err);
    } else {
        put_text(&body, call->content.data, call->content.length);
        json_field_raw(&body, "structuredContent", call->content.data);
        json_field_boolean(&body, "isError", false);
    }
    mcp_result_close(&body);
    finish(exchange, NULL, &body);
}

static int call_tool(struct exchange *exchange, struct mcp_fault *fault)
{
    json_t *params = exchange->message->params;
    const json_t *name = json_object_get(params, "name");
    json_t *arguments = json_object_get(params, "arguments");
    if (!json_is_string(name))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200, "params.name must be a string");
    if (arguments != NULL && !json_is_object(arguments))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200, "params.arguments must be an object");
    if (arguments == NULL) arguments = exchange->no_arguments = json_object();
    if (arguments == NULL) return no_memory(fault);
    exchange->call.arguments = arguments;
    exchange->call.done = tool_done;
    if (mcp_tool_call(json_string_value(name), &exchange->call) == 0) return 0;
    return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200, "Unknown tool: %.64s",
                         json_string_value(name));
}

/* ---- Dispatch ---- */

static int answer_now(const struct mcp_message *message, struct buffer *out,
                      struct mcp_fault *fault)
{
    const char *method = message->method;
    if (strcmp(method, "server/discover") == 0) return discover(message, out, fault);
    if (strcmp(method, "tools/list") == 0) return list_tools(message, out, fault);
    if (!message->modern && strcmp(method, "initialize") == 0)
        return initialize(message, out, fault);
    if (!message->modern && strcmp(method, "ping") == 0) return ping(message, out);
    return mcp_fault_set(fault, MCP_UNKNOWN_METHOD, message->modern ? 404 : 200,
                         "Method not found: %.64s", method);
}

void mcp_answer(struct daemon *daemon, struct http_request *request,
                const struct mcp_message *message, mcp_done done, void *arg)
{
    struct mcp_fault fault = {0};
    struct buffer body = {0};
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL) {
        no_memory(&fault);
        done(arg, &fault, &body);
        return;
    }
    exchange->message = message;
    exchange->done = done;
    exchange->arg = arg;
    exchange->call.daemon = daemon;
    exchange->call.request = request;
    const bool tool = strcmp(message->method, "tools/call") == 0;
    const int rc = tool ? call_tool(exchange, &fault) : answer_now(message, &body, &fault);
    if (rc != 0)
        finish(exchange, &fault, &body);
    else if (!tool)
        finish(exchange, NULL, &body);
}
