#include "tests/cluster_fixture.h"

#include "storage/prepared.h"

static const char twice[] = "SELECT $1 * 2";
static const char all[] = "SELECT * FROM things ORDER BY 1";

/* Twice a number as a prepared statement says; -1 where it failed. */
static int32_t doubled(PGconn *conn, int32_t number)
{
    struct error err = {0};
    struct sql sql = {0};
    sql_int4(&sql, number);
    PGresult *result = prepared_execute(conn, twice, &sql, &err);
    const int32_t value = result != NULL ? sql_get_int4(result, 0, 0) : -1;
    cr_expect_not_null(result, "%s", err.message);
    PQclear(result);
    return value;
}

static int columns_of_things(PGconn *conn)
{
    struct error err = {0};
    static const struct sql none;
    PGresult *result = prepared_execute(conn, all, &none, &err);
    cr_assert_not_null(result, "%s", err.message);
    const int columns = PQnfields(result);
    PQclear(result);
    return columns;
}

static const char *count_prepared(PGconn *conn)
{
    return fixture_value(conn, "SELECT count(*) FROM pg_prepared_statements");
}

Test(prepared, plans_a_statement_once_on_each_connection)
{
    PGconn *conn = fixture_connect("postgres", "postgres");
    for (int32_t i = 0; i < 20; i++) cr_expect_eq(doubled(conn, i), 2 * i);
    cr_expect_str_eq(count_prepared(conn), "1");
    cr_expect_str_eq(fixture_value(conn, "SELECT generic_plans + custom_plans"
                                         " FROM pg_prepared_statements"),
                     "20");
    PGconn *other = fixture_connect("postgres", "postgres");
    cr_expect_eq(doubled(other, 4), 8);
    cr_expect_eq(doubled(conn, 5), 10);
    PQfinish(other);
    PQreset(conn);
    cr_expect_str_eq(count_prepared(conn), "0");
    cr_expect_eq(doubled(conn, 6), 12);
    cr_expect_str_eq(count_prepared(conn), "1");
    PQfinish(conn);
}

Test(prepared, goes_on_without_what_the_session_has_lost)
{
    PGconn *conn = fixture_connect("postgres", "postgres");
    cr_expect_eq(doubled(conn, 1), 2);
    fixture_run(conn, "DISCARD ALL");
    for (int32_t i = 0; i < 3; i++) cr_expect_eq(doubled(conn, i), 2 * i);
    cr_expect_str_eq(count_prepared(conn), "0");
    PQfinish(conn);
}

Test(prepared, goes_on_in_a_session_that_was_somebody_elses)
{
    char text[160];
    PGconn *conn = fixture_connect("postgres", "postgres");
    cr_expect_eq(doubled(conn, 1), 2);
    const char *name = fixture_value(conn, "SELECT name FROM pg_prepared_statements");
    snprintf(text, sizeof(text), "PREPARE \"%s\" AS SELECT 7", name);
    PGconn *other = fixture_connect("postgres", "postgres");
    fixture_run(other, text);
    for (int32_t i = 0; i < 3; i++) cr_expect_eq(doubled(other, i), 2 * i, "not 7");
    PQfinish(other);
    PQfinish(conn);
}

Test(prepared, sees_tables_as_they_are_now)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    fixture_run(conn, "CREATE TABLE things (a int4); INSERT INTO things VALUES (1)");
    cr_expect_eq(columns_of_things(conn), 1);
    fixture_run(conn, "ALTER TABLE things ADD COLUMN b text");
    for (int i = 0; i < 3; i++) cr_expect_eq(columns_of_things(conn), 2);
    cr_expect_str_eq(count_prepared(conn), "1", "prepared anew");
    fixture_run(conn, "DROP TABLE things; CREATE TABLE things (a int4, b text, c bool)");
    for (int i = 0; i < 3; i++) cr_expect_eq(columns_of_things(conn), 3);
    PQfinish(conn);
    pool_free(pool);
}

Test(prepared, tells_what_is_wrong_and_leaves_transactions_alone)
{
    static const struct sql none;
    struct error err = {0};
    PGconn *conn = fixture_connect("postgres", "postgres");
    cr_expect_null(prepared_execute(conn, "SELECT * FROM nowhere", &none, &err));
    cr_expect_eq(err.code, ERR_INTERNAL);
    cr_expect_not_null(strstr(err.message, "nowhere"), "%s", err.message);
    cr_expect_null(prepared_execute(conn, "SELECT 1 / (random() * 0)::int4", &none, &err));
    cr_expect_not_null(strstr(err.message, "zero"), "%s", err.message);
    cr_expect_null(prepared_execute(conn, "SELECT 1 / (random() * 0)::int4", &none, NULL));
    fixture_run(conn, "DEALLOCATE ALL; BEGIN");
    cr_expect_eq(doubled(conn, 3), 6);
    cr_expect_eq(PQtransactionStatus(conn), PQTRANS_INTRANS);
    cr_expect_str_eq(count_prepared(conn), "0");
    fixture_run(conn, "COMMIT");
    PQfinish(conn);
}

Test(prepared, executes_more_statements_than_it_keeps)
{
    static char statements[20][32];
    static const struct sql none;
    struct error err = {0};
    PGconn *conn = fixture_connect("postgres", "postgres");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) {
            snprintf(statements[i], sizeof(statements[i]), "SELECT %d", i);
            PGresult *result = prepared_execute(conn, statements[i], &none, &err);
            cr_assert_not_null(result, "%s", err.message);
            cr_expect_eq(sql_get_int4(result, 0, 0), i);
            PQclear(result);
        }
    }
    cr_expect_str_eq(count_prepared(conn), "8");
    PQfinish(conn);
}
