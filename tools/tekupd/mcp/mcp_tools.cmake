# Writes TO, a C file that holds the JSON of FROM for mcp_tools_json.h; wrong JSON fails the build.
# Run as a script: cmake -DFROM=... -DTO=... -P mcp_tools.cmake
include(${CMAKE_CURRENT_LIST_DIR}/../../../storage/base/bytes.cmake)
file(READ ${FROM} TEXT)
string(JSON KIND ERROR_VARIABLE PROBLEM TYPE "{\"tools\": ${TEXT}}" tools)
if(NOT KIND STREQUAL "ARRAY")
  message(FATAL_ERROR "${FROM} is no array of JSON: ${PROBLEM}")
endif()
bytes_of(${FROM} BYTES LENGTH TAG)
file(WRITE ${TO} "/* Made from mcp_tools.json by mcp_tools.cmake. */
#include \"tools/tekupd/mcp/mcp_tools_json.h\"

const char mcp_tools_json[] = {
${BYTES}0x00};
const size_t mcp_tools_json_length = ${LENGTH};
")
