/* source_body.h: a source as the daemon is given it (PUT /v1/sources, POST /v1/sources/test). */
#ifndef TEKUP_SOURCE_BODY_H
#define TEKUP_SOURCE_BODY_H

#include <jansson.h>

/* What an item of GET /v1/sources would be registered as; a new reference, or NULL when memory ran
 * out. */
json_t *source_body_of(const json_t *item);

#endif
