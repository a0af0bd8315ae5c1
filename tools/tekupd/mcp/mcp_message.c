#include "tools/tekupd/mcp/mcp_message.h"

#include "tools/tekupd/http/json_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "io.modelcontextprotocol/"

const char *const mcp_versions[] = {MCP_MODERN,  MCP_HANDSHAKE, "2025-06-18",
                                    MCP_BATCHES, "2024-11-05",  NULL};

bool mcp_version_known(const char *version)
{
    for (size_t i = 0; mcp_versions[i] != NULL; i++)
        if (strcmp(mcp_versions[i], version) == 0) return true;
    return false;
}

int mcp_fault_set(struct mcp_fault *fault, int code, int status, const char *format, ...)
{
    va_list arguments;
    fault->code = code;
    fault->status = status;
    fault->requested[0] = '\0';
    va_start(arguments, format);
    vsnprintf(fault->message, sizeof(fault->message), format, arguments);
    va_end(arguments);
    return -1;
}

int mcp_fault_version(struct mcp_fault *fault, const char *requested)
{
    mcp_fault_set(fault, MCP_UNSUPPORTED_VERSION, 400, "Unsupported protocol version");
    snprintf(fault->requested, sizeof(fault->requested), "%s", requested);
    return -1;
}

/* ---- Reading --------------------------------------------------------------------------------- */

const json_t *mcp_message_meta(const struct mcp_message *message, const char *name)
{
    char key[64];
    snprintf(key, sizeof(key), META "%s", name);
    return json_object_get(json_object_get(message->params, "_meta"), key);
}

/* A client answers what a server has asked; this one asks nothing. */
static int read_response(const json_t *value, struct mcp_message *message, struct mcp_fault *fault)
{
    const json_t *error = json_object_get(value, "error");
    message->kind = MCP_RESPONSE;
    if (json_is_object(json_object_get(value, "result")) || json_is_object(error)) return 0;
    return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400,
                         "the message has neither a method nor a result nor an error");
}

/* Of a request of the modern era, which has it in every one. */
static int read_envelope(struct mcp_message *message, struct mcp_fault *fault)
{
    const json_t *version = mcp_message_meta(message, "protocolVersion");
    if (version == NULL || message->kind != MCP_REQUEST) return 0;
    if (!json_is_string(version))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 400,
                             META "protocolVersion must be a string");
    if (!mcp_version_known(json_string_value(version)))
        return mcp_fault_version(fault, json_string_value(version));
    message->modern = strcmp(json_string_value(version), MCP_MODERN) == 0;
    if (message->modern && !json_is_object(mcp_message_meta(message, "clientCapabilities")))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 400,
                             "params._meta must have " META "clientCapabilities, an object");
    return 0;
}

int mcp_message_read(const json_t *value, struct mcp_message *message, struct mcp_fault *fault)
{
    const json_t *version = json_object_get(value, "jsonrpc");
    const json_t *id = json_object_get(value, "id"), *method = json_object_get(value, "method");
    json_t *params = json_object_get(value, "params");
    *message = (struct mcp_message){.kind = MCP_REQUEST};
    if (!json_is_object(value))
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400, "a message is a JSON object");
    if (id != NULL && !json_is_string(id) && !json_is_integer(id))
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400,
                             "id must be a string or a whole number");
    message->id = id;
    if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400, "jsonrpc must be \"2.0\"");
    if (method == NULL) return read_response(value, message, fault);
    if (!json_is_string(method))
        return mcp_fault_set(fault, MCP_INVALID_REQUEST, 400, "method must be a string");
    if (id == NULL) message->kind = MCP_NOTIFICATION;
    message->method = json_string_value(method);
    if (params != NULL && !json_is_object(params))
        return mcp_fault_set(fault, MCP_INVALID_PARAMS, 200, "params must be an object");
    message->params = params;
    return read_envelope(message, fault);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void put_id(struct buffer *out, const json_t *id)
{
    json_put_key(out, "id");
    if (json_is_string(id))
        json_put_text_of(out, json_string_value(id), json_string_length(id));
    else
        json_put_integer(out, json_integer_value(id));
}

void mcp_put_server(struct buffer *out)
{
    json_put_open(out, '{');
    json_field_text(out, "name", "tekupdb");
    json_field_text(out, "title", "tekupdb");
    json_field_text(out, "version", TEKUP_VERSION);
    json_put_close(out, '}');
}

void mcp_result_open(struct buffer *out, const struct mcp_message *message)
{
    json_put_open(out, '{');
    json_field_text(out, "jsonrpc", "2.0");
    put_id(out, message->id);
    json_put_key(out, "result");
    json_put_open(out, '{');
    if (!message->modern) return;
    json_field_text(out, "resultType", "complete");
    json_put_key(out, "_meta");
    json_put_open(out, '{');
    json_put_key(out, META "serverInfo");
    mcp_put_server(out);
    json_put_close(out, '}');
}

void mcp_result_close(struct buffer *out)
{
    json_put_close(out, '}');
    json_put_close(out, '}');
}

void mcp_put_error(struct buffer *out, const json_t *id, const struct mcp_fault *fault)
{
    json_put_open(out, '{');
    json_field_text(out, "jsonrpc", "2.0");
    if (id != NULL) put_id(out, id);
    json_put_key(out, "error");
    json_put_open(out, '{');
    json_field_integer(out, "code", fault->code);
    json_field_text(out, "message", fault->message);
    if (fault->code == MCP_UNSUPPORTED_VERSION) {
        json_put_key(out, "data");
        json_put_open(out, '{');
        json_put_key(out, "supported");
        json_put_open(out, '[');
        for (size_t i = 0; mcp_versions[i] != NULL; i++) json_put_text(out, mcp_versions[i]);
        json_put_close(out, ']');
        json_field_text(out, "requested", fault->requested);
        json_put_close(out, '}');
    }
    json_put_close(out, '}');
    json_put_close(out, '}');
}
