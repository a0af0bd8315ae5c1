/*
 * mcp_message.h: what has to be known of a message of the Model Context Protocol to bring it to the
 * daemon and to say that this failed. What is in it is the daemon's to read.
 */
#ifndef TEKUP_MCP_MESSAGE_H
#define TEKUP_MCP_MESSAGE_H

#include "storage/base/buffer.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct line {
    char *text; /* the message as it came */
    size_t length;
    json_t *id;        /* of a request; NULL otherwise, and where it cannot be told */
    json_t *cancelled; /* the id of the request that this message cancels, or NULL */
    char version[32];  /* that it says it is of; "" where it says nothing */
    char method[64];   /* these two as headers may have them; "" where that cannot be */
    char name[128];    /* of the tool */
    bool initialize;   /* its answer says the version of what follows */
};

/* Takes the text over, which is freed with the line. */
void line_read(struct line *line, char *text, size_t length);
void line_free(struct line *line);

/* The header lines that it goes with; version is the one that was agreed on, or "". NULL: memory
 * ran out. */
struct curl_slist *line_headers(const struct line *line, const char *version);

/* ---- Answers: a line of JSON each, with its end ---- */

/* The daemon's answer on one line. Returns false where it is none of the protocol. */
bool answer_take(struct buffer *out, const char *body, size_t length);

/* An error in the place of an answer. id may be NULL. */
void answer_error(struct buffer *out, const json_t *id, int code, const char *message);

/* The version that an answer to `initialize` says; "" where it says none. */
void answer_version(const char *body, size_t length, char out[32]);

/* Why the daemon refused the message before it read it, in its own words. */
void answer_refusal(const char *body, size_t length, long status, struct buffer *out);

#endif
