# Writes TO, a C file that holds the description FROM for api_openapi.c; wrong JSON fails the build.
# Run as a script: cmake -DFROM=... -DTO=... -P openapi.cmake
include(${CMAKE_CURRENT_LIST_DIR}/../../../storage/base/bytes.cmake)
file(READ ${FROM} TEXT)
string(JSON KIND ERROR_VARIABLE PROBLEM TYPE "${TEXT}" paths)
if(NOT KIND STREQUAL "OBJECT")
  message(FATAL_ERROR "${FROM} is no description: ${PROBLEM}")
endif()
bytes_of(${FROM} BYTES LENGTH TAG)
file(WRITE ${TO} "/* Made from openapi.json by openapi.cmake. */
#include \"tools/tekupd/api/openapi.h\"

static const unsigned char bytes[] = {
${BYTES}};
const struct http_page openapi_page = {\"application/json\", bytes, ${LENGTH}, ${TAG}};
")
