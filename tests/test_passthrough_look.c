#include "storage/passthrough/look.h"

#include <criterion/criterion.h>
#include <string.h>

struct seen {
    const char *sql;
    int flags;
};

static void expect(const struct seen *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(look(cases[i].sql, strlen(cases[i].sql) + 1), cases[i].flags, "%s: %d",
                     cases[i].sql, look(cases[i].sql, strlen(cases[i].sql) + 1));
}

#define EXPECT(cases) expect(cases, sizeof(cases) / sizeof(*(cases)))

Test(passthrough_look, most_statements_leave_nothing)
{
    static const struct seen cases[] = {
        {"", 0},
        {";;", 0},
        {"SELECT 1", 0},
        {"select abalance from pgbench_accounts where aid = $1;", 0},
        {"BEGIN; SAVEPOINT a; ROLLBACK TO a; COMMIT", 0},
        {"INSERT INTO \"billy\".\"Invoice\" (\"id\", \"total\") VALUES ($1,$2) RETURNING \"id\"",
         0},
        {"INSERT INTO t (a) SELECT count(*) FROM u ON CONFLICT (a) DO UPDATE SET a = excluded.a",
         0},
        {"UPDATE t SET a = coalesce(b, now()) WHERE c IN (1, 2)", 0},
        {"WITH x (a) AS (SELECT 1), y AS (SELECT 2) SELECT * FROM x JOIN y ON (true)", 0},
        {"SELECT COUNT(*) FROM (SELECT 1) AS sub (a) OFFSET $1", 0},
        {"SELECT a::varchar(10), CAST(b AS numeric(10, 2)) FROM t", 0},
        {"SELECT 'LISTEN x; SET a = b', \"temp\" FROM t -- temp\n/* set_config(/* */) */", 0},
        {"SELECT $$ DO set_config() $$, $x$ ' $x$, E'\\' temp', 1.5e3", 0},
        {"SET LOCAL statement_timeout = 5; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED",
         0},
        {"SET TimeZone = 'UTC'; SET datestyle TO ISO; SET NAMES 'utf8'; SET TIME ZONE 'UTC'", 0},
        {"SET SESSION application_name = 'x'", 0},
        {"SELECT set_config('app.tenant', $1, TRUE)", 0},
        {"SELECT set_config('a.b', upper('x'), is_local => true), 1", 0},
        {"DECLARE c CURSOR FOR SELECT 1; FETCH 1 FROM c", 0},
        {"COPY billy.t (a, b) FROM STDIN WITH (FORMAT csv)", 0},
        {"SELECT pg_advisory_xact_lock(1), nextval('s'), pg_sleep(1)", 0},
        {"SELECT * FROM match_documents($1, 0.5, 10); SELECT * FROM vault.match_documents($1)", 0},
        {"PREPARE TRANSACTION 'x'", 0},
        {"SET LOCAL app.tenant = 'x'", 0},
        {"SELECT setting FROM pg_settings", 0},
        {"MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", 0},
        {"(SELECT 1) UNION (SELECT 2)", 0},
        {"VALUES (1), (2)", 0},
    };
    EXPECT(cases);
}

Test(passthrough_look, what_may_leave_something)
{
    static const struct seen cases[] = {
        {"LISTEN x", LOOK_SUSPECT},
        {"SELECT 1; /* */ UNLISTEN *", LOOK_SUSPECT},
        {"CREATE TEMP TABLE t (a int)", LOOK_SUSPECT},
        {"SELECT 1 INTO TEMPORARY t", LOOK_SUSPECT},
        {"SELECT 1 INTO pg_temp.t", LOOK_SUSPECT},
        {"SET LOCAL search_path = 'pg_temp'; SELECT 1 AS insert INTO t", LOOK_SUSPECT},
        {"EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", LOOK_SUSPECT},
        {"UPDATE pg_settings SET setting = 'off' WHERE name = 'enable_seqscan'", LOOK_SUSPECT},
        {"WITH a AS (SELECT 1) UPDATE \"pg_settings\" SET setting = 'off'", LOOK_SUSPECT},
        {"SET local.tenant = 'x'", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'x', false > true)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'x', true <> true)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"PREPARE transaction AS SELECT 1", LOOK_SUSPECT | LOOK_STATEMENTS},
        {"INSERT INTO t VALUES (1); CREATE TABLE u (a int)", LOOK_SUSPECT},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", LOOK_SUSPECT},
        {"SET statement_timeout = 5", LOOK_SUSPECT},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", LOOK_SUSPECT},
        {"SELECT pg_advisory_lock(1)", LOOK_SUSPECT},
        {"SELECT pg_catalog.pg_try_advisory_lock(1)", LOOK_SUSPECT},
        {"DEALLOCATE x", LOOK_SUSPECT | LOOK_STATEMENTS},
        {"PREPARE x AS SELECT 1", LOOK_SUSPECT | LOOK_STATEMENTS},
        {"SELECT * FROM pg_prepared_statements", LOOK_SUSPECT | LOOK_STATEMENTS},
        {"EXPLAIN EXECUTE x", LOOK_SUSPECT | LOOK_STATEMENTS | LOOK_OPAQUE},
        {"DO $$ BEGIN END $$", LOOK_SUSPECT | LOOK_OPAQUE},
        {"CALL work()", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT work()", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT billy.count(1)", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT \"work\" (1)", LOOK_SUSPECT | LOOK_OPAQUE},
        {"INSERT INTO t (a) VALUES (work(1))", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT 'a\\'", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT U&\"\\0073et_config\"('a', 'b', false)", LOOK_SUSPECT | LOOK_OPAQUE},
        {"SELECT lastval()", LOOK_SEQUENCE},
        {"SELECT currval('s')", LOOK_SEQUENCE},
        {"RESET statement_timeout", LOOK_SUSPECT | LOOK_RESETS},
        {"RESET ALL", LOOK_SUSPECT | LOOK_RESETS | LOOK_RESETS_ALL},
        {"DISCARD ALL", LOOK_SUSPECT | LOOK_RESETS | LOOK_RESETS_ALL},
        {"SET TimeZone TO DEFAULT", LOOK_RESETS},
        {"SET app.tenant = 'x'", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SET SESSION app.tenant = 'x'", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SET ROLE x", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SET SESSION AUTHORIZATION x", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'c', false)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'c', $1)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'c', not true)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', (SELECT set_config('c', 'd', true)), false)",
         LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT set_config('a.b', 'c'", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELECT setseed(0.5)", LOOK_SUSPECT | LOOK_CUSTOM},
        {"SELEKT 1", LOOK_SUSPECT},
    };
    EXPECT(cases);
}

Test(passthrough_look, a_text_ends_where_it_ends)
{
    static const char sql[] = "SELECT 'x' /* \"y\" */, $$z$$ -- end";
    for (size_t length = 0; length < sizeof(sql); length++) look(sql, length);
    cr_expect_eq(look("SELECT 1\0LISTEN x", 17), 0, "a NUL is the end of it");
}
