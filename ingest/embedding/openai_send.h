/* openai_send.h: one request to an embeddings server, and what its answer means. Shared by the
 * provider's own files only. */
#ifndef INGEST_OPENAI_SEND_H
#define INGEST_OPENAI_SEND_H

#include "ingest/embedding/embed.h"

#include <pthread.h>

struct http_client;

/* The server, and what is known of its limits. */
struct openai_server {
    struct http_client *http;
    char *url, *model;
    char *key;            /* as its header says it; NULL: none */
    bool azure;           /* the key goes in the header api-key */
    int dimensions;       /* to ask for; 0: not asked for */
    pthread_mutex_t lock; /* protects what follows */
    double not_before;    /* the monotonic clock's second from which the server takes more */
    bool proven;          /* it has given embeddings: what it refuses is about the text */
};

enum openai_verdict { OPENAI_DONE, OPENAI_REFUSED, OPENAI_FAILED };

/* Sends texts, waiting as long as the server's limits ask. OPENAI_REFUSED: one of the texts, or all
 * of them together, are not to its liking, and err says why. OPENAI_FAILED: err as embed_perform.
 */
enum openai_verdict openai_send(struct openai_server *server, const struct embed_call *call,
                                const struct embed_text *const *texts, size_t count,
                                float *const *vectors, struct error *err);

/* Whether it answers at all to a text that nobody can mind. */
bool openai_is_proven(struct openai_server *server, const struct embed_call *call,
                      struct error *err);

#endif
