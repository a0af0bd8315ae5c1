/* Claims of several daemons on one database: one leads, one syncs a repository, whatever happens.
 */
#include "storage/claims.h"
#include "storage/sources.h"

#include "tests/cluster_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static char database[32];
static struct pool *pool;
static PGconn *conn; /* the test's own */
static atomic_int losses;

static void count_loss(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void start(void)
{
    pool = fixture_pool(2, database);
    conn = fixture_connect(database, "postgres");
}

static void finish(void)
{
    PQfinish(conn);
    pool_free(pool);
}

TestSuite(claims, .init = start, .fini = finish, .timeout = 300);

static struct claims *make(void)
{
    struct error err = {0};
    struct claims *claims = claims_create(pool, count_loss, &losses, &err);
    cr_assert_not_null(claims, "%s", err.message);
    return claims;
}

static void nap(void)
{
    const struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
}

static void wait_until_leads(struct claims *claims)
{
    while (!claims_lead(claims)) nap();
}

static int take(struct claims *claims, const char *repository, struct claim *claim)
{
    struct error err = {0};
    const int rc = claims_take(claims, "local", repository, claim, &err);
    if (rc != 0) cr_expect_eq(err.code, ERR_CONFLICT, "%s", err.message);
    return rc;
}

/* Ends every session that holds claims. */
static void cut_sessions(void)
{
    fixture_run(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE application_name = 'tekupd claims' AND datname = current_database()");
}

Test(claims, one_leads_and_the_other_when_that_one_is_gone)
{
    struct claims *first = make();
    wait_until_leads(first);
    struct claims *second = make();
    struct claim claim;
    cr_assert_eq(take(second, "r", &claim), 0, "it has its session");
    cr_expect_not(claims_lead(second));
    cr_expect(claims_lead(first));
    claims_free(first);
    wait_until_leads(second);
    claims_free(second);
}

Test(claims, a_repository_is_claimed_by_one_at_a_time)
{
    struct claims *first = make(), *second = make();
    struct claim ours, theirs, other;
    cr_assert_eq(take(first, "r", &ours), 0);
    cr_expect(claims_hold(first, &ours));
    cr_expect_eq(take(second, "r", &theirs), -1);
    cr_expect_not(claims_hold(second, &theirs));
    cr_expect_eq(take(second, "r2", &other), 0, "another repository");
    claims_drop(first, "local", "r", &ours);
    cr_expect_not(claims_hold(first, &ours));
    cr_expect_eq(take(second, "r", &theirs), 0);
    cr_expect(claims_hold(second, &theirs));
    claims_drop(second, "local", "r", &theirs);
    claims_drop(second, "local", "r", &theirs); /* what is not held */
    cr_expect_eq(take(first, "r", &ours), 0);
    claims_free(first);
    /* The server takes a moment to notice. */
    while (take(second, "r", &theirs) != 0) nap();
    claims_free(second);
}

Test(claims, a_session_that_is_cut_takes_every_claim_with_it)
{
    struct claims *claims = make();
    struct claim before, after;
    wait_until_leads(claims);
    cr_assert_eq(take(claims, "r", &before), 0);
    cut_sessions();
    while (atomic_load(&losses) == 0) nap();
    cr_expect_not(claims_hold(claims, &before));
    cr_assert_eq(take(claims, "r", &after), 0, "it waits for the new session");
    cr_expect(claims_hold(claims, &after));
    cr_expect_not(claims_hold(claims, &before), "the claim of the old session stays lost");
    claims_drop(claims, "local", "r", &before);
    cr_expect(claims_hold(claims, &after), "and gives up nothing of the new one");
    wait_until_leads(claims);
    claims_free(claims);
    cr_expect_eq(atomic_load(&losses), 2, "the end of its life is a loss too");
}

struct watch {
    struct claims *claims[3];
    atomic_bool over;
    atomic_int both;
};

/* They are not asked at the same moment, but one that follows waits for seconds. */
static void *watch_leaders(void *arg)
{
    struct watch *watch = arg;
    while (!atomic_load(&watch->over)) {
        int leaders = 0;
        for (int i = 0; i < 3; i++) leaders += claims_lead(watch->claims[i]);
        if (leaders > 1) atomic_fetch_add(&watch->both, 1);
    }
    return NULL;
}

/* Until every session has asked for the lead: one that begins in the very moment in which the
 * leader is cut off cannot know that there was one. */
static void wait_until_asked(int sessions)
{
    for (int asked = 0; asked < sessions; nap()) {
        PGresult *result = PQexec(conn, "SELECT count(*) FROM pg_stat_activity WHERE"
                                        " application_name = 'tekupd claims' AND"
                                        " (query LIKE '%advisory%' OR query = 'SELECT true')");
        cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK);
        asked = atoi(PQgetvalue(result, 0, 0));
        PQclear(result);
    }
}

Test(claims, never_two_lead)
{
    struct watch watch = {.claims = {make(), make(), make()}};
    pthread_t thread;
    wait_until_asked(3);
    pthread_create(&thread, NULL, watch_leaders, &watch);
    for (int round = 0; round < 12; round++) {
        while (!claims_lead(watch.claims[0]) && !claims_lead(watch.claims[1]) &&
               !claims_lead(watch.claims[2]))
            nap();
        if (round % 2 == 0)
            cut_sessions();
        else /* the leader's alone */
            fixture_run(conn, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype ="
                              " 'advisory' AND granted AND database = (SELECT oid FROM pg_database"
                              " WHERE datname = current_database())");
    }
    atomic_store(&watch.over, true);
    pthread_join(thread, NULL);
    cr_expect_eq(atomic_load(&watch.both), 0);
    for (int i = 0; i < 3; i++) claims_free(watch.claims[i]);
}

/* Another daemon, as far as claims go. */
static pid_t fork_daemon(void)
{
    const pid_t child = fork();
    if (child != 0) return child;
    char conninfo[256];
    struct claim claim;
    fixture_conninfo(database, "tekup_admin", conninfo, sizeof(conninfo));
    struct claims *claims =
        claims_create(pool_create(conninfo, 1, NULL), count_loss, &losses, NULL);
    claims_take(claims, "local", "theirs", &claim, NULL);
    for (;;) pause();
}

static void wait_for_its_claims(void)
{
    while (strcmp(fixture_value(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                                      " AND granted AND database = (SELECT oid FROM pg_database"
                                      " WHERE datname = current_database())"),
                  "2") != 0)
        nap();
}

Test(claims, one_that_is_killed_is_replaced)
{
    struct claim claim;
    const pid_t child = fork_daemon();
    cr_assert_gt(child, 0);
    wait_for_its_claims();
    struct claims *claims = make();
    cr_expect_eq(take(claims, "theirs", &claim), -1);
    cr_expect_not(claims_lead(claims));
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    wait_until_leads(claims);
    while (take(claims, "theirs", &claim) != 0) nap();
    claims_free(claims);
}

/* Its kernel goes on answering for it, so that only its silence tells. It is to take 30 s; the rest
 * is for a machine that has no time for it. */
Test(claims, one_that_hangs_is_replaced)
{
    struct timespec began, now;
    if (PQserverVersion(conn) < 140000) cr_skip_test("idle_session_timeout is of PostgreSQL 14");
    const pid_t child = fork_daemon();
    cr_assert_gt(child, 0);
    wait_for_its_claims();
    struct claims *claims = make();
    cr_assert_eq(kill(child, SIGSTOP), 0);
    clock_gettime(CLOCK_MONOTONIC, &began);
    wait_until_leads(claims);
    clock_gettime(CLOCK_MONOTONIC, &now);
    cr_expect_leq(now.tv_sec - began.tv_sec, 90);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    claims_free(claims);
}

Test(claims, nothing_is_claimed_where_the_database_cannot_be_reached)
{
    struct error err = {0};
    struct claim claim;
    char sql[128];
    struct claims *claims = make();
    wait_until_leads(claims);
    PGconn *admin = fixture_connect("postgres", "postgres");
    snprintf(sql, sizeof(sql), "ALTER DATABASE %s ALLOW_CONNECTIONS false", database);
    fixture_run(admin, sql);
    cut_sessions();
    while (claims_lead(claims)) nap();
    cr_expect_eq(claims_take(claims, "local", "r", &claim, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s", err.message);
    cr_expect_not(claims_lead(claims));
    snprintf(sql, sizeof(sql), "ALTER DATABASE %s ALLOW_CONNECTIONS true", database);
    fixture_run(admin, sql);
    PQfinish(admin);
    wait_until_leads(claims);
    cr_expect_eq(claims_take(claims, "local", "r", &claim, &err), 0, "%s", err.message);
    claims_free(claims);
}

/* ---- What the schedule asks ---- */

struct dues {
    char text[256];
};

static void note(void *arg, const char *source, const char *repository)
{
    struct dues *dues = arg;
    const size_t used = strlen(dues->text);
    snprintf(dues->text + used, sizeof(dues->text) - used, "%s/%s ", source, repository);
}

static void expect_due(const char *expected, double least_s, double most_s)
{
    struct dues dues = {""};
    struct error err = {0};
    double wait_s = 5;
    cr_assert_eq(sources_due(pool, note, &dues, &wait_s, &err), 0, "%s", err.message);
    cr_expect_str_eq(dues.text, expected);
    cr_expect(wait_s >= least_s && wait_s <= most_s, "%f", wait_s);
}

static void put(const char *repository, int interval_s)
{
    struct error err = {0};
    cr_assert_eq(sources_put(pool, "local", repository, "{}", interval_s, NULL, &err), 0, "%s",
                 err.message);
}

Test(claims, a_source_is_due_by_its_interval_and_when_it_was_left_behind)
{
    put("never", 0);
    put("new", 3600);
    put("soon", 3600);
    put("late", 3600);
    put("asked", 3600);
    put("left", 3600);
    put("done", 3600);
    put("lost", 3600);
    put("future", 3600);
    expect_due("", 5, 5);
    fixture_run(conn,
                "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'success', \"lastSyncAt\" ="
                " timezone('UTC', now()) - interval '3000 s' WHERE \"repository\" = 'soon';"
                "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'error', \"lastSyncAt\" ="
                " timezone('UTC', now()) - interval '3601 s' WHERE \"repository\" = 'late';"
                "UPDATE vault.\"VaultSyncStatus\" SET \"lastSyncAt\" = \"lastSyncAt\" +"
                " interval '1 s' WHERE \"repository\" IN ('asked', 'left', 'done');"
                "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'in_progress'"
                " WHERE \"repository\" = 'left';"
                "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'success'"
                " WHERE \"repository\" = 'done';"
                "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'success', \"lastSyncAt\" ="
                " timezone('UTC', now()) + interval '1 day' WHERE \"repository\" = 'future';"
                "DELETE FROM vault.\"VaultSyncStatus\" WHERE \"repository\" = 'lost'");
    struct dues dues = {""};
    double wait_s = 3600;
    cr_assert_eq(sources_due(pool, note, &dues, &wait_s, NULL), 0);
    static const char *const due[] = {"local/late ", "local/asked ", "local/left ", "local/lost ",
                                      "local/future "};
    size_t length = 0;
    for (size_t i = 0; i < sizeof(due) / sizeof(*due); i++) {
        cr_expect_not_null(strstr(dues.text, due[i]), "%s in %s", due[i], dues.text);
        length += strlen(due[i]);
    }
    cr_expect_eq(strlen(dues.text), length, "%s", dues.text);
    cr_expect(wait_s > 0 && wait_s <= 600.1, "%f", wait_s);
}

Test(claims, a_sync_is_recovered_only_where_nobody_has_claimed_it)
{
    struct error err = {0};
    struct claim claim;
    size_t recovered;
    struct claims *claims = make();
    put("alive", 0);
    put("dead", 0);
    put("scheduled", 60);
    fixture_run(conn, "UPDATE vault.\"VaultSyncStatus\" SET \"status\" = 'in_progress'");
    cr_assert_eq(take(claims, "alive", &claim), 0);
    cr_assert_eq(sync_status_recover(pool, &recovered, &err), 0, "%s", err.message);
    cr_expect_eq(recovered, 1);
    cr_expect_str_eq(fixture_value(conn,
                                   "SELECT string_agg(\"repository\" || ' ' || \"status\", ','"
                                   " ORDER BY \"repository\") FROM vault.\"VaultSyncStatus\""),
                     "alive in_progress,dead error,scheduled in_progress");
    claims_free(claims);
    /* The server lets go of what a connection held a moment after it has ended. */
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(sync_status_recover(pool, &recovered, &err), 0, "%s", err.message);
        if (recovered > 0) break;
        usleep(10000);
    }
    cr_expect_eq(recovered, 1);
}
