/*
 * mcp.h: the Model Context Protocol's server, for one message at a time and whatever it comes by.
 *
 * It offers tools (mcp_tools.h) and nothing else, and remembers nothing of its clients:
 * `initialize` is answered, and every other request with or without it, so that a daemon that was
 * started anew goes on where the old one ended.
 */
#ifndef TEKUPD_MCP_H
#define TEKUPD_MCP_H

#include "tools/tekupd/daemon.h"
#include "tools/tekupd/http/http.h"
#include "tools/tekupd/mcp/mcp_message.h"

/* Has done(arg, fault, body) called once, by any thread, perhaps before this returns. fault is NULL
 * where the request has a result, and then body is the whole answer, which the callee may take
 * over. The message must be a request, and stay until then. Not on an event loop's thread. */
typedef void (*mcp_done)(void *arg, const struct mcp_fault *fault, struct buffer *body);
void mcp_answer(struct daemon *daemon, struct http_request *request,
                const struct mcp_message *message, mcp_done done, void *arg);

/* Members of an object: capabilities, instructions. */
void mcp_put_offer(struct buffer *out);

#endif
