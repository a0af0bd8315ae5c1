/*
 * notion_api.h: calls of Notion's API, at the pace that it asks for, and with what went wrong in
 * words. Any thread.
 *
 * The version is 2025-09-03, the first in which databases may have several data sources.
 */
#ifndef INGEST_NOTION_API_H
#define INGEST_NOTION_API_H

#include "ingest/http/http_client.h"
#include "ingest/notion/notion_config.h"
#include "ingest/source_kind.h"

#include <jansson.h>
#include <pthread.h>

struct notion_api {
    const struct source_context *context;
    const struct notion_config *config;
    char *authorization;
    pthread_mutex_t lock;
    double next; /* the monotonic clock's second of the next request; under the lock */
};

/* Reads the token. notion_api_close is called in any case. */
int notion_api_open(struct notion_api *api, const struct source_context *context,
                    const struct notion_config *config, struct error *err);
void notion_api_close(struct notion_api *api);

/* Returns 0 with the answer, which the caller releases by json_decref. Otherwise -1, with `what` in
 * front of the message: ERR_NOT_FOUND (404, or the integration cannot see it), ERR_INVALID (400),
 * ERR_IO (this one thing cannot be had), ERR_UNAVAILABLE (nothing can), ERR_CANCELLED. body NULL: a
 * GET. */
int notion_call(struct notion_api *api, const char *what, const char *path, const json_t *body,
                json_t **answer, struct error *err);

#endif
