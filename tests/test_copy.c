#include "tests/cluster_fixture.h"

#include "storage/copy.h"
#include "storage/pool.h"

static bool is_there(PGconn *watcher, PGconn *conn)
{
    char text[96];
    snprintf(text, sizeof(text), "SELECT count(*) FROM pg_stat_activity WHERE pid = %d",
             PQbackendPID(conn));
    return strcmp(fixture_value(watcher, text), "1") == 0;
}

static void wait_reading(PGconn *watcher, PGconn *conn)
{
    char text[128];
    snprintf(text, sizeof(text), "SELECT wait_event FROM pg_stat_activity WHERE pid = %d",
             PQbackendPID(conn));
    for (int i = 0; i < 600 && strcmp(fixture_value(watcher, text), "ClientRead") != 0; i++)
        usleep(100000);
}

Test(copy, of_a_client_that_hangs_is_ended_and_no_other)
{
    static const char statement[] = "COPY things FROM STDIN (FORMAT binary)";
    struct error err = {0};
    struct copy_in copy;
    size_t ended;
    char database[32];
    struct pool *pool = fixture_pool(1, database);
    PGconn *watcher = fixture_connect(database, "tekup_admin");
    PGconn *hung = fixture_connect(database, "tekup_admin");
    PGconn *patient = fixture_connect(database, "tekup_admin");
    PGconn *idle = fixture_connect(database, "tekup_admin");
    fixture_run(watcher, "CREATE TABLE things (number int PRIMARY KEY)");

    fixture_run(hung, "BEGIN; INSERT INTO things VALUES (1)");
    cr_assert_eq(copy_in_begin(&copy, hung, statement, &err), 0, "%s", err.message);
    fixture_run(idle, "BEGIN; INSERT INTO things VALUES (2)");
    PGresult *other = PQexec(patient, statement); /* as a restore begins it */
    cr_assert_eq(PQresultStatus(other), PGRES_COPY_IN);
    PQclear(other);
    wait_reading(watcher, hung);
    wait_reading(watcher, patient);

    cr_assert_eq(copy_in_end_hung(pool, COPY_PATIENCE_S, &ended, &err), 0, "%s", err.message);
    cr_expect_eq(ended, 0, "it has not waited for so long");
    cr_assert_eq(copy_in_end_hung(pool, 0, &ended, &err), 0, "%s", err.message);
    cr_expect_eq(ended, 1);
    /* The row is free: this waits until its transaction has ended. */
    fixture_run(watcher, "INSERT INTO things VALUES (1)");
    /* which it has a moment before the session is gone */
    for (int i = 0; i < 60000 && is_there(watcher, hung); i++) usleep(1000);
    cr_expect_not(is_there(watcher, hung));
    cr_expect(is_there(watcher, patient));
    cr_expect(is_there(watcher, idle));
    cr_expect_eq(copy_in_end(&copy, false, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);

    pool_free(pool);
    PQfinish(idle);
    PQfinish(patient);
    PQfinish(hung);
    PQfinish(watcher);
}
