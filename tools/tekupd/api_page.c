/* api_page.c: the console in a browser: one page, its style and its script, as the build found them
 * in console/. What they show they ask the other calls for. Parameters mean nothing to them. */
#include "tools/tekupd/api.h"
#include "tools/tekupd/console_pages.h"

void api_page_html(struct daemon *daemon, struct http_request *request)
{
    (void)daemon;
    http_respond_page(request, &console_page_html);
}

void api_page_css(struct daemon *daemon, struct http_request *request)
{
    (void)daemon;
    http_respond_page(request, &console_page_css);
}

void api_page_js(struct daemon *daemon, struct http_request *request)
{
    (void)daemon;
    http_respond_page(request, &console_page_js);
}
