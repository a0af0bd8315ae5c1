/* openapi.h: openapi.json, the description of the interface, as the build found it. */
#ifndef TEKUPD_OPENAPI_H
#define TEKUPD_OPENAPI_H

#include "tools/tekupd/http/http.h"

extern const struct http_page openapi_page;

#endif
