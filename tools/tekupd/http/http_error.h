/*
 * http_error.h: the interface's error form, and how evhttp is brought to use it.
 */
#ifndef TEKUPD_HTTP_ERROR_H
#define TEKUPD_HTTP_ERROR_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <stdbool.h>

struct evbuffer;

/* What a 401 asks for. */
#define HTTP_CHALLENGE "Bearer realm=\"tekupdb\""

int http_status_of(enum error_code code);

/* The words that go with a status, a static string. */
const char *http_reason(int status);

/* The `code` of an error with this status, a static string. */
const char *http_code(int status);

/* Appends {"code", "message", "field"}, to be the value of "error". */
void http_write_error(struct buffer *out, const struct error *err);

/* Whether a path is one of TekupVault's old calls, /api/..., whose errors have a form of their own.
 */
bool http_path_is_old(const char *path);

/* Appends the whole body of a refusal: {"error": {...}}, or where it is for an old call
 * {"success": false, "error": message}. field may be NULL. */
void http_write_refusal(struct buffer *out, bool old, int status, const char *field,
                        const char *message);

/*
 * evhttp 2.1 answers a head that it cannot read and a body over its limit with an HTML page of its
 * own, and gives a program no say in it. When the output of a connection ends with such a page,
 * which is appended in one go before anything of it is written to the socket, this puts the error
 * form in its place, that of old calls where the request was one. To be called whenever something
 * was added to the output that is not the program's own. Returns the status that it says instead, 0
 * where there is no such page.
 */
struct http_too_large {
    long max_body;
    int status;          /* what to say instead of 413; 0: nothing else */
    const char *message; /* and its words */
};
int http_replace_page(struct evbuffer *output, bool old, const struct http_too_large *too_large);

#endif
