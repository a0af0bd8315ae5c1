# Writes the console's files as C, for the daemon to have them with it; SCRIPT are the parts of its
# script, which become one:
#
#     cmake -DFROM=console "-DSCRIPT=console/script/page.js;..." -DTO=console_pages.c -P embed.cmake
#
# The entity tag is a hash of the bytes, so that a browser asks for nothing that it has, and for
# everything that another build has changed.
set(TEXT "/* Made of console/ by console/embed.cmake. */\n#include \"tools/tekupd/console/console_pages.h\"\n")
set(FILES_html ${FROM}/index.html)
set(FILES_css ${FROM}/console.css)
set(FILES_js ${SCRIPT})
foreach(PAGE html:text/html css:text/css js:text/javascript)
  string(REPLACE ":" ";" PAGE ${PAGE})
  list(GET PAGE 0 NAME)
  list(GET PAGE 1 TYPE)
  set(BYTES "")
  foreach(FILE IN LISTS FILES_${NAME})
    file(READ ${FILE} PART HEX)
    string(APPEND BYTES "${PART}")
  endforeach()
  string(SHA256 HASH "${BYTES}")
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
