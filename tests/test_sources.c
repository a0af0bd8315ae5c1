#include "tests/cluster_fixture.h"

#include "storage/sources.h"

static void put(struct pool *pool, const char *repository, const char *config, int interval,
                bool expected_created)
{
    struct error err = {0};
    bool created;
    cr_assert_eq(sources_put(pool, "local", repository, config, interval, &created, &err), 0, "%s",
                 err.message);
    cr_expect_eq(created, expected_created);
}

static void put_document(struct pool *pool, const char *repository, const char *path)
{
    struct error err = {0};
    struct write_result result;
    struct document_write write = {.source = "local",
                                   .repository = repository,
                                   .path = path,
                                   .content = "x",
                                   .content_length = 1};
    cr_assert_eq(vault_put_document(pool, &write, &result, &err), 0, "%s", err.message);
    write_result_free(&result);
}

/* "repository status count message" of each row, newest first. */
static const char *states(struct pool *pool)
{
    static char text[1024];
    struct error err = {0};
    struct sync_status *rows;
    size_t count;
    cr_assert_eq(sync_status_list(pool, &rows, &count, &err), 0, "%s", err.message);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char line[256];
        snprintf(line, sizeof(line), "%s %s %d %s;", rows[i].repository, rows[i].status,
                 rows[i].document_count,
                 rows[i].error_message != NULL ? rows[i].error_message : "-");
        strncat(text, line, sizeof(text) - strlen(text) - 1);
        cr_expect_eq(strlen(rows[i].id), 25);
        cr_expect_str_eq(rows[i].source, "local");
        cr_expect_eq(strlen(rows[i].last_sync_at), 24);
        cr_expect_eq(rows[i].last_sync_at[23], 'Z');
        sync_status_free(&rows[i]);
    }
    free(rows);
    return text;
}

static void set(struct pool *pool, const char *repository, const char *status, const char *message)
{
    struct error err = {0};
    cr_assert_eq(sync_status_set(pool, "local", repository, status, message, &err), 0, "%s",
                 err.message);
}

Test(sources, are_added_changed_listed_and_removed)
{
    char name[32];
    struct error err = {0};
    struct source source, *sources;
    size_t count;
    char *cursor;
    struct pool *pool = fixture_pool(1, name);
    cr_assert_eq(sources_list(pool, &sources, &count, &err), 0);
    cr_expect_eq(count, 0);
    free(sources);
    put(pool, "/b", "{\"path\": \"/b\"}", 0, true);
    put(pool, "/a", "{\"path\": \"/a\", \"n\": 1}", 3600, true);
    cr_expect_str_eq(states(pool), "/a pending 0 -;/b pending 0 -;");
    set(pool, "/b", "success", NULL);
    put(pool, "/b", "{\"path\": \"/other\"}", 60, false);
    cr_expect_not_null(strstr(states(pool), "/b success"), "changing it leaves its status");

    cr_assert_eq(sources_list(pool, &sources, &count, &err), 0);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(sources[0].repository, "/a");
    cr_expect_str_eq(sources[0].config, "{\"n\": 1, \"path\": \"/a\"}");
    cr_expect_eq(sources[0].interval_s, 3600);
    cr_expect_str_eq(sources[1].repository, "/b");
    for (size_t i = 0; i < count; i++) source_free(&sources[i]);
    free(sources);
    cr_assert_eq(sources_get(pool, "local", "/b", &source, &err), 0, "%s", err.message);
    cr_expect_str_eq(source.source, "local");
    cr_expect_str_eq(source.config, "{\"path\": \"/other\"}");
    cr_expect_eq(source.interval_s, 60);
    cr_expect_eq(strlen(source.created_at), 24);
    source_free(&source);

    put_document(pool, "/b", "kept");
    cr_assert_eq(cursor_set(pool, "local", "/b", "page 7", &err), 0);
    cr_assert_eq(sources_delete(pool, "local", "/b", &err), 0, "%s", err.message);
    cr_expect_str_eq(states(pool), "/a pending 0 -;");
    cr_assert_eq(cursor_get(pool, "local", "/b", &cursor, &err), 0);
    cr_expect_null(cursor);
    struct vault_counts counts;
    cr_assert_eq(vault_count(pool, &counts, &err), 0);
    cr_expect_eq(counts.documents, 1, "its documents stay");
    cr_expect_eq(sources_delete(pool, "local", "/b", &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(sources_get(pool, "local", "/b", &source, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    pool_free(pool);
}

Test(sources, refuse_bad_input_by_its_field)
{
    char name[32], deep[5001];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    for (size_t i = 0; i < sizeof(deep) - 1; i++) deep[i] = (char)('a' + rand() % 26);
    deep[sizeof(deep) - 1] = '\0';
    const struct {
        const char *source, *repository, *config;
        int interval;
        const char *field;
    } wrong[] = {
        {"", "/r", "{}", 0, "source"},
        {"local", "", "{}", 0, "repository"},
        {"local", NULL, "{}", 0, "repository"},
        {"local", "\xff", "{}", 0, "repository"},
        {"local", "/r", NULL, 0, "config"},
        {"local", "/r", "", 0, "config"},
        {"local", "/r", "{", 0, "config"},
        {"local", "/r", "[]", 0, "config"},
        {"local", "/r", "\"x\"", 0, "config"},
        {"local", "/r", "{\"\xff\": 1}", 0, "config"},
        {"local", "/r", "{}", -1, "intervalSeconds"},
        {"local", deep, "{}", 0, "repository"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        err = (struct error){0};
        cr_expect_eq(sources_put(pool, wrong[i].source, wrong[i].repository, wrong[i].config,
                                 wrong[i].interval, NULL, &err),
                     -1, "%zu is taken", i);
        cr_expect_eq(err.code, ERR_INVALID, "%zu: %s", i, err.message);
        cr_expect_str_eq(err.field, wrong[i].field, "%zu: %s", i, err.message);
    }
    cr_expect_str_eq(states(pool), "", "nothing was kept");
    pool_free(pool);
}

Test(sync_status, goes_its_way_and_counts)
{
    char name[32];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    put(pool, "/a", "{}", 0, true);
    put_document(pool, "/a", "1");
    put_document(pool, "/a", "2");
    put_document(pool, "/other", "3");
    set(pool, "/a", "in_progress", NULL);
    cr_expect_str_eq(states(pool), "/a in_progress 0 -;", "it counts when it is done");
    set(pool, "/a", "success", NULL);
    cr_expect_str_eq(states(pool), "/a success 2 -;");
    put_document(pool, "/a", "4");
    set(pool, "/a", "in_progress", NULL);
    cr_expect_str_eq(states(pool), "/a in_progress 2 -;", "and keeps the count until then");
    set(pool, "/a", "error", "disk is \xff gone\xc3");
    cr_expect_str_eq(states(pool), "/a error 3 disk is ? gone?;");
    set(pool, "/a", "success", NULL);
    cr_expect_str_eq(states(pool), "/a success 3 -;", "the message goes with the error");
    usleep(5000); /* times have milliseconds */
    set(pool, "/new", "pending", NULL);
    cr_expect_str_eq(states(pool), "/new pending 0 -;/a success 3 -;", "newest first");

    cr_expect_eq(sync_status_set(pool, "local", "/a", "done", NULL, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "status");
    cr_expect_eq(sync_status_set(pool, "local", "", "error", NULL, &err), -1);
    cr_expect_str_eq(err.field, "repository");
    pool_free(pool);
}

Test(sync_status, does_not_stay_in_progress_after_a_crash)
{
    char name[32];
    struct error err = {0};
    size_t recovered;
    struct pool *pool = fixture_pool(1, name);
    set(pool, "/a", "in_progress", NULL);
    set(pool, "/b", "success", NULL);
    set(pool, "/c", "pending", NULL);
    cr_assert_eq(sync_status_recover(pool, &recovered, &err), 0, "%s", err.message);
    cr_expect_eq(recovered, 1);
    cr_expect_not_null(strstr(states(pool), "/a error 0 tekupd ended while"), "%s", states(pool));
    cr_expect_not_null(strstr(states(pool), "/b success"));
    cr_expect_not_null(strstr(states(pool), "/c pending"));
    cr_assert_eq(sync_status_recover(pool, &recovered, &err), 0);
    cr_expect_eq(recovered, 0);
    pool_free(pool);
}

Test(cursors, are_kept_for_each_repository)
{
    char name[32];
    struct error err = {0};
    char *cursor;
    struct pool *pool = fixture_pool(1, name);
    cr_assert_eq(cursor_get(pool, "github", "a/b", &cursor, &err), 0);
    cr_expect_null(cursor);
    cr_assert_eq(cursor_set(pool, "github", "a/b", "one", &err), 0);
    cr_assert_eq(cursor_set(pool, "github", "a/b", "two æ", &err), 0);
    cr_assert_eq(cursor_set(pool, "github", "a/c", "", &err), 0);
    cr_assert_eq(cursor_get(pool, "github", "a/b", &cursor, &err), 0);
    cr_expect_str_eq(cursor, "two æ");
    free(cursor);
    cr_assert_eq(cursor_get(pool, "github", "a/c", &cursor, &err), 0);
    cr_expect_str_eq(cursor, "");
    free(cursor);
    cr_expect_eq(cursor_set(pool, "github", "a/b", "\xff", &err), -1);
    cr_expect_str_eq(err.field, "cursor");
    cr_expect_eq(cursor_set(pool, "github", "a/b", NULL, &err), -1);
    pool_free(pool);
}
