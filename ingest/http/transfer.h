/*
 * transfer.h: one exchange of a request for an answer: no redirects, no second try.
 *
 * WHO MAY TOUCH WHAT. A transfer is made by the calling thread, belongs to the client's thread from
 * transfer_run's begin to its end, and to the caller again after that. In between they share what
 * is under `lock`: the bytes that wait for the sink, and how it stands.
 */
#ifndef INGEST_TRANSFER_H
#define INGEST_TRANSFER_H

#include "ingest/http/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/queue.h>

enum transfer_end { TRANSFER_DONE, TRANSFER_FAILED, TRANSFER_STOPPED, TRANSFER_TOO_LARGE };

struct transfer {
    struct http_client *client;
    const struct http_request *request;
    const char *url;    /* of this exchange; a redirect changes it, and maybe what follows */
    const char *secret; /* the header's line, or NULL */
    const char *method;
    bool with_body;
    bool once; /* must not reach the server twice */

    CURL *easy;
    struct curl_slist *headers;
    char reason[CURL_ERROR_SIZE];
    CURLcode code;
    struct http_response response;
    size_t received;
    bool too_large, out_of_memory;
    bool sunk;      /* the sink was given something */
    char *redirect; /* where the answer sends, or NULL */

    /* Under the client's lock. */
    TAILQ_ENTRY(transfer) link;
    bool added, cancelled, ended;
    char *waiting; /* for the sink */
    size_t waiting_length;
    bool paused, resume;
};

TAILQ_HEAD(transfer_list, transfer);

struct http_client {
    CURLM *multi;
    char *user_agent, *ca_file, *proxy;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;   /* protects the list, and of the transfers what says so */
    pthread_cond_t changed; /* a transfer has ended or has bytes, or stop */
    struct transfer_list transfers;
    atomic_bool stop;
};

/* Runs it to its end. ERR_INTERNAL, or what the sink said, with TRANSFER_STOPPED. The caller calls
 * transfer_release in any case. */
int transfer_run(struct http_client *client, struct transfer *transfer, enum transfer_end *end,
                 struct error *err);
void transfer_release(struct transfer *transfer);

/* What the client's thread does. */
void *transfer_loop(void *client);

#endif
