/* deliveries.c: see deliveries.h. */
#include "storage/deliveries.h"

#include "storage/base/digest.h"
#include "storage/sql.h"

#include <stdio.h>

void delivery_name_body(struct delivery_names *names, const void *body, size_t length)
{
    uint8_t hash[SHA256_SIZE];
    digest_sha256(body, length, hash);
    const int at = snprintf(names->body, sizeof(names->body), "sha256:");
    digest_hex(hash, sizeof(hash), names->body + at);
}

int delivery_is_known(struct pool *pool, const char *service, const struct delivery_names *names,
                      bool *known, struct error *err)
{
    struct sql sql = {0};
    int rows = 0;
    sql_text(&sql, service);
    sql_text(&sql, names->id);
    sql_text(&sql, names->body);
    const int rc = sql_change(pool,
                              "SELECT FROM tekupdb.\"Delivery\""
                              " WHERE \"service\" = $1 AND \"id\" IN ($2, $3)",
                              &sql, &rows, err);
    *known = rows > 0;
    return rc;
}

int delivery_enter(struct pool *pool, const char *service, const struct delivery_names *names,
                   struct error *err)
{
    struct sql sql = {0};
    int rows;
    sql_text(&sql, service);
    sql_text(&sql, names->id);
    sql_text(&sql, names->body);
    sql_int4(&sql, DELIVERIES_KEPT_DAYS);
    return sql_change(
        pool,
        "WITH old AS (DELETE FROM tekupdb.\"Delivery\""
        " WHERE \"receivedAt\" < now() - make_interval(days => $4))"
        " INSERT INTO tekupdb.\"Delivery\" (\"service\", \"id\") VALUES ($1, $2), ($1, $3)"
        " ON CONFLICT DO NOTHING",
        &sql, &rows, err);
}
