/*
 * drive_api.h: calls of the Drive API, version 3: with a token, again where the token has expired
 * or Google asks for patience, and with what went wrong in words. Any thread.
 */
#ifndef INGEST_DRIVE_API_H
#define INGEST_DRIVE_API_H

#include "ingest/drive/drive_auth.h"
#include "ingest/http/http_client.h"
#include "ingest/source_kind.h"
#include "storage/base/buffer.h"

#include <jansson.h>

struct drive_api {
    const struct source_context *context;
    const struct drive_config *config;
    struct drive_auth *auth;
};

/* What the API says of an error (https://developers.google.com/drive/api/guides/handle-errors). */
struct drive_fault {
    long status;     /* 0: no answer with an error */
    char reason[64]; /* of the first error, "" where it says none */
    char message[200];
};

/* "name=value" with the value escaped, and '?' or '&' before it. */
void drive_query(struct buffer *url, const char *name, const char *value);

/* GET of config.baseUrl and `path`, e.g. "/drive/v3/about?fields=user"; the body may have `most`
 * bytes (0: as many as http_client allows). The caller frees the response. Returns 0 with an answer
 * of 2xx, -1 otherwise; *fault (never NULL) is filled where an error came from the API, and err
 * then says it in words, with `what` in front:
 *     ERR_NOT_FOUND     404: it is not there or not to be seen
 *     ERR_TOO_LARGE     more than `most` bytes
 *     ERR_IO            this one thing cannot be had
 *     ERR_UNAVAILABLE   nothing can be had now
 *     ERR_CANCELLED */
int drive_get(const struct drive_api *api, const char *what, const char *path, size_t most,
              struct http_response *response, struct drive_fault *fault, struct error *err);

/* The same, of JSON; the caller calls json_decref. */
int drive_get_json(const struct drive_api *api, const char *what, const char *path, json_t **answer,
                   struct drive_fault *fault, struct error *err);

#endif
