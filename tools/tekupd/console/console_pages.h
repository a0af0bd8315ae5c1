/* console_pages.h: the files of console/, compiled in (console/embed.cmake writes them). */
#ifndef TEKUPD_CONSOLE_PAGES_H
#define TEKUPD_CONSOLE_PAGES_H

#include "tools/tekupd/http/http.h"

extern const struct http_page console_page_html, console_page_css, console_page_js;

#endif
