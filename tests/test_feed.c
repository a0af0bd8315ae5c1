/* The change feed: what the triggers record, in which order it is read, and when it is trimmed. */
#include "tests/cluster_fixture.h"

#include "storage/feed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 4096 };

#define VECTOR "array_fill(1::real, ARRAY[1536])"
#define PUT(id, repository)                                                                        \
    "INSERT INTO vault.\"VaultDocument\" (\"id\", \"source\", \"repository\", \"path\","           \
    " \"content\", \"updatedAt\") VALUES ('" id "', 's', '" repository "', '" id "', 'c', now());"
#define EMBED(number, id)                                                                          \
    "INSERT INTO vault.\"VaultEmbedding\" (\"id\", \"documentId\", \"embedding\")"                 \
    " VALUES (" number ", '" id "', " VECTOR ");"

static char name[32];
static PGconn *conn;

static void begin(void)
{
    fixture_database("tekup_db", name);
    conn = fixture_connect(name, "tekup_admin");
}

static void end(void)
{
    PQfinish(conn);
}

TestSuite(feed, .init = begin, .fini = end);

static char *now(void)
{
    struct error err = {0};
    char *position;
    cr_assert_eq(feed_now(conn, &position, &err), 0, "%s", err.message);
    return position;
}

static void append(char *text, const struct feed_change *change)
{
    const size_t used = strlen(text);
    snprintf(text + used, TEXT - used, "%s%c%c", used > 0 ? " " : "", (int)change->object,
             (int)change->action);
    if (change->id != NULL) strncat(text, change->id, TEXT - strlen(text) - 1);
    if (change->embedding != 0)
        snprintf(text + strlen(text), TEXT - strlen(text), ":%" PRId64, change->embedding);
    if (change->repository != NULL) {
        strncat(text, "@", TEXT - strlen(text) - 1);
        strncat(text, change->repository, TEXT - strlen(text) - 1);
    }
}

/* Reads on from *position, which moves: "diA@r" is the document A that was inserted into r,
 * "eiA:7@r" its embedding 7. A page holds two changes. */
static const char *read_on(char **position)
{
    static char text[TEXT];
    struct error err = {0};
    struct feed_change changes[2];
    size_t count;
    char *until;
    text[0] = '\0';
    cr_assert_eq(feed_begin(conn, *position, NULL, 0, &until, &err), 0, "%s", err.message);
    do {
        PGresult *rows;
        cr_assert_eq(feed_next(conn, 2, changes, &count, &rows, &err), 0, "%s", err.message);
        for (size_t i = 0; i < count; i++) append(text, &changes[i]);
        PQclear(rows);
    } while (count > 0);
    cr_assert_eq(feed_end(conn, &err), 0, "%s", err.message);
    free(*position);
    *position = until;
    return text;
}

/* ---- What is recorded ---- */

Test(feed, records_what_happens_to_every_row)
{
    char *position = now();
    cr_expect_str_eq(read_on(&position), "");
    fixture_run(conn, PUT("A", "r") EMBED("7", "A"));
    cr_expect_str_eq(read_on(&position), "diA@r eiA:7@r");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET \"path\" = 'b' WHERE \"id\" = 'A'");
    cr_expect_str_eq(read_on(&position), "duA@r");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET \"repository\" = 'q'");
    cr_expect_str_eq(read_on(&position), "ddA@r diA@q");
    fixture_run(conn, "UPDATE vault.\"VaultEmbedding\" SET \"createdAt\" = now()");
    cr_expect_str_eq(read_on(&position), "euA:7@q");
    fixture_run(conn, "UPDATE vault.\"VaultEmbedding\" SET \"id\" = 8");
    cr_expect_str_eq(read_on(&position), "edA:7@q eiA:8@q");
    fixture_run(conn, "DELETE FROM vault.\"VaultEmbedding\"");
    cr_expect_str_eq(read_on(&position), "edA:8@q");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET \"path\" = 'b' WHERE false;"
                      "DELETE FROM vault.\"VaultEmbedding\"");
    cr_expect_str_eq(read_on(&position), "", "nothing happened");
    fixture_run(conn, "INSERT INTO vault.\"VaultSyncStatus\" (\"id\", \"source\", \"repository\","
                      " \"status\") VALUES ('S', 's', 'q', 'pending');"
                      "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'success';"
                      "DELETE FROM vault.\"VaultSyncStatus\"");
    cr_expect_str_eq(read_on(&position), "siS@q suS@q sdS@q");
    free(position);
}

Test(feed, follows_cascades_and_says_where_their_rows_were)
{
    char *position = now();
    fixture_run(conn, PUT("A", "r") PUT("B", "q") EMBED("1", "A") EMBED("2", "A") EMBED("3", "B"));
    read_on(&position);
    fixture_run(conn, "DELETE FROM vault.\"VaultDocument\" WHERE \"id\" = 'A'");
    cr_expect_str_eq(read_on(&position), "ddA@r edA:1@r edA:2@r");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET \"id\" = 'C' WHERE \"id\" = 'B'");
    cr_expect_str_eq(read_on(&position), "ddB@q diC@q euC:3@q");
    fixture_run(conn, "TRUNCATE vault.\"VaultDocument\" CASCADE");
    const char *truncated = read_on(&position);
    cr_expect(strcmp(truncated, "dt et") == 0 || strcmp(truncated, "et dt") == 0, "%s", truncated);
    free(position);
}

Test(feed, follows_upserts_and_copies)
{
    char *position = now();
    fixture_run(conn, PUT("A", "r"));
    read_on(&position);
    fixture_run(conn,
                "INSERT INTO vault.\"VaultDocument\" (\"id\", \"source\", \"repository\", \"path\","
                " \"content\", \"updatedAt\") VALUES ('X', 's', 'r', 'A', 'c', now()),"
                " ('B', 's', 'r', 'B', 'c', now()) ON CONFLICT (\"source\", \"repository\","
                " \"path\") DO UPDATE SET \"content\" = 'd'");
    const char *upserted = read_on(&position);
    cr_expect(strstr(upserted, "duA@r") != NULL && strstr(upserted, "diB@r") != NULL &&
                  strstr(upserted, "X") == NULL,
              "%s", upserted);
    PGresult *result = PQexec(conn, "COPY vault.\"VaultDocument\" (\"id\", \"source\","
                                    " \"repository\", \"path\", \"content\", \"updatedAt\")"
                                    " FROM STDIN");
    cr_assert_eq(PQresultStatus(result), PGRES_COPY_IN);
    PQclear(result);
    for (int i = 0; i < 3; i++) {
        char row[64];
        snprintf(row, sizeof(row), "c%d\ts\tr\tp%d\tc\t2026-01-01\n", i, i);
        cr_assert_eq(PQputCopyData(conn, row, (int)strlen(row)), 1);
    }
    cr_assert_eq(PQputCopyEnd(conn, NULL), 1);
    while ((result = PQgetResult(conn)) != NULL) PQclear(result);
    cr_expect_str_eq(read_on(&position), "dic0@r dic1@r dic2@r");
    free(position);
}

Test(feed, records_what_a_service_and_a_restore_write)
{
    char *position = now();
    PGconn *service = fixture_connect(name, "tekup_vault");
    fixture_run(service, PUT("A", "r") "DELETE FROM vault.\"VaultDocument\"");
    cr_expect_str_eq(read_on(&position), "diA@r ddA@r");
    PGresult *refused = PQexec(service, "SELECT * FROM tekupdb.\"Change\"");
    cr_expect_eq(PQresultStatus(refused), PGRES_FATAL_ERROR, "a service may not read the feed");
    PQclear(refused);
    /* Neither may it lead the triggers astray by its search_path or by tables of its own. */
    fixture_run(service, "CREATE TEMP TABLE \"Change\" (i int); SET search_path TO pg_temp, vault;"
                         "SET standard_conforming_strings TO off");
    fixture_run(service, PUT("B", "r"));
    cr_expect_str_eq(read_on(&position), "diB@r");
    PQfinish(service);
    PGconn *restore = fixture_connect(name, "postgres");
    fixture_run(restore, "SET session_replication_role TO replica");
    fixture_run(restore, PUT("C", "r"));
    cr_expect_str_eq(read_on(&position), "diC@r");
    PQfinish(restore);
    free(position);
}

Test(feed, wakes_who_listens_when_it_is_committed)
{
    PGconn *listener = fixture_connect(name, "tekup_admin");
    fixture_run(listener, "LISTEN " FEED_CHANNEL);
    fixture_run(conn, "BEGIN");
    fixture_run(conn, PUT("A", "r"));
    fixture_run(listener, "SELECT 1");
    cr_expect_null(PQnotifies(listener));
    fixture_run(conn, "COMMIT");
    fixture_run(listener, "SELECT 1");
    PGnotify *notification = PQnotifies(listener);
    cr_assert_not_null(notification);
    PQfreemem(notification);
    PQfinish(listener);
}

/* ---- Order ---- */

Test(feed, reads_every_change_once_in_whatever_order_transactions_end)
{
    PGconn *first = fixture_connect(name, "tekup_admin");
    PGconn *second = fixture_connect(name, "tekup_admin");
    PGconn *idle = fixture_connect(name, "tekup_admin");
    char *position = now();
    /* A transaction with a number of its own that stays open holds back nobody. */
    fixture_run(idle, "BEGIN; SELECT pg_current_xact_id()");
    fixture_run(first, "BEGIN");
    fixture_run(first, PUT("A", "r"));
    fixture_run(second, "BEGIN");
    fixture_run(second, PUT("B", "r"));
    cr_expect_str_eq(read_on(&position), "");
    fixture_run(second, "COMMIT");
    cr_expect_str_eq(read_on(&position), "diB@r", "the earlier number is not committed yet");
    fixture_run(conn, PUT("C", "r"));
    cr_expect_str_eq(read_on(&position), "diC@r");
    fixture_run(first, "SAVEPOINT a");
    fixture_run(first, PUT("D", "r"));
    fixture_run(first, "ROLLBACK TO a; SAVEPOINT b");
    fixture_run(first, PUT("E", "r"));
    fixture_run(first, "RELEASE b");
    cr_expect_str_eq(read_on(&position), "");
    fixture_run(first, "COMMIT");
    cr_expect_str_eq(read_on(&position), "diA@r diE@r");
    fixture_run(second, "BEGIN");
    fixture_run(second, PUT("F", "r"));
    fixture_run(second, "ROLLBACK");
    fixture_run(idle, "COMMIT");
    cr_expect_str_eq(read_on(&position), "");
    PQfinish(first);
    PQfinish(second);
    PQfinish(idle);
    free(position);
}

Test(feed, puts_changes_of_one_row_in_the_order_they_happened)
{
    PGconn *early = fixture_connect(name, "tekup_admin");
    char *position = now();
    /* The older transaction changes the row last. */
    fixture_run(early, "BEGIN; SELECT pg_current_xact_id()");
    fixture_run(conn, PUT("A", "r"));
    fixture_run(early, "DELETE FROM vault.\"VaultDocument\" WHERE \"id\" = 'A'; COMMIT");
    cr_expect_str_eq(read_on(&position), "diA@r ddA@r");
    PQfinish(early);
    free(position);
}

Test(feed, takes_up_a_reading_that_was_interrupted)
{
    struct error err = {0};
    struct feed_change changes[2];
    size_t count;
    PGresult *rows;
    char *position = now(), *until, *again;
    PGconn *other = fixture_connect(name, "tekup_admin");
    fixture_run(other, "BEGIN");
    fixture_run(other, PUT("X", "r"));
    fixture_run(conn, PUT("A", "r") PUT("B", "r") PUT("C", "r"));
    cr_assert_eq(feed_begin(conn, position, NULL, 0, &until, &err), 0, "%s", err.message);
    cr_assert_eq(feed_next(conn, 2, changes, &count, &rows, &err), 0);
    cr_assert_eq(count, 2);
    const int64_t seq = changes[1].seq;
    PQclear(rows);
    cr_assert_eq(feed_end(conn, &err), 0);
    /* X has a smaller number than the last one read, and was not to be seen by that reading. */
    fixture_run(other, "COMMIT");
    fixture_run(conn, PUT("D", "r"));
    cr_assert_eq(feed_begin(conn, position, until, seq, &again, &err), 0, "%s", err.message);
    cr_expect_str_eq(again, until);
    cr_assert_eq(feed_next(conn, 2, changes, &count, &rows, &err), 0);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(changes[0].id, "C");
    PQclear(rows);
    cr_assert_eq(feed_end(conn, &err), 0);
    cr_expect_str_eq(read_on(&again), "diX@r diD@r");
    PQfinish(other);
    free(position);
    free(until);
    free(again);
}

struct begun {
    const char *position;
    char *until;
    struct error err;
    int rc;
};

static void *begin_with_rows(void *arg)
{
    struct begun *begun = arg;
    begun->rc = feed_begin_with_rows(conn, begun->position, &begun->until, &begun->err);
    return NULL;
}

static bool is_waiting_for_a_lock(PGconn *other)
{
    return strcmp(fixture_value(other, "SELECT count(*) FROM pg_locks l JOIN pg_database d"
                                       " ON d.oid = l.database WHERE NOT granted"
                                       " AND d.datname = current_database()"),
                  "0") != 0;
}

/* Rows and changes that are read in one transaction are of the same moment, whatever a TRUNCATE
 * does beside it. */
Test(feed, lets_no_truncate_come_between_changes_and_rows)
{
    struct begun begun = {.position = now()};
    struct feed_change changes[4];
    size_t count;
    PGresult *rows;
    pthread_t thread;
    PGconn *other = fixture_connect(name, "tekup_admin");
    fixture_run(conn, PUT("A", "r") EMBED("7", "A"));

    /* One that goes on: it is waited for, and is told of. */
    fixture_run(other, "BEGIN; TRUNCATE vault.\"VaultEmbedding\"");
    cr_assert_eq(pthread_create(&thread, NULL, begin_with_rows, &begun), 0);
    PGconn *third = fixture_connect(name, "tekup_admin");
    while (!is_waiting_for_a_lock(third)) usleep(1000);
    fixture_run(other, "COMMIT");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(begun.rc, 0, "%s", begun.err.message);
    cr_assert_eq(feed_next(conn, 4, changes, &count, &rows, &begun.err), 0);
    cr_assert_eq(count, 3);
    cr_expect_eq(changes[2].action, FEED_TRUNCATE);
    PQclear(rows);

    /* One that comes: it waits. */
    PGresult *refused =
        PQexec(other, "SET lock_timeout TO '50ms'; TRUNCATE vault.\"VaultEmbedding\"");
    cr_expect_str_eq(PQresultErrorField(refused, PG_DIAG_SQLSTATE), "55P03");
    PQclear(refused);
    cr_assert_eq(feed_end(conn, &begun.err), 0);
    fixture_run(other, "TRUNCATE vault.\"VaultEmbedding\"");
    PQfinish(third);
    PQfinish(other);
    free((char *)begun.position);
    free(begun.until);
}

/* ---- Followers ---- */

static int64_t trim(void)
{
    struct error err = {0};
    int64_t removed;
    cr_assert_eq(feed_trim(conn, &removed, &err), 0, "%s", err.message);
    return removed;
}

/* Lets the follower "one" pass until something is removed: transactions of other databases of this
 * server, which the other tests use, keep what is newer than they are. */
static int64_t trim_past(char **position)
{
    struct error err = {0};
    int64_t removed = 0;
    for (int i = 0; i < 3000 && removed == 0; i++) {
        read_on(position);
        cr_assert_eq(feed_register(conn, "one", *position, &err), 1, "%s", err.message);
        removed = trim();
        if (removed == 0) usleep(10000);
    }
    return removed;
}

Test(feed, is_trimmed_when_every_follower_has_passed)
{
    struct error err = {0};
    char *first = now(), *second = now();
    cr_expect_eq(feed_register(conn, "one", first, &err), 1, "%s", err.message);
    cr_expect_eq(feed_register(conn, "two", second, &err), 1);
    fixture_run(conn, PUT("A", "r") PUT("B", "r"));
    cr_expect_eq(trim(), 0);
    cr_expect_str_eq(read_on(&first), "diA@r diB@r");
    cr_expect_eq(feed_register(conn, "one", first, &err), 1);
    cr_expect_eq(trim(), 0, "the other one has not passed");
    cr_expect_eq(feed_reaches_back(conn, second, &err), 1);
    fixture_run(conn, "UPDATE tekupdb.\"Follower\" SET \"seenAt\" = now() - interval '25 hours'"
                      " WHERE \"id\" = 'two'");
    cr_expect_eq(trim_past(&first), 2, "one that is gone for a day is dropped");
    cr_expect_eq(feed_reaches_back(conn, second, &err), 0);
    cr_expect_eq(feed_register(conn, "two", second, &err), 0, "it has to read everything anew");
    cr_expect_str_eq(
        fixture_value(conn, "SELECT string_agg(\"id\", ' ') FROM tekupdb.\"Follower\""), "one");
    cr_expect_eq(feed_reaches_back(conn, first, &err), 1);
    cr_expect_eq(feed_register(conn, "one", first, &err), 1);
    cr_expect_eq(feed_unregister(conn, "one", &err), 0);
    cr_expect_eq(trim(), 0, "without followers nothing is known to be passed");
    free(first);
    free(second);
}

Test(feed, is_not_trimmed_past_a_transaction_that_is_open)
{
    struct error err = {0};
    PGconn *other = fixture_connect(name, "tekup_admin");
    char *position = now();
    fixture_run(other, "BEGIN");
    fixture_run(other, PUT("A", "r"));
    fixture_run(conn, PUT("B", "r"));
    cr_expect_str_eq(read_on(&position), "diB@r");
    cr_expect_eq(feed_register(conn, "one", position, &err), 1);
    trim();
    fixture_run(other, "COMMIT");
    cr_expect_eq(feed_reaches_back(conn, position, &err), 1);
    cr_expect_str_eq(read_on(&position), "diA@r");
    PQfinish(other);
    free(position);
}

Test(feed, knows_its_database_and_refuses_what_is_no_position)
{
    char one[FEED_IDENTITY_SIZE], two[FEED_IDENTITY_SIZE];
    struct error err = {0};
    char *until;
    static const char *const wrong[] = {"", "1", "5:3:", "1:2", "1:2:;DROP", "a:b:c", "0:0:"};
    cr_expect_eq(feed_identify(conn, one, &err), 0, "%s", err.message);
    PGconn *other = fixture_connect("tekup_db", "tekup_admin");
    cr_expect_eq(feed_identify(other, two, &err), 0, "%s", err.message);
    cr_expect_str_neq(one, two);
    PQfinish(other);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        cr_expect_eq(feed_begin(conn, wrong[i], NULL, 0, &until, &err), -1, "%s", wrong[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_eq(feed_register(conn, "one", wrong[i], &err), -1);
    }
    cr_expect_eq(feed_reaches_back(conn, "9000000000:9000000000:", &err), 0,
                 "the database was set back");
    cr_expect_eq(feed_reaches_back(conn, "1:1:", &err), 0, "before there was a feed");
}
