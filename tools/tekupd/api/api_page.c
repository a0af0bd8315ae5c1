/* api_page.c: files that the build found and that are served as they are: the console in a browser
 * (one page, its style and its script, in console/; what they show they ask the other calls for),
 * and the description of the interface. Parameters mean nothing to them. */
#include "tools/tekupd/api/api.h"
#include "tools/tekupd/api/openapi.h"
#include "tools/tekupd/console/console_pages.h"

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

void api_openapi(struct daemon *daemon, struct http_request *request)
{
    (void)daemon;
    http_respond_page(request, &openapi_page);
}
