# Writes TO, a C file that holds the description FROM for api_openapi.c; wrong JSON fails the build.
# Run as a script: cmake -DFROM=... -DTO=... -P openapi.cmake
file(READ ${FROM} TEXT)
string(JSON KIND ERROR_VARIABLE PROBLEM TYPE "${TEXT}" paths)
if(NOT KIND STREQUAL "OBJECT")
  message(FATAL_ERROR "${FROM} is no description: ${PROBLEM}")
endif()
file(READ ${FROM} BYTES HEX)
file(SHA256 ${FROM} HASH)
string(SUBSTRING ${HASH} 0 24 HASH)
string(LENGTH "${BYTES}" DIGITS)
math(EXPR LENGTH "${DIGITS} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" BYTES "${BYTES}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," BYTES "${BYTES}")
file(WRITE ${TO} "/* Made from openapi.json by openapi.cmake. */
#include \"tools/tekupd/api/openapi.h\"

static const unsigned char bytes[] = {
${BYTES}};
const struct http_page openapi_page = {\"application/json\", bytes, ${LENGTH}, \"\\\"${HASH}\\\"\"};
")
