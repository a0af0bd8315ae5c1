/*
 * http_error.h: the interface's error form.
 */
#ifndef TEKUPD_HTTP_ERROR_H
#define TEKUPD_HTTP_ERROR_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <stdbool.h>

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

#endif
