#include "tests/cluster_fixture.h"

#include "storage/conninfo.h"
#include "storage/pool_watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* ---- Connection strings ---- */

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0) return options->val != NULL ? options->val : "";
    return "";
}

Test(conninfo, leaves_out_what_only_prisma_knows)
{
    struct error err = {0};
    PQconninfoOption *options = conninfo_parse(
        "postgresql://u:p%40ss@db.example:6543/tekup_db?schema=vault&connection_limit=5"
        "&sslmode=require&pool_timeout=20&pgbouncer=true&connect_timeout=7&socket_timeout=3",
        &err);
    cr_assert_not_null(options, "%s", err.message);
    cr_expect_str_eq(option(options, "host"), "db.example");
    cr_expect_str_eq(option(options, "port"), "6543");
    cr_expect_str_eq(option(options, "user"), "u");
    cr_expect_str_eq(option(options, "password"), "p@ss");
    cr_expect_str_eq(option(options, "dbname"), "tekup_db");
    cr_expect_str_eq(option(options, "sslmode"), "require");
    cr_expect_str_eq(option(options, "connect_timeout"), "7");
    PQconninfoFree(options);

    /* libpq takes this for a password, and so it is none of Prisma's. */
    options = conninfo_parse("postgres://u:pass?schema=word@h/db?schema=public", &err);
    cr_assert_not_null(options, "%s", err.message);
    cr_expect_str_eq(option(options, "password"), "pass?schema=word");
    cr_expect_str_eq(option(options, "dbname"), "db");
    PQconninfoFree(options);
    options = conninfo_parse("postgres://localhost/db?schema=public", &err);
    cr_assert_not_null(options, "%s", err.message);
    PQconninfoFree(options);
    options = conninfo_parse("host=/run/x dbname=y user='some body'", &err);
    cr_assert_not_null(options, "%s", err.message);
    cr_expect_str_eq(option(options, "user"), "some body");
    PQconninfoFree(options);
}

Test(conninfo, refuses_a_mistyped_parameter_and_names_it)
{
    struct error err = {0};
    cr_expect_null(conninfo_parse("postgres://u:secret@h/db?sslmod=require", &err));
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "DATABASE_URL");
    cr_expect_not_null(strstr(err.message, "sslmod"), "%s", err.message);
}

/* Each has the password s3cr3t in it, in some place where it breaks the string. */
Test(conninfo, never_repeats_a_password)
{
    static const char *const strings[] = {
        "postgres://user:s3cr3t@@host/db",
        "postgres://user:pa@s3cr3t@host/db",
        "postgres://user:s3cr3t/more@host/db",
        "postgres://user:pass/word?s3cr3t=1@host/db",
        "postgres://user:s3cr3t%zz@host/db",
        "postgres://user:s3cr3t@[::1/db",
        "postgres://user:s3cr3t@host:port/db",
        "postgres://user:x@host/db?password=s3cr3t=more",
        "postgres://user:x@host/db?s3cr3t",
        "postgresql://us er:s3cr3t@ho st:54x/db",
        "user=x password=s3cr3t unknown=1",
        "user=x password=my s3cr3t",
        "user=x password='s3cr3t",
        "host=h s3cr3t",
        "s3cr3t",
    };
    for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        struct error err = {0};
        PQconninfoOption *options = conninfo_parse(strings[i], &err);
        cr_expect_null(options, "%s is taken", strings[i]);
        PQconninfoFree(options);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.field, "DATABASE_URL");
        cr_expect_null(strstr(err.message, "s3cr3t"), "%s gives: %s", strings[i], err.message);
        cr_expect_null(strchr(err.message, '\n'), "%s gives: %s", strings[i], err.message);
    }
}

Test(conninfo, refuses_nothing_at_all)
{
    struct error err = {0};
    cr_expect_null(conninfo_parse("", &err));
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_null(conninfo_parse(NULL, &err));
    cr_expect_str_eq(err.field, "DATABASE_URL");
}

Test(pool, refuses_sizes_out_of_range)
{
    struct error err = {0};
    static const int sizes[] = {0, -1, POOL_MAX + 1};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_null(pool_create("host=/nowhere", sizes[i], &err));
        cr_expect_eq(err.code, ERR_INVALID);
    }
}

/* ---- Leases ---- */

static struct pool *shared_pool(int size)
{
    char conninfo[256];
    struct error err = {0};
    fixture_conninfo("tekup_db", "tekup_admin", conninfo, sizeof(conninfo));
    struct pool *pool = pool_create(conninfo, size, &err);
    cr_assert_not_null(pool, "%s", err.message);
    return pool;
}

static PGconn *lease(struct pool *pool)
{
    struct error err = {0};
    PGconn *conn = pool_lease(pool, 5000, &err);
    cr_assert_not_null(conn, "%s", err.message);
    return conn;
}

Test(pool, opens_when_first_needed_and_reuses)
{
    struct pool *pool = shared_pool(3);
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    cr_expect_eq(stats.open, 0);
    PGconn *first = lease(pool);
    pool_release(pool, first);
    PGconn *again = lease(pool);
    cr_expect_eq(first, again, "one connection serves one user after another");
    PGconn *other = lease(pool);
    cr_expect_neq(other, again);
    pool_get_stats(pool, &stats);
    cr_expect_eq(stats.size, 3);
    cr_expect_eq(stats.open, 2);
    cr_expect_eq(stats.leased, 2);
    cr_expect_eq(stats.opened, 2);
    cr_expect_eq(stats.leases, 3);
    cr_expect_eq(stats.failures, 0);
    pool_release(pool, again);
    pool_release(pool, other);
    pool_free(pool);
}

Test(pool, sets_the_session_up)
{
    struct pool *pool = shared_pool(1);
    PGconn *conn = lease(pool);
    cr_expect_str_eq(fixture_value(conn, "SHOW timezone"), "UTC");
    cr_expect_str_eq(fixture_value(conn, "SHOW client_encoding"), "UTF8");
    cr_expect_str_eq(fixture_value(conn, "SHOW statement_timeout"), "1min");
    cr_expect_str_eq(fixture_value(conn, "SHOW application_name"), "tekupd");
    pool_release(pool, conn);
    pool_free(pool);
}

Test(pool, says_so_when_all_are_in_use)
{
    struct pool *pool = shared_pool(1);
    struct error err = {0};
    PGconn *conn = lease(pool);
    cr_expect_null(pool_lease(pool, 50, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, "in use"), "%s", err.message);
    cr_expect_null(pool_lease(pool, 0, &err));
    pool_release(pool, conn);
    conn = lease(pool);
    pool_release(pool, conn);
    pool_free(pool);
}

static void *release_soon(void *arg)
{
    void **both = arg;
    const struct timespec pause = {.tv_nsec = 100000000};
    nanosleep(&pause, NULL);
    pool_release(both[0], both[1]);
    return NULL;
}

Test(pool, hands_a_connection_to_who_waits)
{
    struct pool *pool = shared_pool(1);
    PGconn *conn = lease(pool);
    void *both[] = {pool, conn};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, release_soon, both), 0);
    PGconn *next = lease(pool);
    cr_expect_eq(next, conn);
    pthread_join(thread, NULL);
    pool_release(pool, next);
    pool_free(pool);
}

Test(pool, rolls_back_what_was_left_open)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = lease(pool);
    fixture_run(conn, "BEGIN; DELETE FROM tekupdb.\"Migration\"");
    pool_release(pool, conn);
    conn = lease(pool);
    cr_expect_eq(PQtransactionStatus(conn), PQTRANS_IDLE);
    cr_expect_str_neq(fixture_value(conn, "SELECT count(*) FROM tekupdb.\"Migration\""), "0");

    PQclear(PQexec(conn, "BEGIN; SELECT nonsense"));
    cr_expect_eq(PQtransactionStatus(conn), PQTRANS_INERROR);
    pool_release(pool, conn);
    conn = lease(pool);
    cr_expect_str_eq(fixture_value(conn, "SELECT 1"), "1");

    /* In the middle of a COPY there is nothing to roll back with; a fresh one takes its place. */
    PQclear(PQexec(conn, "COPY tekupdb.\"Migration\" TO STDOUT"));
    cr_expect_eq(PQtransactionStatus(conn), PQTRANS_ACTIVE);
    pool_release(pool, conn);
    conn = lease(pool);
    cr_expect_str_eq(fixture_value(conn, "SELECT 1"), "1");
    pool_release(pool, conn);
    pool_free(pool);
}

Test(pool, replaces_a_connection_that_died_while_idle)
{
    struct pool *pool = shared_pool(2);
    struct pool_stats stats;
    PGconn *killer = lease(pool);
    PGconn *victim = lease(pool);
    char kill[64];
    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d, 60000)", PQbackendPID(victim));
    const int pid = PQbackendPID(victim);
    pool_release(pool, victim);
    PGconn *superuser = fixture_connect("postgres", "postgres");
    cr_expect_str_eq(fixture_value(superuser, kill), "t");
    PQfinish(superuser);
    PGconn *fresh = lease(pool);
    cr_expect_neq(PQbackendPID(fresh), pid);
    cr_expect_str_eq(fixture_value(fresh, "SELECT 1"), "1");
    pool_get_stats(pool, &stats);
    cr_expect_eq(stats.opened, 3);
    pool_release(pool, fresh);
    pool_release(pool, killer);
    pool_free(pool);
}

Test(pool, fails_the_work_on_a_connection_that_died_under_it)
{
    struct pool *pool = shared_pool(1);
    struct error err = {0};
    PGconn *conn = lease(pool);
    char kill[64];
    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d, 60000)", PQbackendPID(conn));
    PGconn *superuser = fixture_connect("postgres", "postgres");
    fixture_run(superuser, kill);
    PQfinish(superuser);
    PGresult *result = PQexec(conn, "SELECT 1");
    cr_expect_neq(PQresultStatus(result), PGRES_TUPLES_OK);
    cr_expect_eq(pool_error(conn, result, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_null(strchr(err.message, '\n'));
    PQclear(result);
    pool_release(pool, conn);
    conn = lease(pool);
    cr_expect_str_eq(fixture_value(conn, "SELECT 1"), "1");
    pool_release(pool, conn);
    pool_free(pool);
}

struct crowd {
    struct pool *pool;
    _Atomic int inside, most, failed;
};

static void *visit(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < 100; i++) {
        PGconn *conn = pool_lease(crowd->pool, 30000, NULL);
        if (conn == NULL) {
            atomic_fetch_add(&crowd->failed, 1);
            continue;
        }
        const int inside = atomic_fetch_add(&crowd->inside, 1) + 1;
        int most = atomic_load(&crowd->most);
        while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside)) {
        }
        PGresult *result = PQexec(conn, i % 10 == 0 ? "BEGIN" : "SELECT 1");
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) atomic_fetch_add(&crowd->failed, 1);
        PQclear(result);
        atomic_fetch_sub(&crowd->inside, 1);
        pool_release(crowd->pool, conn);
    }
    return NULL;
}

Test(pool, serves_more_threads_than_connections)
{
    enum { VISITORS = 8 };
    struct crowd crowd = {.pool = shared_pool(3)};
    struct pool_stats stats;
    pthread_t threads[VISITORS];
    for (int i = 0; i < VISITORS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, visit, &crowd), 0);
    for (int i = 0; i < VISITORS; i++) pthread_join(threads[i], NULL);
    cr_expect_eq(crowd.failed, 0);
    cr_expect_leq(crowd.most, 3);
    pool_get_stats(crowd.pool, &stats);
    cr_expect_eq(stats.leases, VISITORS * 100);
    cr_expect_eq(stats.leased, 0);
    cr_expect_eq(stats.waiting, 0);
    cr_expect_leq(stats.opened, 3);
    pool_free(crowd.pool);
}

/* ---- Errors ---- */

static enum error_code code_of(PGconn *conn, const char *statement, struct error *err)
{
    PGresult *result = PQexec(conn, statement);
    cr_assert_neq(PQresultStatus(result), PGRES_COMMAND_OK, "%s succeeds", statement);
    *err = (struct error){0};
    pool_error(conn, result, err);
    PQclear(result);
    return err->code;
}

Test(pool, tells_errors_apart)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    struct error err;
    PGconn *conn = lease(pool);
    cr_expect_eq(code_of(conn, "SELECT nonsense\nFROM nowhere", &err), ERR_INTERNAL);
    cr_expect_not_null(strstr(err.message, "nowhere"), "%s", err.message);
    fixture_run(conn,
                "CREATE TABLE tekupdb.t (i int PRIMARY KEY); INSERT INTO tekupdb.t VALUES (1)");
    cr_expect_eq(code_of(conn, "INSERT INTO tekupdb.t VALUES (1)", &err), ERR_CONFLICT);
    cr_expect_eq(
        code_of(conn, "DO $$ BEGIN RAISE EXCEPTION E'two\\nlines' USING ERRCODE = '40P01'; END $$",
                &err),
        ERR_CONFLICT);
    cr_expect_null(strchr(err.message, '\n'), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "two lines"), "%s", err.message);
    static const char *const passing[] = {"53100", "53300", "57P01", "57P03",
                                          "57014", "08006", "55P03", "25006"};
    for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++) {
        char statement[128];
        snprintf(statement, sizeof(statement),
                 "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '%s'; END $$", passing[i]);
        cr_expect_eq(code_of(conn, statement, &err), ERR_UNAVAILABLE, "%s", passing[i]);
    }
    pool_release(pool, conn);
    pool_free(pool);
}

Test(pool, tells_why_it_cannot_connect)
{
    struct error err = {0};
    struct pool *pool =
        pool_create("host=/nowhere/at/all user=u password=s3cr3t dbname=d", 2, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_expect_null(pool_lease(pool, 100, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, "/nowhere/at/all"), "%s", err.message);
    cr_expect_null(strstr(err.message, "s3cr3t"));
    cr_expect_null(strchr(err.message, '\n'));
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    cr_expect_eq(stats.failures, 1);
    cr_expect_eq(stats.leased, 0);
    pool_free(pool);
}

/* ---- The server goes away and comes back ---- */

static char restart_root[32];

static void make_root(void)
{
    scratch_directory(restart_root);
}

static void remove_root(void)
{
    char data[48];
    snprintf(data, sizeof(data), "%s/d", restart_root);
    scratch_stop_server(data);
    scratch_remove(restart_root);
}

static pid_t read_postmaster(const char *data)
{
    char pid_file[96], line[32];
    snprintf(pid_file, sizeof(pid_file), "%s/postgres/postmaster.pid", data);
    FILE *file = fopen(pid_file, "re");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(line, sizeof(line), file));
    fclose(file);
    return (pid_t)strtol(line, NULL, 10);
}

/* A cluster of the test's own; data becomes where it is. */
static struct cluster *open_server(char *data, size_t size)
{
    char run[48];
    struct error err = {0};
    log_set_level(LOG_ERROR);
    snprintf(data, size, "%s/d", restart_root);
    snprintf(run, sizeof(run), "%s/r", restart_root);
    struct cluster *cluster = cluster_open(data, run, &err);
    cr_assert_not_null(cluster, "%s", err.message);
    return cluster;
}

Test(pool, comes_back_after_the_server, .init = make_root, .fini = remove_root)
{
    struct error err = {0};
    char data[48];
    struct cluster *cluster = open_server(data, sizeof(data));
    struct pool *pool = pool_create(cluster_conninfo(cluster), 3, &err);
    cr_assert_not_null(pool, "%s", err.message);
    PGconn *idle[2] = {lease(pool), lease(pool)};
    PGconn *busy = lease(pool);
    pool_release(pool, idle[0]);
    pool_release(pool, idle[1]);
    fixture_run(busy, "BEGIN");

    cr_assert_eq(kill(read_postmaster(data), SIGQUIT), 0);
    PGresult *result = NULL;
    do {
        PQclear(result);
        result = PQexec(busy, "SELECT 1");
    } while (PQresultStatus(result) == PGRES_TUPLES_OK);
    pool_error(busy, result, &err);
    PQclear(result);
    cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s", err.message);
    pool_release(pool, busy);

    cr_assert_eq(cluster_ensure(cluster, &err), 0, "%s", err.message);
    for (int i = 0; i < 3; i++) {
        PGconn *conn = lease(pool);
        cr_expect_str_eq(fixture_value(conn, "SELECT 1"), "1");
        pool_release(pool, conn);
    }
    pool_free(pool);
    cr_expect_eq(cluster_close(cluster, &err), 0, "%s", err.message);
}

Test(pool, lets_go_of_a_server_that_hangs, .init = make_root, .fini = remove_root)
{
    struct error err = {0};
    char data[48];
    struct cluster *cluster = open_server(data, sizeof(data));
    struct pool *pool = pool_create(cluster_conninfo(cluster), 2, &err);
    cr_assert_not_null(pool, "%s", err.message);
    struct pool_watch *watch = pool_watch_create(pool, &err);
    cr_assert_not_null(watch, "%s", err.message);

    /* An answer that is long in coming is not a server that hangs. */
    PGconn *conn = lease(pool);
    cr_expect_str_eq(fixture_value(conn, "SELECT 1 FROM pg_sleep(5)"), "1");
    pool_release(pool, conn);

    conn = lease(pool);
    PGconn *idle = lease(pool);
    const pid_t server = read_postmaster(data), session = PQbackendPID(conn);
    const pid_t other = PQbackendPID(idle);
    pool_release(pool, idle);
    cr_assert_eq(kill(server, SIGSTOP), 0);
    cr_assert_eq(kill(session, SIGSTOP), 0);
    cr_assert_eq(kill(other, SIGSTOP), 0);
    PGresult *result = PQexec(conn, "SELECT 1");
    cr_expect_neq(PQresultStatus(result), PGRES_TUPLES_OK);
    pool_error(conn, result, &err);
    PQclear(result);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_str_eq(err.message, "PostgreSQL does not answer");
    pool_release(pool, conn);
    cr_expect_null(pool_lease(pool, 10000, &err));
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_str_eq(err.message, "PostgreSQL does not answer");

    cr_assert_eq(kill(other, SIGCONT), 0);
    cr_assert_eq(kill(session, SIGCONT), 0);
    cr_assert_eq(kill(server, SIGCONT), 0);
    conn = NULL;
    for (int i = 0; i < 300 && conn == NULL; i++) {
        conn = pool_lease(pool, 1000, &err);
        if (conn == NULL) usleep(100000);
    }
    cr_assert_not_null(conn, "%s", err.message);
    cr_expect_str_eq(fixture_value(conn, "SELECT 1"), "1");
    pool_release(pool, conn);
    pool_watch_free(watch);
    pool_free(pool);
    cr_expect_eq(cluster_close(cluster, &err), 0, "%s", err.message);
}
