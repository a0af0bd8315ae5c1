/* test_sync_cursor.c: what one sync leaves for the next. */
#include "ingest/sync_cursor.h"
#include "storage/migrate.h"
#include "storage/sources.h"
#include "tests/cluster_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char database[32];
static struct pool *pool;

static void start(void)
{
    pool = fixture_pool(2, database);
    cr_assert_eq(sources_put(pool, "github", "a/b", "{}", 0, &(bool){false}, NULL), 0);
}

static void finish(void)
{
    pool_free(pool);
}

TestSuite(sync_cursor, .init = start, .fini = finish, .timeout = 300);

static struct sync_cursor read_back(const char *config)
{
    struct sync_cursor cursor;
    struct error err = {0};
    cr_assert_eq(sync_cursor_read(pool, "github", "a/b", config, &cursor, &err), 0, "%s",
                 err.message);
    return cursor;
}

Test(sync_cursor, comes_back_as_it_was_left)
{
    struct sync_cursor left = {.source = strdup("{\"etag\": \"\\u00e6 \\\"1\\\"\"}"),
                               .vault = {true, {1, 2, 0xfe}}};
    struct error err = {0};
    cr_assert_eq(sync_cursor_add_skipped(&left, "z/logo.png", "s1", SKIP_BINARY), 0);
    cr_assert_eq(sync_cursor_add_skipped(&left, "a/empty", "s2", SKIP_EMPTY), 0);
    cr_assert_eq(sync_cursor_write(pool, "github", "a/b", "{\"x\": 1}", 0, &left, &err), 0, "%s",
                 err.message);
    struct sync_cursor found = read_back("{\"x\": 1}");
    cr_expect_str_eq(found.source, left.source);
    cr_expect(vault_state_same(&found.vault, &left.vault));
    cr_expect_eq(sync_cursor_skipped(&found, "z/logo.png", "s1"), SKIP_BINARY);
    cr_expect_eq(sync_cursor_skipped(&found, "a/empty", "s2"), SKIP_EMPTY);
    cr_expect_eq(sync_cursor_skipped(&found, "a/empty", "s3"), SKIP_NONE);
    cr_expect_eq(sync_cursor_skipped(&found, "b", "s2"), SKIP_NONE);
    sync_cursor_free(&found);
    sync_cursor_free(&left);
}

static void expect_nothing(const char *config)
{
    struct sync_cursor cursor = read_back(config);
    cr_expect_null(cursor.source);
    cr_expect_not(cursor.vault.known);
    cr_expect_eq(cursor.skipped_count, 0);
    cr_expect_eq(sync_cursor_skipped(&cursor, "a", "s"), SKIP_NONE);
    sync_cursor_free(&cursor);
}

Test(sync_cursor, is_of_one_config)
{
    struct sync_cursor left = {.source = strdup("x"), .vault = {.known = true}};
    expect_nothing("{}");
    cr_assert_eq(sync_cursor_write(pool, "github", "a/b", "{}", 0, &left, NULL), 0);
    expect_nothing("{\"path\": \"/\"}");
    sync_cursor_free(&left);
}

Test(sync_cursor, damaged_is_none)
{
    const char *damaged[] = {
        "", "{", "[]", "null", "{\"config\": 5}", "{\"listedAt\": \"2026-11-28T07:00:00Z\"}"};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
        cr_assert_eq(cursor_set(pool, "github", "a/b", damaged[i], NULL), 0);
        expect_nothing("{}");
    }
}
