# Writes the console's files as C, for the daemon to have them with it:
#
#     cmake -DFROM=console -DTO=console_pages.c -P embed.cmake
#
# The entity tag is a hash of the file, so that a browser asks for nothing that it has, and for
# everything that another build has changed.
set(TEXT "/* Made of console/ by console/embed.cmake. */\n#include \"tools/tekupd/console/console_pages.h\"\n")
foreach(PAGE html:index.html:text/html css:console.css:text/css js:console.js:text/javascript)
  string(REPLACE ":" ";" PAGE ${PAGE})
  list(GET PAGE 0 NAME)
  list(GET PAGE 1 FILE)
  list(GET PAGE 2 TYPE)
  file(READ ${FROM}/${FILE} BYTES HEX)
  file(SHA256 ${FROM}/${FILE} HASH)
  string(SUBSTRING ${HASH} 0 24 HASH)
  string(LENGTH "${BYTES}" LENGTH)
  math(EXPR LENGTH "${LENGTH} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" BYTES "${BYTES}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," BYTES "${BYTES}")
  string(APPEND TEXT "\nstatic const unsigned char bytes_${NAME}[] = {\n${BYTES}};\n"
    "const struct http_page console_page_${NAME} = {\"${TYPE}; charset=utf-8\", bytes_${NAME}, "
    "${LENGTH}, \"\\\"${HASH}\\\"\"};\n")
endforeach()
file(WRITE ${TO} "${TEXT}")
