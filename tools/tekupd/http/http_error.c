#include "tools/tekupd/http/http_error.h"

#include "storage/base/log.h"
#include "tools/tekupd/http/json_write.h"

#include <event2/buffer.h>
#include <stdio.h>
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

/* ---- evhttp's pages -------------------------------------------------------------------------- */

enum { PAGE_SIZE = 4096 }; /* more than one can be */

static const char page_end[] = "</BODY></HTML>\n";
static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* may be waiting in front of it */

/* Copies an output that ends with a page. Returns its length, 0 where it does not. */
static size_t copy_page(struct evbuffer *output, char out[PAGE_SIZE])
{
    const size_t length = evbuffer_get_length(output);
    if (length < sizeof(page_end) || length >= PAGE_SIZE) return 0;
    evbuffer_copyout(output, out, length);
    out[length] = '\0';
    return strcmp(out + length - (sizeof(page_end) - 1), page_end) == 0 ? length : 0;
}

static void describe(int said, long max_body, char *message, size_t size)
{
    switch (said) {
    case 413:
        snprintf(message, size, "the body is larger than %ld bytes", max_body);
        break;
    case 417:
        snprintf(message, size, "of Expect only 100-continue is known");
        break;
    case 500:
        snprintf(message, size, "memory ran out");
        break;
    default:
        snprintf(message, size,
                 "the request line or a header is not HTTP/1.1, or the head is "
                 "larger than 64 KiB");
    }
}

static int put_refusal(struct evbuffer *output, bool old, int said,
                       const struct http_too_large *too_large)
{
    const bool otherwise = said == 413 && too_large->status != 0;
    const int status = otherwise ? too_large->status : said == 413 || said == 500 ? said : 400;
    struct buffer body = {0};
    char message[128];
    if (otherwise)
        snprintf(message, sizeof(message), "%s", too_large->message);
    else
        describe(said, too_large->max_body, message, sizeof(message));
    http_write_refusal(&body, old, status, NULL, message);
    evbuffer_add_printf(output, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n", status,
                        http_reason(status));
    if (status == 401) evbuffer_add_printf(output, "WWW-Authenticate: %s\r\n", HTTP_CHALLENGE);
    if (status == 503) evbuffer_add_printf(output, "Retry-After: 2\r\n");
    evbuffer_add_printf(output, "Content-Length: %zu\r\nConnection: close\r\n\r\n", body.length);
    evbuffer_add(output, body.data, body.length);
    buffer_free(&body);
    log_debug("http.refused", "status=%d", status);
    return status;
}

int http_replace_page(struct evbuffer *output, bool old, const struct http_too_large *too_large)
{
    char page[PAGE_SIZE];
    int said, status = 0;
    /* A bufferevent lets nobody but itself look at or take what is at the front, and opens it for
     * itself when it writes. */
    evbuffer_unfreeze(output, 1);
    const size_t length = copy_page(output, page);
    if (length > 0) {
        const size_t before = strncmp(page, go_on, sizeof(go_on) - 1) == 0 ? sizeof(go_on) - 1 : 0;
        if (sscanf(page + before, "HTTP/%*d.%*d %d", &said) == 1) {
            evbuffer_drain(output, length);
            evbuffer_add(output, page, before);
            status = put_refusal(output, old, said, too_large);
        }
    }
    evbuffer_freeze(output, 1);
    return status;
}
