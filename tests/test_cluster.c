#include "tests/scratch.h"

#include "storage/base/log.h"
#include "storage/cluster/cluster.h"
#include "storage/cluster/server_binaries.h"
#include "storage/migrate.h"
#include "storage/pool.h"
#include "storage/vault/vault.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

/* ---- A place for each test ---- */

static char root[32], data[48], run[48];

static void make_place(void)
{
    log_set_level(LOG_ERROR);
    scratch_directory(root);
    snprintf(data, sizeof(data), "%s/d", root);
    snprintf(run, sizeof(run), "%s/r", root);
}

static void remove_place(void)
{
    scratch_stop_server(data);
    umount2(data, MNT_DETACH); /* only the tests of a full disk mount anything there */
    scratch_remove(root);
}

#define PLACE .init = make_place, .fini = remove_place

/* A test that is skipped does not come to its .fini. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        remove_place();                                                                            \
        cr_skip_test(reason);                                                                      \
    } while (0)

static struct cluster *open_cluster(void)
{
    struct error err = {0};
    struct cluster *cluster = cluster_open(data, run, &err);
    cr_assert_not_null(cluster, "%s", err.message);
    return cluster;
}

static void close_cluster(struct cluster *cluster)
{
    struct error err = {0};
    cr_assert_eq(cluster_close(cluster, &err), 0, "%s", err.message);
}

/* One value of a query, over a connection of its own; user NULL is cluster_conninfo's. */
static const char *ask(const struct cluster *cluster, const char *user, const char *sql)
{
    static char values[8][512];
    static unsigned next;
    char conninfo[512], *value = values[next++ % 8];
    snprintf(conninfo, sizeof(conninfo), "%s%s%s", cluster_conninfo(cluster),
             user != NULL ? " user=" : "", user != NULL ? user : "");
    PGconn *conn = PQconnectdb(conninfo);
    cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
    PGresult *result = PQexec(conn, sql);
    cr_assert_leq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(conn));
    snprintf(value, sizeof(values[0]), "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    return value;
}

static const char *inside(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/postgres/%s", data, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    fputs(text, file);
    fclose(file);
}

static pid_t server_pid(void)
{
    char line[32] = "";
    FILE *file = fopen(inside("postmaster.pid"), "re");
    if (file == NULL) return 0;
    if (fgets(line, sizeof(line), file) == NULL) line[0] = '\0';
    fclose(file);
    return (pid_t)strtol(line, NULL, 10);
}

static void sleep_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* ---- What it makes ---- */

Test(cluster, answers_on_its_socket_and_nowhere_else, PLACE)
{
    struct cluster *cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SHOW listen_addresses"), "");
    cr_expect_str_eq(ask(cluster, NULL, "SELECT inet_server_addr() IS NULL"), "t");
    cr_expect_str_eq(ask(cluster, "postgres",
                         "SELECT string_agg(type || ' ' || auth_method, ',') FROM"
                         " pg_hba_file_rules"),
                     "local peer");
    struct stat status;
    char sockets[64];
    snprintf(sockets, sizeof(sockets), "%s/postgres", run);
    cr_assert_eq(stat(sockets, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0700);
    cr_assert_eq(stat(inside(""), &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0700);
    cr_expect_neq(status.st_uid, 0, "the cluster never belongs to root");
    char proc[64];
    snprintf(proc, sizeof(proc), "/proc/%d", (int)server_pid());
    cr_assert_eq(stat(proc, &status), 0);
    cr_expect_neq(status.st_uid, 0, "the server never runs as root");
    cr_expect_neq(getsid(server_pid()), getsid(0), "the terminal's Ctrl-C does not reach it");
    close_cluster(cluster);
    cr_expect_eq(server_pid(), 0);
}

Test(cluster, has_the_database_and_its_owner, PLACE)
{
    struct cluster *cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT current_user"), "tekup_admin");
    cr_expect_str_eq(ask(cluster, NULL,
                         "SELECT rolsuper || ' ' || rolcreaterole || ' ' || rolcanlogin FROM"
                         " pg_roles WHERE rolname = current_user"),
                     "false true true");
    cr_expect_str_eq(ask(cluster, NULL,
                         "SELECT pg_get_userbyid(datdba) || ' ' || pg_encoding_to_char(encoding)"
                         " FROM pg_database WHERE datname = current_database()"),
                     "tekup_admin UTF8");
    cr_expect_str_eq(ask(cluster, NULL, "SELECT current_database()"), "tekup_db");
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 'b' < 'B' OR 'a' < 'B'"), "f", "compares bytes");
    cr_expect_str_eq(ask(cluster, NULL, "SELECT lower('ÆØÅ')"), "æøå");
    cr_expect_str_eq(ask(cluster, NULL,
                         "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM"
                         " pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'TimeZone',"
                         " 'max_connections', 'data_checksums')"),
                     "TimeZone=UTC data_checksums=on fsync=on max_connections=50 "
                     "synchronous_commit=on");
    close_cluster(cluster);
}

Test(cluster, keeps_its_data_over_a_stop_and_a_start, PLACE)
{
    struct cluster *cluster = open_cluster();
    ask(cluster, NULL, "CREATE TABLE public.kept (i int)");
    close_cluster(cluster);
    cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT to_regclass('public.kept') IS NOT NULL"), "t");
    close_cluster(cluster);
}

Test(cluster, lives_beside_another_one, PLACE)
{
    char other_data[64], other_run[64];
    struct error err = {0};
    snprintf(other_data, sizeof(other_data), "%s/other d", root);
    snprintf(other_run, sizeof(other_run), "%s/other's r", root);
    struct cluster *cluster = open_cluster();
    struct cluster *other = cluster_open(other_data, other_run, &err);
    cr_assert_not_null(other, "%s", err.message);
    ask(cluster, NULL, "CREATE TABLE public.here (i int)");
    cr_expect_str_eq(ask(other, NULL, "SELECT to_regclass('public.here') IS NULL"), "t");
    close_cluster(cluster);
    cr_expect_str_eq(ask(other, NULL, "SELECT 1"), "1");
    close_cluster(other);
}

/* ---- After accidents ---- */

/* What a daemon leaves that gets as far as a running cluster and is killed then. */
static void open_and_be_killed(void)
{
    int status;
    const pid_t child = fork();
    if (child == 0) {
        struct error err = {0};
        if (cluster_open(data, run, &err) == NULL) fprintf(stderr, "%s\n", err.message);
        raise(SIGKILL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(cluster, is_found_again_when_the_daemon_was_killed, PLACE)
{
    open_and_be_killed();
    const pid_t before = server_pid();
    cr_assert_gt(before, 0, "the server outlives the daemon");
    struct cluster *cluster = open_cluster();
    cr_expect_eq(server_pid(), before, "it is the same server");
    cr_expect_str_eq(ask(cluster, NULL, "SELECT current_user"), "tekup_admin");
    close_cluster(cluster);
}

Test(cluster, starts_again_when_the_server_was_killed, PLACE)
{
    struct error err = {0};
    struct cluster *cluster = open_cluster();
    ask(cluster, NULL, "CREATE TABLE public.kept AS SELECT 7 AS i");
    const pid_t before = server_pid();
    cr_assert_eq(kill(before, SIGKILL), 0);
    cr_assert_eq(cluster_ensure(cluster, &err), 0, "%s", err.message);
    cr_expect_neq(server_pid(), before);
    cr_expect_str_eq(ask(cluster, NULL, "SELECT i FROM public.kept"), "7");
    const pid_t after = server_pid();
    cr_assert_eq(cluster_ensure(cluster, &err), 0, "%s", err.message);
    cr_expect_eq(server_pid(), after, "a server that runs is left alone");
    close_cluster(cluster);
}

/* After a reboot the number may belong to anybody: here to this test. */
Test(cluster, is_not_misled_by_a_stale_pid_file, PLACE)
{
    close_cluster(open_cluster());
    char text[256];
    snprintf(text, sizeof(text), "%d\n%s/postgres\n1700000000\n5432\n%s/postgres\n\n1 2\nready\n",
             (int)getpid(), data, run);
    write_file(inside("postmaster.pid"), text);
    struct cluster *cluster = open_cluster();
    cr_expect_neq(server_pid(), getpid());
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    close_cluster(cluster);

    write_file(inside("postmaster.pid"), "999999999\nnonsense");
    cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    close_cluster(cluster);
}

Test(cluster, begins_an_interrupted_initdb_again, PLACE)
{
    char fresh[64], left[256];
    snprintf(fresh, sizeof(fresh), "%s/postgres.new", data);
    const pid_t child = fork();
    if (child == 0) {
        cluster_open(data, run, NULL);
        _exit(0);
    }
    for (int i = 0; i < 60000 && access(fresh, F_OK) != 0; i++) sleep_ms(1);
    /* What initdb does from here on, nobody takes up. */
    kill(child, SIGSTOP);
    sleep_ms(100);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(access(fresh, F_OK), 0, "it was interrupted in the middle");
    cr_assert_neq(access(inside("PG_VERSION"), F_OK), 0);
    struct cluster *cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    cr_expect_neq(access(fresh, F_OK), 0, "nothing is left of the first one");
    close_cluster(cluster);

    /* And whatever an older one may have left there. */
    snprintf(left, sizeof(left), "rm -rf %s/postgres; mkdir %s; echo x > %s/PG_VERSION", data,
             fresh, fresh);
    cr_assert_eq(system(left), 0);
    cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    close_cluster(cluster);
}

static void *open_in_thread(void *arg)
{
    struct error *err = arg;
    return cluster_open(data, run, err);
}

Test(cluster, is_made_once_by_two_who_come_at_the_same_moment, PLACE)
{
    pthread_t threads[2];
    struct error errors[2] = {{0}, {0}};
    void *clusters[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, open_in_thread, &errors[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], &clusters[i]);
    for (int i = 0; i < 2; i++) cr_assert_not_null(clusters[i], "%s", errors[i].message);
    cr_expect_str_eq(ask(clusters[0], NULL, "SELECT count(*) FROM pg_database"), "4");
    close_cluster(clusters[0]);
    close_cluster(clusters[1]);
}

Test(cluster, moves_its_socket_with_the_run_directory, PLACE)
{
    char other_run[64];
    struct error err = {0};
    open_and_be_killed();
    snprintf(other_run, sizeof(other_run), "%s/r2", root);
    struct cluster *cluster = cluster_open(data, other_run, &err);
    cr_assert_not_null(cluster, "%s", err.message);
    cr_expect_not_null(strstr(cluster_conninfo(cluster), other_run));
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    close_cluster(cluster);
}

/* As when something clears /run while the daemon runs. */
Test(cluster, makes_its_socket_again_when_it_was_removed, PLACE)
{
    char command[64];
    struct error err = {0};
    struct cluster *cluster = open_cluster();
    ask(cluster, NULL, "CREATE TABLE public.kept AS SELECT 7 AS i");
    snprintf(command, sizeof(command), "rm -rf %s", run);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(cluster_ensure(cluster, &err), 0, "%s", err.message);
    cr_expect_str_eq(ask(cluster, NULL, "SELECT i FROM public.kept"), "7");
    close_cluster(cluster);
}

/* The daemon's environment may hold keys; the server's must not. */
Test(cluster, keeps_the_daemons_environment_to_itself, PLACE)
{
    char path[64], environment[8192] = "";
    setenv("SOME_API_KEY", "s3cr3t", 1);
    setenv("PGOPTIONS", "-c search_path=nowhere", 1);
    setenv("PGHOST", "elsewhere.example", 1);
    struct cluster *cluster = open_cluster();
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)server_pid());
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s", strerror(errno));
    const size_t length = fread(environment, 1, sizeof(environment) - 1, file);
    fclose(file);
    cr_assert_gt(length, 0);
    cr_expect_null(memmem(environment, length, "s3cr3t", 6));
    cr_expect_null(memmem(environment, length, "elsewhere", 9));
    cr_expect_str_eq(ask(cluster, NULL, "SHOW search_path"), "\"$user\", public",
                     "nor does the daemon's own connection listen to it");
    close_cluster(cluster);
}

/* ---- What it refuses ---- */

static struct error refused(const char *data_directory, const char *run_directory)
{
    struct error err = {0};
    struct cluster *cluster = cluster_open(data_directory, run_directory, &err);
    cr_expect_null(cluster, "it is not refused");
    if (cluster != NULL) cluster_close(cluster, NULL);
    return err;
}

#define SAYS(err, words) cr_expect_not_null(strstr((err).message, words), "%s", (err).message)

Test(cluster, refuses_data_of_another_version_and_leaves_it_alone, PLACE)
{
    char version[16] = "";
    struct cluster *cluster = open_cluster();
    ask(cluster, NULL, "CREATE TABLE public.kept (i int)");
    close_cluster(cluster);
    FILE *file = fopen(inside("PG_VERSION"), "re");
    cr_assert(file != NULL && fgets(version, sizeof(version), file) != NULL);
    fclose(file);

    write_file(inside("PG_VERSION"), "9\n");
    struct error err = refused(data, run);
    cr_expect_eq(err.code, ERR_CONFLICT);
    SAYS(err, "made by PostgreSQL 9");
    SAYS(err, "install postgresql-9");
    SAYS(err, "pg_upgrade");
    write_file(inside("PG_VERSION"), "what?\n");
    err = refused(data, run);
    SAYS(err, "PG_VERSION");

    write_file(inside("PG_VERSION"), version);
    cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT to_regclass('public.kept') IS NOT NULL"), "t");
    close_cluster(cluster);
}

Test(cluster, leaves_a_directory_alone_that_is_not_its_own, PLACE)
{
    char command[160];
    snprintf(command, sizeof(command), "mkdir -p %s/postgres && echo mine > %s/postgres/letter",
             data, data);
    cr_assert_eq(system(command), 0);
    const struct error err = refused(data, run);
    cr_expect_eq(err.code, ERR_CONFLICT);
    SAYS(err, "PG_VERSION");
    cr_expect_eq(access(inside("letter"), F_OK), 0);

    snprintf(command, sizeof(command), "rm %s/postgres/letter", data);
    cr_assert_eq(system(command), 0);
    close_cluster(open_cluster()); /* an empty one is taken */
}

Test(cluster, refuses_a_socket_path_over_the_systems_limit, PLACE)
{
    /* RUN + "/postgres/.s.PGSQL.5432" may have 107 bytes, so RUN 84. */
    char longest[128];
    const int given = snprintf(longest, sizeof(longest), "%s/", root);
    memset(longest + given, 'r', sizeof(longest) - (size_t)given);
    longest[85] = '\0';
    const struct error err = refused(data, longest);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "run");
    SAYS(err, "108 bytes");
    SAYS(err, "107");
    cr_expect_neq(access(data, F_OK), 0, "nothing was made");

    longest[84] = '\0';
    struct error why = {0};
    struct cluster *cluster = cluster_open(data, longest, &why);
    cr_assert_not_null(cluster, "%s", why.message);
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    close_cluster(cluster);
}

Test(cluster, refuses_paths_that_cannot_be_meant, PLACE)
{
    struct error err = refused("relative/data", run);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "data");
    err = refused(data, "relative/run");
    cr_expect_str_eq(err.field, "run");
    err = refused("/tmp/$(touch /tmp/tk-owned)", run);
    cr_expect_str_eq(err.field, "data");
    cr_expect_neq(access("/tmp/tk-owned", F_OK), 0);
}

Test(cluster, names_the_directory_that_its_user_may_not_pass, PLACE)
{
    char closed[64], deep_data[96], deep_run[96];
    if (geteuid() != 0) SKIP("only root runs the server as somebody else");
    snprintf(closed, sizeof(closed), "%s/closed", root);
    snprintf(deep_data, sizeof(deep_data), "%s/x/d", closed);
    snprintf(deep_run, sizeof(deep_run), "%s/x/r", closed);
    cr_assert_eq(mkdir(closed, 0700), 0);
    struct error err = refused(deep_data, run);
    cr_expect_eq(err.code, ERR_IO);
    SAYS(err, "chmod o+x");
    SAYS(err, closed);
    err = refused(data, deep_run);
    SAYS(err, closed);
    scratch_stop_server(data);
}

Test(cluster, may_not_write_where_it_is_not_allowed, PLACE)
{
    if (geteuid() == 0) SKIP("root may write everywhere");
    const struct error err = refused("/proc/tekupdb", run);
    cr_expect_eq(err.code, ERR_IO);
    SAYS(err, "/proc/tekupdb");
}

/* ---- As an ordinary user ---- */

static int open_and_close(void)
{
    struct error err = {0};
    struct cluster *cluster = cluster_open(data, run, &err);
    if (cluster == NULL || strcmp(ask(cluster, NULL, "SELECT current_user"), "tekup_admin") != 0 ||
        cluster_close(cluster, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}

Test(cluster, runs_for_an_ordinary_user_as_that_user, PLACE)
{
    const struct passwd *nobody = getpwnam("nobody");
    struct stat status;
    if (geteuid() != 0 || nobody == NULL) SKIP("the other tests show this");
    const uid_t uid = nobody->pw_uid;
    const gid_t gid = nobody->pw_gid;
    cr_assert_eq(chown(root, uid, gid), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) _exit(2);
        _exit(open_and_close());
    }
    int exited;
    cr_assert_eq(waitpid(child, &exited, 0), child);
    cr_expect(WIFEXITED(exited) && WEXITSTATUS(exited) == 0);
    cr_assert_eq(stat(inside("PG_VERSION"), &status), 0);
    cr_expect_eq(status.st_uid, uid);

    /* root goes on with it as the user that it belongs to. */
    struct cluster *cluster = open_cluster();
    cr_expect_str_eq(ask(cluster, NULL, "SELECT 1"), "1");
    cr_assert_eq(stat(inside("postmaster.pid"), &status), 0);
    cr_expect_eq(status.st_uid, uid);
    close_cluster(cluster);
}

/* ---- A full disk ---- */

static bool mount_small_disk(const char *options)
{
    cr_assert_eq(mkdir(data, 0711), 0);
    return geteuid() == 0 && mount("tmpfs", data, "tmpfs", 0, options) == 0;
}

Test(cluster, says_that_the_disk_is_full, PLACE)
{
    if (!mount_small_disk("size=20m,mode=0711")) SKIP("cannot mount a small disk here");
    const struct error err = refused(data, run);
    cr_expect_eq(err.code, ERR_IO);
    SAYS(err, "initdb");
    SAYS(err, "No space left on device");
    char fresh[64];
    snprintf(fresh, sizeof(fresh), "%s/postgres.new", data);
    cr_expect_neq(access(fresh, F_OK), 0, "what filled the disk is removed");
    cr_assert_eq(mount("tmpfs", data, "tmpfs", MS_REMOUNT, "size=300m,mode=0711"), 0);
    close_cluster(open_cluster());
}

static int put(struct pool *pool, const char *path, const char *text, struct error *err)
{
    static float vector[EMBEDDING_DIM] = {1.0F};
    struct chunk_write chunk = {.start = 0, .end = strlen(text), .embedding = vector};
    struct document_write write = {.source = "local",
                                   .repository = "r",
                                   .path = path,
                                   .content = text,
                                   .content_length = strlen(text),
                                   .model = "m",
                                   .chunks = &chunk,
                                   .chunk_count = 1};
    struct write_result result;
    const int rc = vault_put_document(pool, &write, &result, err);
    write_result_free(&result);
    return rc;
}

/* Takes every byte that is left, as the cluster's user could. */
static void fill_disk(const char *path)
{
    static const char block[1 << 16];
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    close(fd);
}

Test(cluster, loses_nothing_when_the_disk_fills_up, PLACE)
{
    if (!mount_small_disk("size=160m,mode=0711")) SKIP("cannot mount a small disk here");
    struct error err = {0};
    struct migration_result migrated;
    char ballast[64], path[32];
    struct vault_counts counts;
    struct cluster *cluster = open_cluster();
    struct pool *pool = pool_create(cluster_conninfo(cluster), 2, &err);
    cr_assert(pool != NULL && migrate(pool, &migrated, &err) == 0, "%s", err.message);
    cr_assert_eq(put(pool, "before", "before", &err), 0, "%s", err.message);

    snprintf(ballast, sizeof(ballast), "%s/ballast", data);
    fill_disk(ballast);
    char *big = malloc(1 << 20);
    cr_assert_not_null(big);
    int written = 1, rc = 0;
    for (int i = 0; rc == 0 && i < 200; i++) {
        /* Text that does not compress. */
        for (int at = 0; at < (1 << 20) - 1; at++) big[at] = (char)('!' + rand() % 90);
        big[(1 << 20) - 1] = '\0';
        snprintf(path, sizeof(path), "during/%d", i);
        rc = put(pool, path, big, &err);
        if (rc == 0) written++;
    }
    free(big);
    cr_assert_eq(rc, -1, "the disk never filled up");
    cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s", err.message);

    cr_assert_eq(unlink(ballast), 0);
    cr_assert_eq(cluster_ensure(cluster, &err), 0, "%s", err.message);
    cr_assert_eq(put(pool, "after", "after", &err), 0, "%s", err.message);
    cr_assert_eq(vault_count(pool, &counts, &err), 0, "%s", err.message);
    cr_expect_eq(counts.documents, written + 1);
    cr_expect_eq(counts.embeddings, written + 1);
    cr_expect_eq(counts.chunks, written + 1);
    pool_free(pool);
    close_cluster(cluster);
}

/* ---- The programs ---- */

/* A directory that looks like a server's: `postgres --version` says what is wanted. */
static void fake_server(const char *name, const char *version)
{
    char command[512];
    snprintf(command, sizeof(command),
             "mkdir -p %s/%s/bin && cd %s/%s/bin && printf '#!/bin/sh\\necho \"%s\"\\n' > postgres"
             " && cp postgres initdb && cp postgres pg_ctl && chmod 755 *",
             root, name, root, name, version);
    cr_assert_eq(system(command), 0);
}

Test(server_binaries, finds_the_newest_or_the_one_that_is_asked_for, PLACE)
{
    char pattern[64], expected[64];
    struct server_binaries found;
    struct error err = {0};
    snprintf(pattern, sizeof(pattern), "%s/*/bin", root);
    const char *const places[] = {pattern, NULL};
    fake_server("9", "postgres (PostgreSQL) 9.6.24");
    fake_server("14", "postgres (PostgreSQL) 14.9 (Debian 14.9-1)");
    fake_server("17", "postgres (PostgreSQL) 17beta1");
    fake_server("other", "something else 99");
    cr_assert_eq(server_binaries_find(places, 0, &found, &err), 0, "%s", err.message);
    cr_expect_eq(found.major, 17);
    snprintf(expected, sizeof(expected), "%s/17/bin", root);
    cr_expect_str_eq(found.directory, expected);
    cr_assert_eq(server_binaries_find(places, 14, &found, &err), 0, "%s", err.message);
    cr_expect_eq(found.major, 14);
}

Test(server_binaries, finds_programs_that_are_new_enough, PLACE)
{
    static const char *const names[] = {"postgres", "initdb", NULL};
    static const char *const others[] = {"postgres", "pg_dump", NULL};
    char pattern[64];
    struct server_binaries found;
    snprintf(pattern, sizeof(pattern), "%s/*/bin", root);
    const char *const places[] = {pattern, NULL};
    fake_server("14", "postgres (PostgreSQL) 14.9 (Debian 14.9-1)");
    fake_server("15", "postgres (PostgreSQL) 15.1");
    fake_server("17", "postgres (PostgreSQL) 17.2");
    cr_assert_eq(server_programs_find(places, names, 15, &found), 0);
    cr_expect_eq(found.major, 15);
    cr_assert_eq(server_programs_find(places, names, 16, &found), 0);
    cr_expect_eq(found.major, 17);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", getenv("PATH"));
    setenv("PATH", "/bin/nowhere", 1); /* no pg_config */
    cr_expect_eq(server_programs_find(places, names, 18, &found), -1);
    cr_expect_eq(server_programs_find(places, others, 15, &found), -1);
    setenv("PATH", path, 1);
}

Test(server_binaries, says_what_to_install, PLACE)
{
    char pattern[64];
    struct server_binaries found;
    struct error err = {0};
    snprintf(pattern, sizeof(pattern), "%s/*/bin", root);
    const char *const places[] = {pattern, NULL};
    fake_server("9", "postgres (PostgreSQL) 9.6.24");
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", getenv("PATH"));
    setenv("PATH", "/bin/nowhere", 1); /* no pg_config */
    cr_assert_eq(server_binaries_find(places, 14, &found, &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    SAYS(err, "PostgreSQL 14");
    SAYS(err, "PostgreSQL 9");
    SAYS(err, "install postgresql-14");
    const char *const nowhere[] = {"/nowhere/*/bin", NULL};
    cr_assert_eq(server_binaries_find(nowhere, 0, &found, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    SAYS(err, "install the package postgresql");
    SAYS(err, "DATABASE_URL");
    setenv("PATH", path, 1);
}
