/* mcp_tools_json.h: mcp_tools.json, compiled in. */
#ifndef TEKUPD_MCP_TOOLS_JSON_H
#define TEKUPD_MCP_TOOLS_JSON_H

#include <stddef.h>

extern const char mcp_tools_json[]; /* NUL-terminated */
extern const size_t mcp_tools_json_length;

#endif
