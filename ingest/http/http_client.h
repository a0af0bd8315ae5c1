/*
 * http_client.h: outgoing HTTP, for sources and for embeddings; on libcurl's multi interface.
 *
 * One thread carries all transfers, so that connections are used again and streams of HTTP/2 share
 * one; a call blocks the thread that makes it. Certificates and host names are always verified.
 * Secrets are sent to the origin they are for and nowhere else, and are in no error and no log.
 *
 * Proxies and certificates are what users of curl know: http_proxy, https_proxy, all_proxy,
 * no_proxy, SSL_CERT_FILE, SSL_CERT_DIR and CURL_CA_BUNDLE count where the options say nothing.
 */
#ifndef INGEST_HTTP_CLIENT_H
#define INGEST_HTTP_CLIENT_H

#include "storage/base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct http_client;

struct http_client_options {
    const char *user_agent;
    const char
        *ca_file;      /* certificates in PEM to trust instead of the system's; NULL or "": those */
    const char *proxy; /* NULL or "": what the environment says */
    int per_host;      /* the most connections to one host at once */
};

/* Errors: ERR_INTERNAL. */
struct http_client *http_client_create(const struct http_client_options *options,
                                       struct error *err);

/* Calls that are under way end with ERR_CANCELLED, and so do those that come; their threads must
 * have returned before http_client_free, which releases everything. NULL is allowed. */
void http_client_stop(struct http_client *client);
void http_client_free(struct http_client *client);

/* Becomes true by http_client_stop: for callers that wait on their own account. */
const atomic_bool *http_client_stopped(const struct http_client *client);

struct http_header {
    char *name, *value;
};

struct http_response {
    long status;
    char *body; /* NUL-terminated; "" where there was none or a sink took it */
    size_t length;
    struct http_header *headers;
    size_t header_count;
    char *url; /* where it came from, after redirects */
};

struct http_request {
    const char *method;         /* NULL: GET */
    const char *url;            /* http:// or https:// */
    const char *const *headers; /* "Name: value", ended by NULL; or NULL. No credentials */
    /* The value of Authorization, or a whole header "api-key: x" where `secret_header` says so, or
     * NULL: for the origin of `url`, not for where that redirects to. */
    const char *authorization;
    const char *secret_header; /* the name of the header that carries it; NULL: Authorization */
    const void *body;
    size_t body_length;
    const char *content_type; /* NULL: application/json where there is a body */
    bool repeatable;          /* a POST or PATCH that may be sent twice; others always may */
    size_t response_most;     /* bytes, decompressed; 0: HTTP_RESPONSE_MOST */
    double timeout_s;         /* for each try as a whole; 0: HTTP_TIMEOUT_S */
    int tries;                /* 0: HTTP_TRIES */
    double wait_most_s;       /* the longest wait that a server may ask for; 0: HTTP_WAIT_MOST_S */
    const atomic_bool *stop;  /* ends the call, waits included, with ERR_CANCELLED; or NULL */
    /* Told before a wait of more than a second, and with why NULL when it is over; or NULL. */
    void (*waiting)(void *arg, const char *why, time_t until);
    /* Given each answer: how many seconds to wait before it is asked for again; 0: the client
     * decides by the status; less than 0: this is the answer. Or NULL. */
    double (*judge)(void *arg, const struct http_response *response);
    /* Takes the body of a 2xx answer as it comes, in the calling thread; the connection waits
     * meanwhile. Returns 0, or -1 with err set, which ends the call. Once it has been given
     * something the request is not repeated. NULL: the body is collected. */
    int (*sink)(void *arg, const void *bytes, size_t length, struct error *err);
    void *arg;
};

enum {
    HTTP_RESPONSE_MOST = 64 << 20,
    HTTP_TIMEOUT_S = 300,
    HTTP_CONNECT_S = 15,
    HTTP_STALLED_S = 60, /* nothing came for so long */
    HTTP_TRIES = 5,
    HTTP_WAIT_MOST_S = 3600,
    HTTP_REDIRECTS = 10
};

/* Returns 0 when an answer came, whatever its status; the caller frees it. Otherwise -1:
 * ERR_UNAVAILABLE (not reached, timed out, cut), ERR_TOO_LARGE, ERR_CANCELLED, ERR_INVALID (the
 * URL, or a redirect that must not be followed), or what the sink said.
 *
 * Tried again, with a random wait that doubles (full jitter) or for as long as Retry-After says, in
 * seconds or as a date: what failed on the way, and 408, 425, 429, 500, 502, 503, 504. A POST or
 * PATCH that may not be repeated is only sent again where the server cannot have acted on it: it
 * was not reached, or said 425, 429 or 503. May be called from any thread. */
int http_perform(struct http_client *client, const struct http_request *request,
                 struct http_response *response, struct error *err);

/* NULL where there is none. The name in any case. Good until the response is freed. */
const char *http_response_header(const struct http_response *response, const char *name);

/* How many seconds Retry-After asks to wait, in either of its forms: seconds, or a date (RFC 9110,
 * 10.2.3). 0: it is over; less than 0: it is not there, or is neither. */
double http_retry_after(const struct http_response *response);

void http_response_free(struct http_response *response);

#endif
