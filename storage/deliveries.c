/* deliveries.c: see deliveries.h. */
#include "storage/deliveries.h"

#include "storage/sql.h"

int delivery_is_known(struct pool *pool, const char *service, const char *id, bool *known,
                      struct error *err)
{
    struct sql sql = {0};
    int rows = 0;
    sql_text(&sql, service);
    sql_text(&sql, id);
    const int rc =
        sql_change(pool, "SELECT FROM tekupdb.\"Delivery\" WHERE \"service\" = $1 AND \"id\" = $2",
                   &sql, &rows, err);
    *known = rows > 0;
    return rc;
}

int delivery_enter(struct pool *pool, const char *service, const char *id, struct error *err)
{
    struct sql sql = {0};
    int rows;
    sql_text(&sql, service);
    sql_text(&sql, id);
    sql_int4(&sql, DELIVERIES_KEPT_DAYS);
    return sql_change(pool,
                      "WITH old AS (DELETE FROM tekupdb.\"Delivery\""
                      " WHERE \"receivedAt\" < now() - make_interval(days => $3))"
                      " INSERT INTO tekupdb.\"Delivery\" (\"service\", \"id\") VALUES ($1, $2)"
                      " ON CONFLICT DO NOTHING",
                      &sql, &rows, err);
}
