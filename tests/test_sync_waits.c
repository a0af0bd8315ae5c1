/* Syncs of a source that makes them wait, fails and goes on as the test wants it: how many run at a
 * time, who waits for whom, how they are cancelled, and what is told of them. */
#include "ingest/sync.h"
#include "storage/sources.h"
#include "storage/sync_state.h"

#include "tests/cluster_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- A kind of source that obeys this test (linked with --wrap=source_kind_find) ---- */

enum { ITEMS = 12 };
enum stage { NOWHERE, OPENING, LISTING, FETCHING, EMBEDDING };

static atomic_int wait_in;     /* enum stage: there it waits, and says so */
static atomic_int block_in;    /* there it hangs, without saying so, until it is stopped */
static atomic_int waiting_now; /* how many wait or hang */
static atomic_int working, most_working; /* lists that go on at once */
static atomic_bool slow_list;
static atomic_int listed;
static atomic_int version; /* of every item */
static atomic_bool unchanged, failing;
static atomic_int fetched;

static void nap(void)
{
    const struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
}

static bool stops(const struct source_context *context)
{
    return context->stop != NULL && atomic_load(context->stop);
}

/* Waits as long as the test wants it, as a rate limit would make it. */
static int pass(const struct source_context *context, enum stage stage, struct error *err)
{
    const bool here = strncmp(context->repository, "free", 4) != 0;
    if (here && atomic_load(&wait_in) == (int)stage) {
        context->waiting(context->arg, "the test's rate limit", time(NULL) + 3600);
        atomic_fetch_add(&waiting_now, 1);
        while (atomic_load(&wait_in) == (int)stage && !stops(context)) nap();
        atomic_fetch_sub(&waiting_now, 1);
        context->waiting(context->arg, NULL, 0);
    }
    if (here && atomic_load(&block_in) == (int)stage) {
        atomic_fetch_add(&waiting_now, 1);
        while (atomic_load(&block_in) == (int)stage && !stops(context)) nap();
        atomic_fetch_sub(&waiting_now, 1);
    }
    return stops(context) ? error_set(err, ERR_UNAVAILABLE, NULL, "the connection was closed") : 0;
}

static int fake_check(const char *repository, const char *config, struct error *err)
{
    (void)repository, (void)config, (void)err;
    return 0;
}

static int fake_open(const struct source_context *context, void **state, struct error *err)
{
    if (pass(context, OPENING, err) != 0) return -1;
    *state = (void *)context;
    return 0;
}

static int fake_list(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                     struct error *err)
{
    const struct source_context *context = state;
    atomic_fetch_add(&listed, 1);
    if (atomic_load(&unchanged) && context->cursor != NULL) return SOURCE_UNCHANGED;
    skip(arg, "picture.png", SKIP_BINARY);
    for (int i = 0; i < ITEMS; i++) {
        char path[32], sha[32];
        if (i == ITEMS / 2 && pass(context, LISTING, err) != 0) return -1;
        snprintf(path, sizeof(path), "file%02d.txt", i);
        snprintf(sha, sizeof(sha), "%s-%d-%d", context->repository, i, atomic_load(&version));
        const struct source_item one = {.path = path, .sha = sha, .size = 10};
        if (item(arg, &one) != 0) return -1;
        const int now = atomic_fetch_add(&working, 1) + 1;
        int most = atomic_load(&most_working);
        while (now > most && !atomic_compare_exchange_weak(&most_working, &most, now)) {
        }
        if (atomic_load(&slow_list))
            for (int j = 0; j < 5; j++) nap();
        atomic_fetch_sub(&working, 1);
    }
    return SOURCE_LISTED;
}

static int fake_fetch(void *state, const char *path, struct source_content *content,
                      enum skip_reason *reason, struct error *err)
{
    const struct source_context *context = state;
    (void)reason;
    atomic_fetch_add(&fetched, 1);
    if (strcmp(path, "file05.txt") == 0 && pass(context, FETCHING, err) != 0) return -1;
    if (strcmp(path, "file07.txt") == 0 && atomic_load(&failing))
        return error_set(err, ERR_INVALID, NULL, "it is broken");
    char text[256];
    const int length = snprintf(text, sizeof(text), "The text of %s in %s, version %d.", path,
                                context->repository, atomic_load(&version));
    content->text = strdup(text);
    content->length = (size_t)length;
    snprintf(content->sha, sizeof(content->sha), "%s-%d-%d", context->repository, atoi(path + 4),
             atomic_load(&version));
    return 0;
}

static int fake_cursor(void *state, char **text, struct error *err)
{
    (void)state, (void)err;
    *text = strdup("here");
    return 0;
}

static void fake_close(void *state)
{
    (void)state;
}

static const struct source_kind fake = {.name = "fake",
                                        .check = fake_check,
                                        .open = fake_open,
                                        .list = fake_list,
                                        .fetch = fake_fetch,
                                        .cursor = fake_cursor,
                                        .close = fake_close};

const struct source_kind *__wrap_source_kind_find(const char *name);
const struct source_kind *__wrap_source_kind_find(const char *name)
{
    return strcmp(name, "fake") == 0 ? &fake : NULL;
}

/* ---- A vault of this test's own ---- */

static char database[32];
static struct pipeline pipeline;

static void start(void)
{
    struct error err = {0};
    pipeline.pool = fixture_pool(6, database);
    pipeline.embedder = embedder_create("hash", &err);
}

static void finish(void)
{
    embedder_free(pipeline.embedder);
    pool_free(pipeline.pool);
}

TestSuite(sync_waits, .init = start, .fini = finish, .timeout = 600);

static struct syncer *create_syncer(int places)
{
    struct error err = {0};
    struct syncer *syncer = syncer_create(&pipeline, places, &err);
    cr_assert_not_null(syncer, "%s", err.message);
    return syncer;
}

static void add_source(const char *repository, const char *config, int interval_s)
{
    struct error err = {0};
    cr_assert_eq(sources_put(pipeline.pool, "fake", repository, config, interval_s, NULL, &err), 0,
                 "%s", err.message);
}

static void request(struct syncer *syncer, const char *repository)
{
    struct error err = {0};
    cr_assert_eq(syncer_request(syncer, "fake", repository, &err), 0, "%s", err.message);
}

static struct sync_figures figures_of(struct syncer *syncer, const char *repository, bool *there)
{
    struct sync_progress *rows;
    struct sync_figures figures = {0};
    size_t count;
    struct error err = {0};
    cr_assert_eq(syncer_progress(syncer, &rows, &count, &err), 0, "%s", err.message);
    *there = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].repository, repository) == 0) {
            *there = true;
            figures = rows[i].figures;
        }
        free(rows[i].source);
        free(rows[i].repository);
    }
    free(rows);
    return figures;
}

static bool is_there(struct syncer *syncer, const char *repository)
{
    bool there;
    figures_of(syncer, repository, &there);
    return there;
}

static struct sync_status status_of(const char *repository)
{
    struct sync_status *rows;
    struct sync_status found = {0};
    size_t count;
    struct error err = {0};
    cr_assert_eq(sync_status_list(pipeline.pool, &rows, &count, &err), 0, "%s", err.message);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].repository, repository) == 0)
            found = rows[i];
        else
            sync_status_free(&rows[i]);
    }
    free(rows);
    return found;
}

static void expect_status(const char *repository, const char *status, const char *message)
{
    struct sync_status row = status_of(repository);
    cr_expect_str_eq(row.status, status, "%s: %s", repository,
                     row.error_message != NULL ? row.error_message : "");
    if (message != NULL)
        cr_expect(row.error_message != NULL && strstr(row.error_message, message) != NULL, "%s",
                  row.error_message != NULL ? row.error_message : "no message");
    sync_status_free(&row);
}

static void wait_gone(struct syncer *syncer, const char *repository)
{
    while (is_there(syncer, repository)) nap();
}

static void sync_once(struct syncer *syncer, const char *repository)
{
    request(syncer, repository);
    wait_gone(syncer, repository);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Places ---- */

Test(sync_waits, as_many_run_as_there_are_places)
{
    struct syncer *syncer = create_syncer(2);
    char name[16];
    atomic_store(&slow_list, true);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        add_source(name, "{}", 0);
        request(syncer, name);
    }
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        wait_gone(syncer, name);
        expect_status(name, "success", NULL);
    }
    cr_expect_eq(atomic_load(&most_working), 2, "%d at once", atomic_load(&most_working));
    syncer_free(syncer);
}

Test(sync_waits, what_a_server_makes_wait_takes_no_place_and_no_permit)
{
    struct syncer *syncer = create_syncer(1);
    const enum stage stages[] = {OPENING, LISTING, FETCHING};
    char name[16];
    for (size_t s = 0; s < sizeof(stages) / sizeof(*stages); s++) {
        atomic_store(&wait_in, (int)stages[s]);
        /* More than there are places, and than there are writers. */
        for (int i = 0; i < 6; i++) {
            snprintf(name, sizeof(name), "waits%zu%d", s, i);
            add_source(name, "{}", 0);
            request(syncer, name);
        }
        while (atomic_load(&waiting_now) < 6) nap();
        snprintf(name, sizeof(name), "free%zu", s);
        add_source(name, "{}", 0);
        sync_once(syncer, name);
        expect_status(name, "success", NULL);
        cr_expect_eq(atomic_load(&waiting_now), 6);
        atomic_store(&most_working, 0);
        atomic_store(&slow_list, true);
        atomic_store(&wait_in, NOWHERE);
        for (int i = 0; i < 6; i++) {
            snprintf(name, sizeof(name), "waits%zu%d", s, i);
            wait_gone(syncer, name);
            expect_status(name, "success", NULL);
        }
        /* They went on one after another. */
        cr_expect_leq(atomic_load(&most_working), 1, "%d at once", atomic_load(&most_working));
        atomic_store(&slow_list, false);
    }
    syncer_free(syncer);
}

/* ---- Cancelling ---- */

Test(sync_waits, is_cancelled_wherever_it_is)
{
    struct syncer *syncer = create_syncer(2);
    struct error err = {0};
    char name[32];
    for (int hangs = 0; hangs < 2; hangs++) {
        for (int stage = OPENING; stage <= FETCHING; stage++) {
            snprintf(name, sizeof(name), "cancel%d%d", hangs, stage);
            /* Also one with an interval, which is not to begin anew at once. */
            add_source(name, "{}", stage == LISTING ? 3600 : 0);
            atomic_store(hangs ? &block_in : &wait_in, stage);
            request(syncer, name);
            while (atomic_load(&waiting_now) == 0) nap();
            const double before = now_s();
            cr_assert_eq(syncer_cancel(syncer, "fake", name, &err), 0, "%s", err.message);
            wait_gone(syncer, name);
            cr_expect_lt(now_s() - before, 60.0, "not at the end of the wait");
            expect_status(name, "error", "cancelled");
            atomic_store(&block_in, NOWHERE);
            atomic_store(&wait_in, NOWHERE);
            cr_expect_eq(syncer_cancel(syncer, "fake", name, &err), -1);
            cr_expect_eq(err.code, ERR_NOT_FOUND);
            sync_once(syncer, name);
            expect_status(name, "success", NULL);
        }
    }
    syncer_free(syncer);
}

Test(sync_waits, is_cancelled_before_it_begins)
{
    struct syncer *syncer = create_syncer(1);
    struct error err = {0};
    bool wanted;
    add_source("first", "{}", 0);
    add_source("second", "{}", 0);
    atomic_store(&block_in, LISTING);
    request(syncer, "first");
    while (atomic_load(&waiting_now) == 0) nap();
    request(syncer, "second");
    /* Nor is what was asked for again begun. */
    cr_expect_eq(syncer_request_again(syncer, "fake", "second", &err), 1);
    cr_assert_eq(syncer_cancel(syncer, "fake", "second", &err), 0, "%s", err.message);
    cr_expect_not(is_there(syncer, "second"));
    expect_status("second", "error", "cancelled before it began");
    cr_assert_eq(sync_is_wanted(pipeline.pool, "fake", "second", &wanted, &err), 0);
    cr_expect_not(wanted);
    expect_status("first", "in_progress", NULL);
    atomic_store(&block_in, NOWHERE);
    wait_gone(syncer, "first");
    expect_status("first", "success", NULL);
    syncer_free(syncer);
}

Test(sync_waits, another_daemons_sync_is_cancelled_and_asked_for_again)
{
    struct error err = {0};
    struct syncer *runs = create_syncer(1);
    struct syncer *asks = create_syncer(1);
    add_source("docs", "{}", 0);
    atomic_store(&block_in, LISTING);
    request(runs, "docs");
    while (atomic_load(&waiting_now) == 0) nap();
    cr_assert_eq(syncer_request_again(asks, "fake", "docs", &err), 1, "%s", err.message);
    atomic_store(&block_in, NOWHERE);
    while (atomic_load(&listed) < 2) nap();
    wait_gone(runs, "docs");
    wait_gone(asks, "docs");
    expect_status("docs", "success", NULL);

    atomic_store(&block_in, LISTING);
    request(runs, "docs");
    while (atomic_load(&waiting_now) == 0) nap();
    const double before = now_s();
    cr_assert_eq(syncer_cancel(asks, "fake", "docs", &err), 0, "%s", err.message);
    wait_gone(runs, "docs");
    cr_expect_lt(now_s() - before, 60.0);
    expect_status("docs", "error", "cancelled");
    atomic_store(&block_in, NOWHERE);
    cr_expect_eq(syncer_cancel(asks, "fake", "docs", &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    syncer_free(asks);
    syncer_free(runs);
}

Test(sync_waits, the_syncer_is_freed_while_they_wait)
{
    struct syncer *syncer = create_syncer(2);
    add_source("one", "{}", 0);
    add_source("two", "{}", 3600);
    atomic_store(&wait_in, FETCHING);
    request(syncer, "one");
    while (atomic_load(&waiting_now) == 0) nap();
    const double before = now_s();
    syncer_free(syncer);
    cr_expect_lt(now_s() - before, 60.0);
    expect_status("one", "error", "interrupted");
}

/* ---- What is told ---- */

Test(sync_waits, says_for_what_it_waits_and_how_far_it_is)
{
    struct syncer *syncer = create_syncer(1);
    bool there;
    add_source("docs", "{}", 0);
    atomic_store(&wait_in, FETCHING);
    request(syncer, "docs");
    while (atomic_load(&waiting_now) == 0) nap();
    struct sync_figures figures;
    do {
        nap();
        figures = figures_of(syncer, "docs", &there);
    } while (figures.written < ITEMS - 1);
    cr_expect_str_eq(figures.waits_for, "the test's rate limit");
    cr_expect_gt(figures.waits_until, time(NULL) + 3000);
    cr_expect_eq(figures.phase, SYNC_DOCUMENTS);
    cr_expect_eq(figures.total, ITEMS);
    cr_expect_eq(figures.fetched, ITEMS - 1);
    cr_expect_eq(figures.documents, ITEMS - 1);
    cr_expect_eq(figures.skipped[SKIP_BINARY], 1);

    /* The database is told, too. */
    struct sync_status row;
    json_t *progress = NULL;
    for (;;) {
        row = status_of("docs");
        if (row.progress != NULL && row.document_count == ITEMS - 1) break;
        sync_status_free(&row);
        nap();
    }
    progress = json_loads(row.progress, 0, NULL);
    cr_expect_str_eq(row.status, "in_progress");
    cr_expect_null(row.last);
    cr_expect_str_eq(json_string_value(json_object_get(progress, "waitsFor")),
                     "the test's rate limit");
    cr_expect_eq(json_integer_value(json_object_get(progress, "written")), ITEMS - 1);
    json_decref(progress);
    sync_status_free(&row);

    atomic_store(&wait_in, NOWHERE);
    wait_gone(syncer, "docs");
    row = status_of("docs");
    cr_expect_null(row.progress);
    cr_expect_not_null(row.last);
    cr_expect_eq(row.document_count, ITEMS);
    sync_status_free(&row);
    syncer_free(syncer);
}

/* ---- Cursors ---- */

static int count_lists(struct syncer *syncer)
{
    atomic_store(&listed, 0);
    sync_once(syncer, "docs");
    expect_status("docs", "success", NULL);
    return atomic_load(&listed);
}

static void run_sql(const char *sql)
{
    PGconn *conn = fixture_connect(database, "tekup_admin");
    fixture_run(conn, sql);
    PQfinish(conn);
}

Test(sync_waits, unchanged_is_believed_where_the_vault_is_as_it_was_left)
{
    struct syncer *syncer = create_syncer(1);
    struct error err = {0};
    add_source("docs", "{}", 0);
    sync_once(syncer, "docs");
    atomic_store(&unchanged, true);
    atomic_store(&fetched, 0);
    cr_expect_eq(count_lists(syncer), 1);
    cr_expect_eq(atomic_load(&fetched), 0);

    /* Another config: no cursor. It is listed once, whole. */
    add_source("docs", "{\"other\": true}", 0);
    cr_expect_eq(count_lists(syncer), 1);
    cr_expect_eq(atomic_load(&fetched), 0);
    cr_expect_eq(count_lists(syncer), 1);

    /* Somebody has changed a document, and their number stays. */
    run_sql("UPDATE vault.\"VaultDocument\" SET \"sha\" = 'x' WHERE \"path\" = 'file03.txt'");
    cr_expect_eq(count_lists(syncer), 2);
    cr_expect_eq(atomic_load(&fetched), 1);
    run_sql("DELETE FROM vault.\"VaultDocument\" WHERE \"path\" = 'file03.txt'");
    cr_expect_eq(count_lists(syncer), 2);
    cr_expect_eq(atomic_load(&fetched), 2);

    /* One that failed for a document, or was cancelled, and then the source is again as it was. */
    atomic_store(&unchanged, false);
    atomic_store(&version, 1);
    atomic_store(&failing, true);
    sync_once(syncer, "docs");
    expect_status("docs", "error", "file07.txt");
    atomic_store(&failing, false);
    atomic_store(&version, 0);
    atomic_store(&unchanged, true);
    cr_expect_eq(count_lists(syncer), 2);
    atomic_store(&fetched, 0);
    cr_expect_eq(count_lists(syncer), 1);

    atomic_store(&unchanged, false);
    atomic_store(&version, 2);
    atomic_store(&block_in, FETCHING);
    request(syncer, "docs");
    while (atomic_load(&waiting_now) == 0) nap();
    cr_assert_eq(syncer_cancel(syncer, "fake", "docs", &err), 0);
    wait_gone(syncer, "docs");
    atomic_store(&block_in, NOWHERE);
    atomic_store(&version, 0);
    atomic_store(&unchanged, true);
    cr_expect_eq(count_lists(syncer), 2);
    syncer_free(syncer);
}
