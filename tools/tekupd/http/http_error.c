#include "tools/tekupd/http/http_error.h"

#include "tools/tekupd/http/json_write.h"

#include <string.h>

static const struct {
    int status;
    const char *reason, *code;
} statuses[] = {
    {200, "OK", ""},
    {201, "Created", ""},
    {202, "Accepted", ""},
    {304, "Not Modified", ""},
    {400, "Bad Request", "invalid"},
    {401, "Unauthorized", "unauthorized"},
    {403, "Forbidden", "forbidden"},
    {404, "Not Found", "not_found"},
    {405, "Method Not Allowed", "method_not_allowed"},
    {406, "Not Acceptable", "not_acceptable"},
    {409, "Conflict", "conflict"},
    {413, "Content Too Large", "too_large"},
    {415, "Unsupported Media Type", "unsupported_media_type"},
    {500, "Internal Server Error", "internal"},
    {503, "Service Unavailable", "unavailable"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        if (statuses[i].status == status) return statuses[i].reason;
    }
    return "Unknown";
}

int http_status_of(enum error_code code)
{
    switch (code) {
    case ERR_INVALID:
        return 400;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_UNAVAILABLE:
    case ERR_CANCELLED:
        return 503;
    case ERR_NONE:
    case ERR_IO:
    case ERR_INTERNAL:
        break;
    }
    return 500;
}

const char *http_code(int status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        if (statuses[i].status == status) return statuses[i].code;
    return "internal";
}

static void write_error(struct buffer *out, int status, const char *field, const char *message)
{
    json_put_open(out, '{');
    json_field_text(out, "code", http_code(status));
    json_field_text(out, "message", message);
    json_field_text(out, "field", field != NULL && *field != '\0' ? field : NULL);
    json_put_close(out, '}');
}

void http_write_error(struct buffer *out, const struct error *err)
{
    write_error(out, http_status_of(err->code), err->field, err->message);
}

bool http_path_is_old(const char *path)
{
    return strncmp(path, "/api/", 5) == 0;
}

void http_write_refusal(struct buffer *out, bool old, int status, const char *field,
                        const char *message)
{
    json_put_open(out, '{');
    if (old) {
        json_field_boolean(out, "success", false);
        json_field_text(out, "error", message);
    } else {
        json_put_key(out, "error");
        write_error(out, status, field, message);
    }
    json_put_close(out, '}');
}
