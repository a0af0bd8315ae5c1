/*
 * mcp_tools.h: what language models can do here: the tools that the Model Context Protocol offers
 * them (mcp_tools.json says how each is called). All of them only read.
 */
#ifndef TEKUPD_MCP_TOOLS_H
#define TEKUPD_MCP_TOOLS_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/http/http.h"

#include <jansson.h>

struct mcp_tool;

/* One call of a tool; the caller's from begin to end. */
struct mcp_call {
    struct daemon *daemon;
    struct http_request *request; /* that it came with */
    json_t *arguments;            /* an object; stays the caller's */
    /* Called once, by any thread, perhaps before mcp_tool_call returns. */
    void (*done)(struct mcp_call *call);
    struct buffer content;       /* the result, a JSON object in one line; the caller's to free */
    struct error err;            /* why there is none */
    const struct mcp_tool *tool; /* set by mcp_tool_call */
};

/* Returns -1, and calls nothing, where there is no such tool. Searches are begun on the caller's
 * thread, which therefore is no event loop's. */
int mcp_tool_call(const char *name, struct mcp_call *call);

/* The tools as a JSON array in one line, which the caller frees; NULL when memory ran out. */
char *mcp_tools_list(void);

#endif
