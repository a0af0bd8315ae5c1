/*
 * mcp_message.h: messages of the Model Context Protocol (modelcontextprotocol.io), which are those
 * of JSON-RPC 2.0.
 *
 * Two eras of it are spoken, told apart message by message, since nothing is remembered of a
 * client: until 2025-11-25 a client begins with `initialize`; since 2026-07-28 ("modern") each
 * request says in params._meta which version it is of, and results say what they are.
 */
#ifndef TEKUPD_MCP_MESSAGE_H
#define TEKUPD_MCP_MESSAGE_H

#include "storage/base/buffer.h"

#include <jansson.h>
#include <stdbool.h>

/* Newest first; the list ends with NULL. */
extern const char *const mcp_versions[];
#define MCP_MODERN "2026-07-28"    /* the first of them */
#define MCP_HANDSHAKE "2025-11-25" /* the newest of those that begin with `initialize` */
#define MCP_BATCHES "2025-03-26"   /* the only one with several messages in an array */
bool mcp_version_known(const char *version);

enum mcp_code {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_UNKNOWN_METHOD = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_INTERNAL_ERROR = -32603,
    MCP_HEADER_MISMATCH = -32020,
    MCP_UNSUPPORTED_VERSION = -32022
};

/* Why a message gets an error instead of a result, and the status that goes with it over HTTP. */
struct mcp_fault {
    int code; /* 0: none */
    int status;
    char message[256];
    char requested[32]; /* the version, with MCP_UNSUPPORTED_VERSION */
};

/* Fills *fault in and returns -1. */
int mcp_fault_set(struct mcp_fault *fault, int code, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int mcp_fault_version(struct mcp_fault *fault, const char *requested);

enum mcp_kind { MCP_REQUEST, MCP_NOTIFICATION, MCP_RESPONSE };

/* Points into the JSON value that it was read from. */
struct mcp_message {
    enum mcp_kind kind;
    const json_t *id;   /* of a request; NULL also where it cannot be told */
    const char *method; /* NULL for a response */
    json_t *params;     /* an object, or NULL */
    bool modern;
};

/* Checks that the value is a message. On failure the id is there all the same where it has one. */
int mcp_message_read(const json_t *value, struct mcp_message *message, struct mcp_fault *fault);

/* What a modern request says under params._meta as io.modelcontextprotocol/NAME; NULL: nothing. */
const json_t *mcp_message_meta(const struct mcp_message *message, const char *name);

/* ---- Answers: one line of JSON ---- */

/* The result's members are put between the two. */
void mcp_result_open(struct buffer *out, const struct mcp_message *message);
void mcp_result_close(struct buffer *out);

/* Where the id is NULL the answer has none. */
void mcp_put_error(struct buffer *out, const json_t *id, const struct mcp_fault *fault);

/* {"name": "tekupdb", ...} */
void mcp_put_server(struct buffer *out);

#endif
