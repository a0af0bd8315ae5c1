# Writes the console's files as C, for the daemon to have them with it; SCRIPT are the parts of its
# script, which become one:
#
#     cmake -DFROM=console "-DSCRIPT=console/script/page.js;..." -DTO=console_pages.c -P embed.cmake
#
# The entity tag is a hash of the bytes, so that a browser asks for nothing that it has, and for
# everything that another build has changed.
include(${CMAKE_CURRENT_LIST_DIR}/../../../storage/base/bytes.cmake)
set(TEXT "/* Made of console/ by console/embed.cmake. */\n#include \"tools/tekupd/console/console_pages.h\"\n")
set(FILES_html ${FROM}/index.html)
set(FILES_css ${FROM}/console.css)
set(FILES_js ${SCRIPT})
foreach(PAGE html:text/html css:text/css js:text/javascript)
  string(REPLACE ":" ";" PAGE ${PAGE})
  list(GET PAGE 0 NAME)
  list(GET PAGE 1 TYPE)
  bytes_of("${FILES_${NAME}}" BYTES LENGTH TAG)
  string(APPEND TEXT "\nstatic const unsigned char bytes_${NAME}[] = {\n${BYTES}};\n"
    "const struct http_page console_page_${NAME} = {\"${TYPE}; charset=utf-8\", bytes_${NAME}, "
    "${LENGTH}, ${TAG}};\n")
endforeach()
file(WRITE ${TO} "${TEXT}")
