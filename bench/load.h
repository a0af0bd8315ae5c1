/*
 * load.h: clients of a server's UNIX socket that ask one question after another.
 *
 * The questions are there in the bytes in which they are sent, and of an answer nothing is looked
 * at but where it ends and whether it is one, so that the asking costs as little as it can. All
 * clients live in one thread: each sends its next question when it has the whole answer to the one
 * before.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum load_protocol {
    LOAD_HTTP,    /* answers have a Content-Length; what is no 2xx is an error */
    LOAD_POSTGRES /* answers end with ReadyForQuery; ErrorResponse is an error */
};

/* A message, pointing into the file that it was read from. */
struct message {
    const char *bytes;
    size_t length;
};

/* Messages in a file: each a little-endian uint32, its length, and so many bytes. */
struct messages {
    struct message *list;
    size_t count;
    void *memory;
    size_t size;
};

int messages_read(const char *path, struct messages *messages, tk_error *err);
void messages_free(struct messages *messages);

struct load_options {
    const char *socket;
    enum load_protocol protocol;
    const struct messages *hello;     /* sent by each client before all else; may be empty */
    const struct messages *questions; /* each client begins with another one and goes round */
    unsigned clients;
    bool looks; /* a single client looks for its answer until it comes, instead of sleeping */
    double warm_s, seconds; /* not measured; measured */
};

struct load_figures {
    size_t answers, errors;
    double seconds;
    uint32_t *latencies; /* nanoseconds, answers long, sorted; released with free() */
    char first_error[512];
};

/* Asks for so long. Errors: what keeps the clients from asking, also a connection that ends. */
int load_run(const struct load_options *options, struct load_figures *figures, tk_error *err);

/* Has one client ask each question once, and writes the answers (HTTP: the bodies) in the form of
 * messages. An error among them fails. */
int load_record(const struct load_options *options, FILE *out, tk_error *err);

#endif
