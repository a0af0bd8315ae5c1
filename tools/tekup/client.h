/*
 * client.h: calls of the daemon's HTTP interface over its UNIX socket.
 *
 * The socket is RUN/tekupd.sock (paths.h). A person whose own RUN has no socket is taken to the
 * system's daemon in /run/tekupdb where there is one, unless TEKUP_RUN says which to use.
 */
#ifndef TEKUP_CLIENT_H
#define TEKUP_CLIENT_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/base/paths.h"

#include <jansson.h>
#include <stddef.h>

struct client;

/* What is at the daemon's end of a socket path. */
enum socket_state {
    SOCKET_ALIVE,
    SOCKET_MISSING,
    SOCKET_STALE,  /* the file is there, and nobody listens: left by a daemon that was killed */
    SOCKET_DENIED, /* not allowed to this user */
    SOCKET_OTHER   /* any other reason, in words in the error */
};

/* Tries the socket. err (may be NULL) says in words what is wrong and how to start the daemon. */
enum socket_state client_probe(const char *socket_path, struct error *err);

/* RUN of the daemon that would be asked, after the rule above. */
int client_find_run(char run[PATHS_SIZE], struct error *err);

/* Makes a client; does not connect yet. The caller releases it with client_free. */
struct client *client_create(struct error *err);
void client_free(struct client *client);

/* Says why no whole answer came over the socket, seen from the person at the keyboard. code and
 * reason are libcurl's. Returns -1. */
int client_explain(const char *socket, int code, const char *reason, struct error *err);

struct response {
    long status; /* HTTP's; 0 where no answer came */
    char *body;  /* as it came, NUL-terminated; NULL where no answer came */
    size_t length;
    json_t *json;  /* the body as a JSON object; of client_fetch only where that failed */
    char next[24]; /* the header Tekup-Next: where the next page begins; "" where there is none */
};
void response_free(struct response *response);

/* Sends one call. target is the path with its query; body may be NULL and stays the caller's.
 * Returns 0 for an answer below 400. Otherwise -1 with the daemon's own words in err, and what was
 * answered in *response, which is to be released either way. */
int client_call(struct client *client, const char *method, const char *target, const json_t *body,
                struct response *response, struct error *err);

/* The same for a GET whose answer is application/octet-stream: it is left in response->body. */
int client_fetch(struct client *client, const char *target, struct response *response,
                 struct error *err);

/* Receives the lines of a stream, without their ends; a nonzero return ends it. */
typedef int (*client_line_fn)(void *arg, const char *line);

/* A GET whose answer goes on: each line as it comes. last_id (may be NULL) is sent as
 * Last-Event-ID. Returns 0 when `line` ended it; otherwise -1, also when the daemon ended it, and
 * *response as of client_call. */
int client_follow(struct client *client, const char *target, const char *last_id,
                  client_line_fn line, void *arg, struct response *response, struct error *err);

/* Appends '/' and one part of a path, percent-encoded. */
void target_segment(struct buffer *target, const char *value);

/* Appends name=value to a target, percent-encoded, after '?' or '&'. NULL values are left out. */
void target_add(struct buffer *target, const char *name, const char *value);

#endif
