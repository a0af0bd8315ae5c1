#include "tools/tekup/source_body.h"

json_t *source_body_of(const json_t *item)
{
    return json_pack("{s:O, s:O, s:O, s:O}", "source", json_object_get(item, "source"),
                     "repository", json_object_get(item, "repository"), "config",
                     json_object_get(item, "config"), "intervalSeconds",
                     json_object_get(item, "intervalSeconds"));
}
