/*
 * github_api.h: calls of GitHub's REST API (version 2022-11-28), with its rate limits waited out
 * and what went wrong in words. Any thread.
 */
#ifndef INGEST_GITHUB_API_H
#define INGEST_GITHUB_API_H

#include "ingest/github/github_config.h"
#include "ingest/http/http_client.h"
#include "ingest/source_kind.h"

#include <jansson.h>

struct github_api {
    const struct source_context *context;
    const struct github_config *config;
    char *authorization; /* "Bearer ...", or NULL: public repositories */
    char *repository;    /* OWNER/NAME as it is called now */
};

/* Reads the token. github_api_close is called in any case. */
int github_api_open(struct github_api *api, const struct source_context *context,
                    const struct github_config *config, struct error *err);
void github_api_close(struct github_api *api);

struct github_call {
    const char *path; /* after the base URL, or after /repos/OWNER/NAME where it begins with ':' */
    const char *accept; /* NULL: application/vnd.github+json */
    const char *etag;   /* of the answer that is known; NULL: none */
    size_t response_most;
    double timeout_s;
    int (*sink)(void *arg, const void *bytes, size_t length, struct error *err);
    void *arg;
};

/* Returns 0 with an answer of 200 or 304, or of 409 where the repository is empty; the caller frees
 * it. Otherwise -1, with `what` in front of the message: ERR_NOT_FOUND (404), ERR_TOO_LARGE,
 * ERR_IO (this one thing cannot be had), ERR_UNAVAILABLE (nothing can), ERR_CANCELLED. */
int github_get(const struct github_api *api, const char *what, const struct github_call *call,
               struct http_response *response, struct error *err);

/* The same, of JSON with status 200; the caller calls json_decref. */
int github_get_json(const struct github_api *api, const char *what, const char *path,
                    json_t **answer, struct error *err);

/* A name of a branch or a path with what a URL cannot hold escaped, but for '/'. The caller frees
 * it; NULL when memory ran out. */
char *github_escape(const char *text);

#endif
