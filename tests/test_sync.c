/* Syncs of real directories into a real vault, with accidents. */
#include "ingest/sync.h"
#include "ingest/clock.h"
#include "ingest/sync_plan.h"
#include "storage/base/buffer.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include "tests/cluster_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- A file system with faults ---- */

static atomic_int entries_until_eio = -1;

struct dirent *readdir(DIR *directory)
{
    struct dirent *(*real)(DIR *);
    *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (atomic_load(&entries_until_eio) >= 0 && atomic_fetch_sub(&entries_until_eio, 1) == 0) {
        errno = EIO;
        return NULL;
    }
    return real(directory);
}

/* From here on permissions hold for this process, also where root runs the test. */
static void respect_permissions(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct capabilities[2];
    cr_assert_eq(syscall(SYS_capget, &header, capabilities), 0);
    capabilities[0].effective &= ~(1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH);
    cr_assert_eq(syscall(SYS_capset, &header, capabilities), 0);
}

/* Lets whoever respects permissions come to the server's socket. */
static void open_server(void)
{
    char path[256];
    const char *directory = getenv("TEKUP_TEST_SERVER");
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", directory);
    cr_assert_eq(chmod(directory, 0711), 0);
    cr_assert_eq(chmod(path, 0777), 0);
}

/* ---- A vault, a pipeline and a directory of this test's own ---- */

static char database[32];
static char root[64];
static struct pipeline pipeline;
static atomic_int written;                /* documents, as the listener hears of them */
static void (*_Atomic at_written)(int n); /* called for each */

static void on_written(void *arg, const struct document_write *write,
                       const struct write_result *result)
{
    (void)arg, (void)write, (void)result;
    const int n = atomic_fetch_add(&written, 1) + 1;
    void (*hook)(int) = atomic_load(&at_written);
    if (hook != NULL) hook(n);
}

static void on_deleted(void *arg, const struct write_result *result)
{
    (void)arg, (void)result;
}

static void open_pipeline(struct pool *pool)
{
    struct error err = {0};
    pipeline.pool = pool;
    pipeline.embedder = embedder_create("hash", &err);
    pipeline.listener = (struct vault_listener){on_written, on_deleted, NULL, NULL};
    snprintf(root, sizeof(root), "/tmp/tekup-sync-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void remove_root(void)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s %s.moved", root, root);
    cr_assert_eq(system(command), 0);
}

static void start(void)
{
    open_pipeline(fixture_pool(6, database));
}

static void finish(void)
{
    embedder_free(pipeline.embedder);
    pool_free(pipeline.pool);
    remove_root();
}

TestSuite(sync, .init = start, .fini = finish, .timeout = 300);

static void write_bytes(const char *path, const void *bytes, size_t length)
{
    char full[512];
    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file, "%s", full);
    cr_assert_eq(fwrite(bytes, 1, length, file), length);
    cr_assert_eq(fclose(file), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static void in_root(const char *command)
{
    char full[512];
    snprintf(full, sizeof(full), "cd %s && %s", root, command);
    cr_assert_eq(system(full), 0, "%s", command);
}

/* Files of a few chunks each, no two alike. */
static void write_many(int count)
{
    for (int i = 0; i < count; i++) {
        char path[64];
        struct buffer text = {0};
        snprintf(path, sizeof(path), "d%d/file%d.txt", i % 7, i);
        for (int line = 0; line < 100; line++)
            buffer_format(&text, "Line %d of file %d says something of its own.\n", line, i);
        write_text(path, text.data);
        buffer_free(&text);
    }
}

static void add_source(const char *repository, int interval_s)
{
    char config[128];
    struct error err = {0};
    snprintf(config, sizeof(config), "{\"path\": \"%s\"}", root);
    cr_assert_eq(sources_put(pipeline.pool, "local", repository, config, interval_s, NULL, &err), 0,
                 "%s", err.message);
}

static struct syncer *create_syncer(int threads)
{
    struct error err = {0};
    struct syncer *syncer = syncer_create(&pipeline, threads, &err);
    cr_assert_not_null(syncer, "%s", err.message);
    return syncer;
}

static void nap(void)
{
    const struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
}

static void free_rows(struct sync_progress *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(rows[i].source);
        free(rows[i].repository);
    }
    free(rows);
}

static size_t count_jobs(struct syncer *syncer)
{
    struct sync_progress *rows;
    size_t count;
    struct error err = {0};
    cr_assert_eq(syncer_progress(syncer, &rows, &count, &err), 0, "%s", err.message);
    free_rows(rows, count);
    return count;
}

static void wait_until_idle(struct syncer *syncer)
{
    while (count_jobs(syncer) > 0) nap();
}

/* The status row of a repository; false where it has none. */
static bool read_status(const char *repository, struct sync_status *out)
{
    struct sync_status *rows;
    size_t count;
    struct error err = {0};
    bool found = false;
    cr_assert_eq(sync_status_list(pipeline.pool, &rows, &count, &err), 0, "%s", err.message);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].repository, repository) == 0) {
            *out = rows[i];
            found = true;
        } else {
            sync_status_free(&rows[i]);
        }
    }
    free(rows);
    return found;
}

/* The figures that the last sync of a repository has left; false where none has ended. */
static bool find_last(const char *repository, struct sync_figures *figures)
{
    static const struct {
        const char *name;
        size_t place;
    } counts[] = {
        {"total", offsetof(struct sync_figures, total)},
        {"found", offsetof(struct sync_figures, found)},
        {"unchanged", offsetof(struct sync_figures, unchanged)},
        {"fetched", offsetof(struct sync_figures, fetched)},
        {"written", offsetof(struct sync_figures, written)},
        {"deleted", offsetof(struct sync_figures, deleted)},
        {"failed", offsetof(struct sync_figures, failed)},
        {"chunks", offsetof(struct sync_figures, chunks)},
        {"embedded", offsetof(struct sync_figures, embedded)},
        {"reused", offsetof(struct sync_figures, reused)},
    };
    struct sync_status row;
    *figures = (struct sync_figures){0};
    if (!read_status(repository, &row)) return false;
    json_t *last = row.last != NULL ? json_loads(row.last, 0, NULL) : NULL;
    sync_status_free(&row);
    if (last == NULL) return false;
    cr_expect(json_is_false(json_object_get(last, "running")));
    cr_expect_str_eq(json_string_value(json_object_get(last, "phase")), "done");
    cr_expect_gt(json_real_value(json_object_get(last, "elapsedSeconds")), 0.0);
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        *(size_t *)((char *)figures + counts[i].place) =
            (size_t)json_integer_value(json_object_get(last, counts[i].name));
    for (int reason = 0; reason < SKIP_REASONS; reason++)
        figures->skipped[reason] = (size_t)json_integer_value(
            json_object_get(json_object_get(last, "skipped"), skip_reason_name(reason)));
    json_decref(last);
    return true;
}

static struct sync_figures last_of(const char *repository)
{
    struct sync_figures last;
    cr_assert(find_last(repository, &last), "%s was not synced", repository);
    return last;
}

/* Requests a sync and waits for its end. */
static struct sync_figures sync_once(struct syncer *syncer, const char *repository)
{
    struct error err = {0};
    cr_assert_eq(syncer_request(syncer, "local", repository, &err), 0, "%s", err.message);
    wait_until_idle(syncer);
    return last_of(repository);
}

/* With a syncer that lives for this sync only. */
static struct sync_figures sync_alone(const char *repository)
{
    struct syncer *syncer = create_syncer(1);
    const struct sync_figures last = sync_once(syncer, repository);
    syncer_free(syncer);
    return last;
}

/* message: a part of the error message, NULL where there must be none. */
static void expect_status(const char *repository, const char *status, const char *message,
                          int documents)
{
    struct sync_status row;
    cr_assert(read_status(repository, &row), "%s has no status", repository);
    cr_expect_str_eq(row.status, status, "%s: %s", repository,
                     row.error_message != NULL ? row.error_message : "");
    cr_expect_eq(row.document_count, documents, "%s: %d documents", repository, row.document_count);
    if (message == NULL)
        cr_expect_null(row.error_message, "%s", row.error_message);
    else
        cr_expect(row.error_message != NULL && strstr(row.error_message, message) != NULL, "%s",
                  row.error_message != NULL ? row.error_message : "no message");
    sync_status_free(&row);
}

/* Everything that a repository holds, in a form that two repositories can be compared by. */
static void read_contents(const char *repository, char out[512])
{
    char sql[1024];
    PGconn *conn = fixture_connect(database, "tekup_admin");
    snprintf(sql, sizeof(sql),
             "SELECT count(DISTINCT d.\"id\") || ' documents, ' || count(c) || ' chunks, ' ||"
             " count(e) || ' embeddings, ' || md5(string_agg(d.\"path\" || ' ' || d.\"sha\" || ' '"
             " || c.\"ordinal\" || ' ' || encode(c.\"contentHash\", 'hex') || ' ' ||"
             " md5(e.\"embedding\"::text), ',' ORDER BY d.\"path\", c.\"ordinal\"))"
             " FROM vault.\"VaultDocument\" d"
             " LEFT JOIN vault.\"VaultEmbedding\" e ON e.\"documentId\" = d.\"id\""
             " LEFT JOIN tekupdb.\"Chunk\" c ON c.\"embeddingId\" = e.\"id\""
             " WHERE d.\"repository\" = '%s'",
             repository);
    snprintf(out, 512, "%s", fixture_value(conn, sql));
    PQfinish(conn);
}

static void run_sql(const char *sql)
{
    PGconn *conn = fixture_connect(database, "tekup_admin");
    fixture_run(conn, sql);
    PQfinish(conn);
}

/* ---- What a sync does ---- */

Test(sync, takes_in_what_is_text_and_counts_the_rest)
{
    write_text("a.md", "# A\n\ntext of a\n");
    write_text("d/b.txt", "text of b");
    write_text("empty", "");
    write_text("blank", " \n");
    write_bytes("binary", "a\0b", 3);
    write_text(".gitignore", "*.log\n");
    write_text("x.log", "ignored");
    in_root("ln -s a.md link");
    add_source("docs", 0);
    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.found, 3);
    cr_expect_eq(last.total, 3);
    cr_expect_eq(last.written, 3);
    cr_expect_eq(last.chunks, 3);
    cr_expect_eq(last.embedded, 3);
    cr_expect_eq(last.unchanged + last.deleted + last.failed + last.reused, 0);
    cr_expect_eq(last.skipped[SKIP_EMPTY], 2);
    cr_expect_eq(last.skipped[SKIP_BINARY], 1);
    cr_expect_eq(last.skipped[SKIP_IGNORED], 1);
    cr_expect_eq(last.skipped[SKIP_NOT_FILE], 1);
    cr_expect_eq(last.fetched, 3);
    expect_status("docs", "success", NULL, 3);

    char *cursor;
    struct error err = {0};
    struct document document;
    cr_assert_eq(cursor_get(pipeline.pool, "local", "docs", &cursor, &err), 0);
    cr_expect(cursor != NULL && strstr(cursor, "listedAt") != NULL);
    free(cursor);
    cr_assert_eq(vault_find_document(pipeline.pool, "local", "docs", "d/b.txt", &document, &err),
                 0);
    cr_expect_str_eq(document.content, "text of b");
    cr_expect_str_eq(document.sha, "41dec897100a0ae06f92dae07d6cb1d0598d2591");
    document_free(&document);
}

Test(sync, leaves_alone_what_is_unchanged)
{
    char before[512];
    char after[512];
    const char *rows = "SELECT md5(string_agg(d::text || e.\"id\", ',' ORDER BY e.\"id\"))"
                       " FROM vault.\"VaultDocument\" d JOIN vault.\"VaultEmbedding\" e"
                       " ON e.\"documentId\" = d.\"id\"";
    PGconn *conn = fixture_connect(database, "tekup_admin");
    write_many(30);
    add_source("docs", 0);
    sync_alone("docs");
    snprintf(before, sizeof(before), "%s", fixture_value(conn, rows));
    in_root("touch d0/* && chmod 600 d1/*");
    const struct sync_figures last = sync_alone("docs");
    snprintf(after, sizeof(after), "%s", fixture_value(conn, rows));
    cr_expect_str_eq(before, after);
    cr_expect_eq(last.unchanged, 30);
    cr_expect_eq(last.written + last.deleted + last.chunks, 0);
    expect_status("docs", "success", NULL, 30);
    PQfinish(conn);
}

Test(sync, follows_what_is_changed_added_moved_and_deleted)
{
    struct syncer *syncer = create_syncer(2);
    write_many(20);
    add_source("docs", 0);
    sync_once(syncer, "docs");
    in_root("echo changed > d0/file0.txt && echo new > new.txt && mv d1/file1.txt moved.txt"
            " && rm d2/file2.txt && rm -r d3");
    const struct sync_figures last = sync_once(syncer, "docs");
    cr_expect_eq(last.written, 3); /* changed, new, moved */
    cr_expect_eq(last.deleted, 5); /* file1 at its old place, file2, and 3, 10, 17 of d3 */
    cr_expect_eq(last.unchanged, 14);
    cr_expect_eq(last.embedded, 2);
    cr_expect_gt(last.reused, 2); /* of the one that moved */
    expect_status("docs", "success", NULL, 17);

    /* The end is that of a first sync. */
    char synced[512];
    char fresh[512];
    add_source("fresh", 0);
    sync_once(syncer, "fresh");
    read_contents("docs", synced);
    read_contents("fresh", fresh);
    cr_expect_str_eq(synced, fresh);
    cr_expect_eq(strncmp(synced, "17 documents", 12), 0, "%s", synced);
    syncer_free(syncer);
}

Test(sync, deletes_what_is_no_text_any_more_or_is_ignored)
{
    write_text("a", "text");
    write_text("b", "text too");
    write_text("c/d", "and text");
    write_text("e", "stays");
    add_source("docs", 0);
    sync_alone("docs");
    write_bytes("a", "\xff\0", 2);
    write_text("b", "");
    write_text(".gitignore", "c/\n.gitignore\n");
    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.deleted, 3);
    cr_expect_eq(last.unchanged, 1);
    cr_expect_eq(last.found, 1);
    cr_expect_eq(last.skipped[SKIP_BINARY], 1);
    expect_status("docs", "success", NULL, 1);
}

Test(sync, keeps_what_only_cannot_be_read_now)
{
    write_text("file", "text");
    write_text("shut/inside", "text inside");
    write_text("shut/deep/er", "text deeper");
    write_text("shutter", "goes");
    add_source("docs", 0);
    sync_alone("docs");
    in_root("rm shutter && chmod 0 shut");
    open_server();
    respect_permissions();
    struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.skipped[SKIP_UNREADABLE], 1);
    cr_expect_eq(last.unchanged, 1);
    cr_expect_eq(last.deleted, 1);
    expect_status("docs", "success", NULL, 3);
    in_root("chmod 700 shut && chmod 0 file");
    last = sync_alone("docs");
    cr_expect_eq(last.skipped[SKIP_UNREADABLE], 1);
    cr_expect_eq(last.deleted, 0);
    expect_status("docs", "success", NULL, 3);
}

Test(sync, embeds_again_what_another_model_embedded)
{
    write_text("a", "text");
    write_text("b", "more text");
    add_source("docs", 0);
    sync_alone("docs");
    run_sql("UPDATE tekupdb.\"Chunk\" SET \"model\" = 'another' WHERE \"documentId\" ="
            " (SELECT \"id\" FROM vault.\"VaultDocument\" WHERE \"path\" = 'a')");
    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.written, 1);
    cr_expect_eq(last.embedded, 1);
    cr_expect_eq(last.unchanged, 1);
}

/* ---- Asking for syncs ---- */

Test(sync, an_unknown_repository_or_kind_is_named)
{
    struct syncer *syncer = create_syncer(1);
    struct error err = {0};
    struct sync_status row;
    cr_expect_eq(syncer_request(syncer, "local", "nowhere", &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "nowhere") != NULL, "%s", err.message);
    cr_expect_eq(count_jobs(syncer), 0);
    cr_expect_not(read_status("nowhere", &row));
    cr_expect_eq(syncer_cancel(syncer, "local", "nowhere", &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);

    cr_assert_eq(sources_put(pipeline.pool, "fax", "docs", "{}", 0, NULL, &err), 0);
    cr_assert_eq(syncer_request(syncer, "fax", "docs", &err), 0);
    wait_until_idle(syncer);
    expect_status("docs", "error", "\"fax\"", 0);
    syncer_free(syncer);
}

static atomic_bool held;

static void hold(int n)
{
    (void)n;
    while (atomic_load(&held)) nap();
}

Test(sync, goes_from_pending_to_in_progress_to_success)
{
    struct error err = {0};
    struct syncer *syncer = create_syncer(1);
    write_text("a", "text");
    add_source("first", 0);
    add_source("second", 0);
    expect_status("first", "pending", NULL, 0);
    atomic_store(&held, true);
    atomic_store(&at_written, hold);
    cr_assert_eq(syncer_request(syncer, "local", "first", &err), 0);
    while (atomic_load(&written) == 0) nap();
    cr_assert_eq(syncer_request(syncer, "local", "second", &err), 0);
    expect_status("first", "in_progress", NULL, 0);
    expect_status("second", "pending", NULL, 0);

    /* Both are taken. */
    cr_expect_eq(syncer_request(syncer, "local", "first", &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    cr_expect(strstr(err.message, "running") != NULL, "%s", err.message);
    cr_expect_eq(syncer_request(syncer, "local", "second", &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    cr_expect(strstr(err.message, "queued") != NULL, "%s", err.message);
    expect_status("first", "in_progress", NULL, 0);

    struct sync_progress *rows;
    size_t count;
    cr_assert_eq(syncer_progress(syncer, &rows, &count, &err), 0);
    cr_assert_eq(count, 2);
    cr_expect(rows[0].running);
    cr_expect_str_eq(rows[0].repository, "first");
    cr_expect_eq(rows[0].figures.total, 1);
    cr_expect_not(rows[1].running);
    cr_expect_str_eq(rows[1].repository, "second");
    free_rows(rows, count);

    atomic_store(&held, false);
    wait_until_idle(syncer);
    expect_status("first", "success", NULL, 1);
    expect_status("second", "success", NULL, 1);
    syncer_free(syncer);
}

Test(sync, one_that_is_asked_for_again_is_followed_by_another)
{
    struct error err = {0};
    struct syncer *syncer = create_syncer(1);
    write_text("a", "text");
    add_source("docs", 0);
    cr_expect_eq(syncer_request_again(syncer, "local", "nowhere", &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    atomic_store(&held, true);
    atomic_store(&at_written, hold);
    cr_assert_eq(syncer_request_again(syncer, "local", "docs", &err), 0);
    while (atomic_load(&written) == 0) nap();
    /* Listed already: only another sync finds this one. */
    write_text("b", "more");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(syncer_request_again(syncer, "local", "docs", &err), 1);
    atomic_store(&held, false);
    while (atomic_load(&written) < 2) nap();
    wait_until_idle(syncer);
    expect_status("docs", "success", NULL, 2);
    bool wanted;
    cr_assert_eq(sync_is_wanted(pipeline.pool, "local", "docs", &wanted, &err), 0);
    cr_expect_not(wanted);
    syncer_free(syncer);
}

Test(sync, what_a_dead_daemon_was_asked_for_again_is_taken_up)
{
    struct error err = {0};
    write_text("a", "text");
    add_source("docs", 0);
    cr_assert_eq(sync_want(pipeline.pool, "local", "docs", &err), 0);
    struct syncer *syncer = create_syncer(1);
    while (atomic_load(&written) == 0) nap();
    wait_until_idle(syncer);
    expect_status("docs", "success", NULL, 1);
    syncer_free(syncer);
}

Test(sync, a_source_that_is_removed_while_it_waits_leaves_no_status)
{
    struct error err = {0};
    struct sync_status row;
    struct syncer *syncer = create_syncer(1);
    write_text("a", "text");
    add_source("first", 0);
    add_source("second", 0);
    atomic_store(&held, true);
    atomic_store(&at_written, hold);
    cr_assert_eq(syncer_request(syncer, "local", "first", &err), 0);
    cr_assert_eq(syncer_request(syncer, "local", "second", &err), 0);
    cr_assert_eq(sources_delete(pipeline.pool, "local", "second", &err), 0);
    atomic_store(&held, false);
    wait_until_idle(syncer);
    cr_expect_not(read_status("second", &row));
    expect_status("first", "success", NULL, 1);
    syncer_free(syncer);
}

Test(sync, a_source_with_an_interval_is_synced_again_and_again)
{
    struct syncer *syncer = create_syncer(1);
    struct sync_figures last;
    write_text("a", "text");
    add_source("docs", 1);
    while (atomic_load(&written) < 1) nap();
    write_text("b", "more");
    while (atomic_load(&written) < 2) nap();
    /* There is none while the next one runs. */
    while (!find_last("docs", &last)) nap();
    syncer_free(syncer);
}

Test(sync, an_interval_counts_from_the_last_sync_of_whichever_daemon)
{
    struct sync_figures last;
    write_text("a", "text");
    add_source("due", 3600);
    add_source("fresh", 3600);
    run_sql("UPDATE vault.\"VaultSyncStatus\" SET \"lastSyncAt\" = timezone('UTC', now())"
            " - interval '2 hours' WHERE \"repository\" = 'due'");
    struct syncer *syncer = create_syncer(1);
    while (!find_last("due", &last)) nap();
    wait_until_idle(syncer);
    cr_expect_not(find_last("fresh", &last));
    syncer_free(syncer);
    expect_status("due", "success", NULL, 1);
    expect_status("fresh", "pending", NULL, 0);
}

Test(clock, tells_times_to_come)
{
    for (int i = 0; i < 100; i++) {
        const double now = clock_now();
        const struct timespec until = clock_after(2.99);
        cr_expect(until.tv_nsec >= 0 && until.tv_nsec < 1000000000);
        cr_expect_float_eq((double)until.tv_sec + (double)until.tv_nsec / 1e9, now + 2.99, 60.0);
    }
}

/* ---- Accidents ---- */

static void move_root(int n)
{
    char moved[80];
    if (n != 1) return;
    snprintf(moved, sizeof(moved), "%s.moved", root);
    cr_assert_eq(rename(root, moved), 0);
}

Test(sync, a_directory_that_disappears_is_an_error_and_nothing_is_deleted)
{
    write_many(12);
    add_source("docs", 0);
    sync_alone("docs");

    /* Before the sync. */
    move_root(1);
    struct sync_figures last = sync_alone("docs");
    expect_status("docs", "error", root, 12);
    cr_expect_eq(last.deleted, 0);

    /* During it. */
    cr_assert_eq(mkdir(root, 0755), 0);
    write_many(6);
    in_root("for f in d*/*; do echo changed >> $f; done");
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s.moved", root);
    cr_assert_eq(system(command), 0);
    atomic_store(&written, 0);
    atomic_store(&at_written, move_root);
    last = sync_alone("docs");
    atomic_store(&at_written, NULL);
    cr_expect_eq(last.deleted, 0);
    expect_status("docs", "error", root, 12);
}

Test(sync, a_listing_that_fails_half_way_deletes_nothing)
{
    write_many(10);
    add_source("docs", 0);
    sync_alone("docs");
    in_root("rm -r d0");
    for (int i = 0; i < 12; i += 3) {
        atomic_store(&entries_until_eio, i);
        const struct sync_figures last = sync_alone("docs");
        cr_assert_eq(atomic_load(&entries_until_eio), -1);
        cr_expect_eq(last.deleted, 0);
        expect_status("docs", "error", "Input/output error", 10);
    }
    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.deleted, 2);
    expect_status("docs", "success", NULL, 8);
}

Test(sync, a_document_that_fails_is_named_and_the_others_are_taken_in)
{
    write_many(10);
    write_text("bad1", "text");
    write_text("bad2", "text");
    write_text("old", "text");
    add_source("docs", 0);
    sync_alone("docs");
    run_sql("CREATE FUNCTION vault.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.\"path\" LIKE 'bad%' THEN RAISE 'no room for %', NEW.\"path\"; END IF;"
            " RETURN NEW; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON vault.\"VaultDocument\""
            " FOR EACH ROW EXECUTE FUNCTION vault.refuse()");
    write_text("bad1", "changed");
    write_text("bad2", "changed too");
    write_text("good", "new");
    in_root("rm old");
    struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.failed, 2);
    cr_expect_eq(last.written, 1);
    cr_expect_eq(last.deleted, 1);
    cr_expect_eq(last.unchanged, 10);
    expect_status("docs", "error", "2 documents failed, the first of them: bad1: ", 13);
    expect_status("docs", "error", "no room for bad1", 13);

    run_sql("DROP TRIGGER refuse ON vault.\"VaultDocument\"");
    last = sync_alone("docs");
    cr_expect_eq(last.failed, 0);
    cr_expect_eq(last.written, 2);
    expect_status("docs", "success", NULL, 13);
}

/* From the fifth document on there is time to do something to the sync. */
static void slow_down(int n)
{
    for (int i = 0; n >= 5 && i < 25; i++) nap();
}

Test(sync, freeing_the_syncer_interrupts_what_runs_and_a_rerun_completes_it)
{
    struct error err = {0};
    char interrupted[512];
    char whole[512];
    write_many(60);
    add_source("docs", 0);
    add_source("waiting", 0);
    struct syncer *syncer = create_syncer(1);
    atomic_store(&at_written, slow_down);
    cr_assert_eq(syncer_request(syncer, "local", "docs", &err), 0);
    cr_assert_eq(syncer_request(syncer, "local", "waiting", &err), 0);
    while (atomic_load(&written) < 5) nap();
    syncer_free(syncer);
    atomic_store(&at_written, NULL);
    const int before = atomic_load(&written);
    cr_expect_lt(before, 60);
    expect_status("docs", "error", "interrupted", before);
    expect_status("waiting", "pending", NULL, 0);

    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.unchanged, (size_t)before);
    cr_expect_eq(last.written, (size_t)(60 - before));
    sync_alone("waiting");
    read_contents("docs", interrupted);
    read_contents("waiting", whole);
    cr_expect_str_eq(interrupted, whole);
}

/* A daemon of its own, that is killed. */
static pid_t fork_daemon(const char *repository)
{
    const pid_t child = fork();
    if (child != 0) return child;
    char conninfo[256];
    fixture_conninfo(database, "tekup_admin", conninfo, sizeof(conninfo));
    pipeline.pool = pool_create(conninfo, 6, NULL);
    struct syncer *syncer = syncer_create(&pipeline, 1, NULL);
    syncer_request(syncer, "local", repository, NULL);
    for (;;) pause();
}

Test(sync, a_daemon_that_is_killed_leaves_a_vault_that_a_rerun_completes)
{
    struct error err = {0};
    size_t recovered;
    char killed[512];
    char whole[512];
    PGconn *conn = fixture_connect(database, "tekup_admin");
    write_many(80);
    add_source("docs", 0);
    add_source("whole", 0);
    atomic_store(&at_written, slow_down);
    for (int round = 1; round <= 3; round++) {
        const pid_t child = fork_daemon("docs");
        cr_assert_gt(child, 0);
        while (atoi(fixture_value(conn, "SELECT count(*) FROM vault.\"VaultDocument\"")) <
               round * 15)
            nap();
        cr_assert_eq(kill(child, SIGKILL), 0);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        /* The server ends a transaction whose client is gone, in its own time. */
        while (atoi(fixture_value(conn, "SELECT count(*) FROM pg_stat_activity WHERE datname ="
                                        " current_database() AND backend_type = 'client backend'"
                                        " AND state <> 'idle'")) > 1)
            nap();
        /* And so it does with the claim. */
        do {
            nap();
            cr_assert_eq(sync_status_recover(pipeline.pool, &recovered, &err), 0);
        } while (recovered == 0);
        cr_expect_eq(recovered, 1);
    }
    atomic_store(&at_written, NULL);
    const int before = atoi(fixture_value(conn, "SELECT count(*) FROM vault.\"VaultDocument\""));
    cr_expect_lt(before, 80);
    const struct sync_figures last = sync_alone("docs");
    cr_expect_eq(last.unchanged, (size_t)before);
    cr_expect_eq(last.written, (size_t)(80 - before));
    sync_alone("whole");
    read_contents("docs", killed);
    read_contents("whole", whole);
    cr_expect_str_eq(killed, whole);
    expect_status("docs", "success", NULL, 80);
    PQfinish(conn);
}

/* ---- A database that goes away; with a cluster of its own ---- */

static struct cluster *stoppable;
static char scratch[32], data[48], run[48];

static void start_own_cluster(void)
{
    struct error err = {0};
    struct migration_result result;
    log_set_level(LOG_ERROR);
    scratch_directory(scratch);
    snprintf(data, sizeof(data), "%s/d", scratch);
    snprintf(run, sizeof(run), "%s/r", scratch);
    stoppable = cluster_open(data, run, &err);
    cr_assert_not_null(stoppable, "%s", err.message);
    struct pool *pool = pool_create(cluster_conninfo(stoppable), 6, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    open_pipeline(pool);
}

static void stop_own_cluster(void)
{
    embedder_free(pipeline.embedder);
    pool_free(pipeline.pool);
    cluster_close(stoppable, NULL);
    scratch_stop_server(data);
    scratch_remove(scratch);
    remove_root();
}

TestSuite(sync_outage, .init = start_own_cluster, .fini = stop_own_cluster, .timeout = 300);

Test(sync_outage, a_database_that_goes_away_ends_the_sync_and_hears_of_it_when_it_is_back)
{
    struct error err = {0};
    struct syncer *syncer = create_syncer(1);
    write_many(60);
    add_source("docs", 0);
    atomic_store(&at_written, slow_down);
    cr_assert_eq(syncer_request(syncer, "local", "docs", &err), 0);
    while (atomic_load(&written) < 5) nap();
    scratch_stop_server(data);
    atomic_store(&at_written, NULL);
    /* The sync is over, but for its status: the repository stays taken. */
    cr_expect_eq(syncer_request(syncer, "local", "docs", &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    const int before = atomic_load(&written);
    cr_expect_lt(before, 60);
    cr_assert_eq(cluster_ensure(stoppable, &err), 0, "%s", err.message);
    wait_until_idle(syncer);

    struct sync_status row;
    cr_assert(read_status("docs", &row));
    cr_expect_str_eq(row.status, "error");
    cr_expect_not_null(row.error_message);
    /* A commit whose answer was cut off may have happened. */
    cr_expect_geq(row.document_count, before);
    cr_expect_leq(row.document_count, before + SYNC_WRITERS);
    sync_status_free(&row);
    sync_once(syncer, "docs");
    expect_status("docs", "success", NULL, 60);
    syncer_free(syncer);
}

Test(sync_outage, a_syncer_is_freed_while_the_database_is_away)
{
    struct error err = {0};
    struct syncer *syncer = create_syncer(2);
    write_many(60);
    add_source("docs", 0);
    add_source("more", 1);
    atomic_store(&at_written, slow_down);
    cr_assert_eq(syncer_request(syncer, "local", "docs", &err), 0);
    while (atomic_load(&written) < 5) nap();
    scratch_stop_server(data);
    atomic_store(&at_written, NULL);
    cr_expect_eq(syncer_request(syncer, "local", "other", &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    syncer_free(syncer);

    size_t recovered;
    cr_assert_eq(cluster_ensure(stoppable, &err), 0, "%s", err.message);
    cr_assert_eq(sync_status_recover(pipeline.pool, &recovered, &err), 0);
    cr_expect_geq(recovered, 1);
    sync_alone("docs");
    expect_status("docs", "success", NULL, 60);
}

/* ---- Many at once ---- */

static atomic_bool polling;

static void *poll_progress(void *arg)
{
    while (atomic_load(&polling)) {
        struct sync_progress *rows;
        size_t count;
        if (syncer_progress(arg, &rows, &count, NULL) == 0) {
            for (size_t i = 0; i < count; i++)
                cr_assert_leq(rows[i].figures.unchanged + rows[i].figures.written +
                                  rows[i].figures.failed,
                              rows[i].figures.found);
            free_rows(rows, count);
        }
        nap();
    }
    return NULL;
}

static void *request_often(void *arg)
{
    unsigned i = 0;
    while (atomic_load(&polling)) {
        char repository[32];
        snprintf(repository, sizeof(repository), "repository%u", i++ % 8);
        syncer_request(arg, "local", repository, NULL);
        nap();
    }
    return NULL;
}

Test(sync, many_syncs_requests_and_questions_at_once)
{
    struct syncer *syncer = create_syncer(3);
    pthread_t threads[4];
    write_many(15);
    for (int i = 0; i < 8; i++) {
        char repository[32];
        snprintf(repository, sizeof(repository), "repository%d", i);
        add_source(repository, 0);
    }
    atomic_store(&polling, true);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(
            pthread_create(&threads[i], NULL, i < 2 ? poll_progress : request_often, syncer), 0);
    while (atomic_load(&written) < 8 * 15) nap();
    atomic_store(&polling, false);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    wait_until_idle(syncer);
    for (int i = 0; i < 8; i++) {
        char repository[32];
        snprintf(repository, sizeof(repository), "repository%d", i);
        expect_status(repository, "success", NULL, 15);
    }
    cr_expect_eq(atomic_load(&written), 8 * 15);
    syncer_free(syncer);
}

Test(sync, a_syncer_may_be_freed_at_any_moment)
{
    write_many(40);
    add_source("docs", 0);
    syncer_free(NULL);
    for (int i = 0; i < 6; i++) {
        struct syncer *syncer = create_syncer(2);
        syncer_request(syncer, "local", "docs", NULL);
        for (int j = 0; j < i * i; j++) nap();
        syncer_free(syncer);
    }
    sync_alone("docs");
    expect_status("docs", "success", NULL, 40);
}

/* ---- The plan ---- */

Test(plan, items_and_versions_are_matched_whatever_their_order)
{
    struct sync_plan plan = {0};
    static const char *const items[] = {"b", "a/x", "a", "zz", "b", "a.b"};
    static const char *const versions[] = {"zz",   "a",     "b/c", "kept/deep/x",
                                           "kept", "kept2", "a/y", "shut/f"};
    for (size_t i = 0; i < sizeof(items) / sizeof(*items); i++)
        cr_assert_eq(plan_add_item(&plan, items[i], NULL, NULL), 0);
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++)
        cr_assert_eq(plan_add_version(&plan, versions[i], versions[i], "sha", NULL, true), 0);
    cr_assert_eq(plan_keep(&plan, "shut/"), 0);
    cr_assert_eq(plan_keep(&plan, "kept"), 0);
    plan_match(&plan);
    cr_assert_eq(plan.item_count, 5);
    for (size_t i = 0; i < plan.item_count; i++) {
        const struct plan_item *item = &plan.items[i];
        const bool known = strcmp(item->path, "a") == 0 || strcmp(item->path, "zz") == 0;
        cr_expect_eq(item->version != NULL, known, "%s", item->path);
        if (known) cr_expect_str_eq(item->version->path, item->path);
    }
    for (size_t i = 0; i < plan.version_count; i++) {
        const struct plan_version *version = &plan.versions[i];
        const bool gone = strcmp(version->path, "b/c") == 0 ||
                          strcmp(version->path, "kept2") == 0 || strcmp(version->path, "a/y") == 0;
        cr_expect_eq(version->gone, gone, "%s", version->path);
    }
    plan_free(&plan);
    plan_match(&plan);
    plan_free(&plan);
}
