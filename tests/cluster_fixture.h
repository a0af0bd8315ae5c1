/*
 * cluster_fixture.h: one private PostgreSQL cluster for all tests of a program, with the schema in
 * tekup_db, and a copy of that database for each test that asks for one.
 *
 * Criterion runs every test in a process of its own; the cluster is made and removed by the process
 * that starts them, also when tests fail, and the tests learn its place from the environment.
 *
 * With TEKUP_TEST_SERVER set to a socket directory the tests use the server there instead, which
 * has to let this user in as postgres and as every role (tests/with-pgvector runs one with
 * pgvector).
 */
#ifndef TESTS_CLUSTER_FIXTURE_H
#define TESTS_CLUSTER_FIXTURE_H

#include "storage/base/log.h"
#include "storage/cluster/cluster.h"
#include "storage/migrate.h"
#include "storage/pool.h"
#include "tests/scratch.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The program's cluster ---- */

static struct cluster *fixture_cluster;
static char fixture_root[32];

SCRATCH_UNUSED static void fixture_fail(const char *what, const struct error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    if (fixture_cluster != NULL) cluster_close(fixture_cluster, NULL);
    scratch_remove(fixture_root);
    exit(1);
}

SCRATCH_UNUSED static void fixture_migrate(const char *conninfo)
{
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = pool_create(conninfo, 1, &err);
    if (pool == NULL || migrate(pool, &result, &err) != 0) fixture_fail("migrate", &err);
    pool_free(pool);
}

/* Makes tekup_db on somebody else's server anew, as an administrator would. */
SCRATCH_UNUSED static void fixture_start_elsewhere(const char *socket_directory)
{
    static const char *const statements[] = {
        "DROP DATABASE IF EXISTS tekup_db",
        ("DO $$ BEGIN CREATE ROLE tekup_admin LOGIN CREATEROLE;"
         " EXCEPTION WHEN duplicate_object THEN NULL; END $$"),
        "CREATE DATABASE tekup_db OWNER tekup_admin TEMPLATE template0 ENCODING 'UTF8'",
    };
    char conninfo[256];
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=postgres user=postgres", socket_directory);
    PGconn *conn = PQconnectdb(conninfo);
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        PGresult *result = PQexec(conn, statements[i]);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            fprintf(stderr, "%s: %s\n", statements[i], PQerrorMessage(conn));
            exit(1);
        }
        PQclear(result);
    }
    PQfinish(conn);
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=tekup_db user=postgres", socket_directory);
    fixture_migrate(conninfo);
}

SCRATCH_UNUSED static void fixture_start(void)
{
    char data[48], run[48];
    struct error err = {0};
    log_set_level(LOG_WARN);
    if (getenv("TEKUP_TEST_SERVER") != NULL) {
        fixture_start_elsewhere(getenv("TEKUP_TEST_SERVER"));
        return;
    }
    scratch_directory(fixture_root);
    snprintf(data, sizeof(data), "%s/d", fixture_root);
    snprintf(run, sizeof(run), "%s/r", fixture_root);
    fixture_cluster = cluster_open(data, run, &err);
    if (fixture_cluster == NULL) fixture_fail("cluster", &err);
    fixture_migrate(cluster_conninfo(fixture_cluster));
    strncat(run, "/postgres", sizeof(run) - strlen(run) - 1);
    setenv("TEKUP_TEST_SERVER", run, 1);
}

SCRATCH_UNUSED static void fixture_stop(void)
{
    struct error err = {0};
    if (fixture_cluster == NULL) return;
    if (cluster_close(fixture_cluster, &err) != 0) fprintf(stderr, "%s\n", err.message);
    scratch_remove(fixture_root);
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    (void)tests;
    fixture_start();
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    fixture_stop();
}

/* ---- In a test ---- */

SCRATCH_UNUSED static void fixture_conninfo(const char *database, const char *user, char *out,
                                            size_t size)
{
    log_set_level(LOG_ERROR);
    snprintf(out, size, "host=%s port=5432 dbname=%s user=%s", getenv("TEKUP_TEST_SERVER"),
             database, user);
}

SCRATCH_UNUSED static PGconn *fixture_connect(const char *database, const char *user)
{
    char conninfo[256];
    fixture_conninfo(database, user, conninfo, sizeof(conninfo));
    PGconn *conn = PQconnectdb(conninfo);
    cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
    return conn;
}

SCRATCH_UNUSED static void fixture_run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    const ExecStatusType status = PQresultStatus(result);
    cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql,
              PQerrorMessage(conn));
    PQclear(result);
}

/* The first value of the first row as text, in one of a few buffers; "" for NULL and for no row. */
SCRATCH_UNUSED static const char *fixture_value(PGconn *conn, const char *sql)
{
    static char values[8][512];
    static unsigned next;
    char *value = values[next++ % 8];
    PGresult *result = PQexec(conn, sql);
    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
    snprintf(value, sizeof(values[0]), "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return value;
}

/* A copy of tekup_db (or of another database) under a name of this test's own. */
SCRATCH_UNUSED static void fixture_database(const char *from, char name[32])
{
    char sql[160];
    PGconn *conn = fixture_connect("postgres", "postgres");
    snprintf(name, 32, "test_%d", (int)getpid());
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s OWNER tekup_admin TEMPLATE %s", name, from);
    /* Two tests may copy at the same moment; the second waits for the first. */
    fixture_run(conn, "SELECT pg_advisory_lock(1)");
    fixture_run(conn, sql);
    PQfinish(conn);
}

/* A pool on a copy of tekup_db. */
SCRATCH_UNUSED static struct pool *fixture_pool(int size, char name[32])
{
    char conninfo[256];
    struct error err = {0};
    fixture_database("tekup_db", name);
    fixture_conninfo(name, "tekup_admin", conninfo, sizeof(conninfo));
    struct pool *pool = pool_create(conninfo, size, &err);
    cr_assert_not_null(pool, "%s", err.message);
    return pool;
}

#endif
