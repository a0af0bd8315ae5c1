#include "tools/tekup/mcp_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Messages ---- */

/* Copies a text that may be a header's value; what may not, or has no room, is left out. */
static void copy_plain(char *out, size_t size, const json_t *value)
{
    const char *text = json_string_value(value);
    out[0] = '\0';
    if (text == NULL || strlen(text) >= size) return;
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~') return;
    snprintf(out, size, "%s", text);
}

static bool is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

void line_read(struct line *line, char *text, size_t length)
{
    json_error_t ignored;
    *line = (struct line){.text = text, .length = length};
    json_t *message = json_loadb(text, length, 0, &ignored);
    const json_t *method = json_object_get(message, "method");
    const json_t *params = json_object_get(message, "params");
    const json_t *meta = json_object_get(params, "_meta");
    json_t *id = json_object_get(message, "id");
    if (method != NULL && (json_is_string(id) || json_is_integer(id))) line->id = json_incref(id);
    if (is(method, "notifications/cancelled"))
        line->cancelled = json_incref(json_object_get(params, "requestId"));
    line->initialize = line->id != NULL && is(method, "initialize");
    copy_plain(line->version, sizeof(line->version),
               json_object_get(meta, "io.modelcontextprotocol/protocolVersion"));
    copy_plain(line->method, sizeof(line->method), method);
    if (is(method, "tools/call"))
        copy_plain(line->name, sizeof(line->name), json_object_get(params, "name"));
    json_decref(message);
}

void line_free(struct line *line)
{
    free(line->text);
    json_decref(line->id);
    json_decref(line->cancelled);
    *line = (struct line){0};
}

static bool add(struct curl_slist **headers, const char *name, const char *value)
{
    char text[256];
    if (*value == '\0') return true;
    snprintf(text, sizeof(text), "%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(*headers, text);
    if (more != NULL) *headers = more;
    return more != NULL;
}

struct curl_slist *line_headers(const struct line *line, const char *version)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:"); /* no waiting for leave */
    if (line->version[0] != '\0') version = line->version;
    if (line->initialize) version = "";
    if (headers != NULL && add(&headers, "Content-Type", "application/json") &&
        add(&headers, "Accept", "application/json, text/event-stream") &&
        add(&headers, "MCP-Protocol-Version", version) &&
        add(&headers, "Mcp-Method", line->method) && add(&headers, "Mcp-Name", line->name))
        return headers;
    curl_slist_free_all(headers);
    return NULL;
}

/* ---- Answers ---- */

bool answer_take(struct buffer *out, const char *body, size_t length)
{
    json_error_t ignored;
    json_t *answer = json_loadb(body, length, 0, &ignored);
    const json_t *first = json_is_array(answer) ? json_array_get(answer, 0) : answer;
    const bool whole = is(json_object_get(first, "jsonrpc"), "2.0");
    json_decref(answer);
    if (!whole) return false;
    const size_t begin = out->length;
    buffer_append(out, body, length);
    /* In JSON a line ends between values only, where it is as good as a blank. */
    for (size_t i = begin; !out->failed && i < out->length; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
    buffer_append(out, "\n", 1);
    return true;
}

void answer_error(struct buffer *out, const json_t *id, int code, const char *message)
{
    json_t *answer = json_pack("{s:s, s:O*, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error",
                               "code", code, "message", message);
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    if (text != NULL) {
        buffer_text(out, text);
        buffer_append(out, "\n", 1);
    } else {
        out->failed = true;
    }
    free(text);
    json_decref(answer);
}

void answer_version(const char *body, size_t length, char out[32])
{
    json_error_t ignored;
    json_t *answer = json_loadb(body, length, 0, &ignored);
    const json_t *result = json_object_get(answer, "result");
    copy_plain(out, 32, json_object_get(result, "protocolVersion"));
    json_decref(answer);
}

void answer_refusal(const char *body, size_t length, long status, struct buffer *out)
{
    json_error_t ignored;
    json_t *answer = json_loadb(body, length, 0, &ignored);
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    if (message != NULL)
        buffer_format(out, "tekupd refused the message: %s", message);
    else
        buffer_format(out, "tekupd answered with status %ld and no reason", status);
    json_decref(answer);
}
