/* api_database.c: what is done to the database as a whole. */
#include "tools/tekupd/api/api.h"

#include "storage/migrate.h"
#include "tools/tekupd/http/json_write.h"

void api_database_pgvector(struct daemon *daemon, struct http_request *request)
{
    bool converted;
    struct error err = {0};
    struct buffer body = {0};
    if (api_no_query(request, &err) != 0 ||
        migrate_to_pgvector(daemon->pool, &converted, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    health_has_pgvector(&daemon->health);
    json_put_open(&body, '{');
    json_field_boolean(&body, "pgvector", true);
    json_field_boolean(&body, "converted", converted);
    json_field_number(&body, "seconds", http_elapsed_ms(request) / 1000, 4);
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}
