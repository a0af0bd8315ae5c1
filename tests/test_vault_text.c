/* Full-text search by PostgreSQL: what goes there and what comes back. Which words somebody means
 * by a query is test_text_query.c's. */
#include "tests/vault_draft.h"

#include "storage/base/buffer.h"
#include "storage/vault/vault_text.h"

#include <strings.h>

static void list_words(struct pool *pool, const char *text, const struct vault_wanted *wanted,
                       struct vault_words *list)
{
    struct error err = {0};
    cr_assert_eq(vault_list_words(pool, &text, 1, wanted, list, &err), 0, "%s", err.message);
}

/* Expects the words of a text, each as "word/stem" at its place. */
static void expect_words(const char *text, const struct vault_words *list, const char *words)
{
    struct buffer said = {0};
    for (size_t i = 0; i < list->count; i++) {
        const struct vault_word *word = &list->words[i];
        cr_expect_leq(word->start + word->length, strlen(text));
        cr_expect_eq(strncasecmp(text + word->start, word->word, word->length), 0, "%s at %zu",
                     word->word, word->start);
        buffer_format(&said, "%s%zu:%s/%s", i > 0 ? " " : "", word->place, word->word, word->stem);
    }
    cr_expect_str_eq(said.data != NULL ? said.data : "", words);
    buffer_free(&said);
}

/* ---- Words ---- */

Test(vault_text, lists_words_where_they_are)
{
    char name[32];
    struct error err = {0};
    struct vault_words lists[4];
    struct pool *pool = fixture_pool(1, name);
    static const char *const texts[] = {
        "Bells, RINGING in db_pool.c",
        "",
        " \xe2\x82\xac, bl\xc3\xa5 bells \xf0\x9f\x98\x80!", /* bytes are counted, not letters */
        "... -- \n\t",
    };
    cr_assert_eq(vault_list_words(pool, texts, 4, NULL, lists, &err), 0, "%s", err.message);
    expect_words(texts[0], &lists[0],
                 "1:bells/bell 2:ringing/ring 3:in/in 4:db/db 5:pool/pool 6:c/c");
    expect_words(texts[1], &lists[1], "");
    expect_words(texts[2], &lists[2], "1:bl\xc3\xa5/bl\xc3\xa5 2:bells/bell");
    cr_assert_eq(lists[2].count, 2);
    cr_expect_eq(lists[2].words[1].start, strlen(" \xe2\x82\xac, bl\xc3\xa5 "));
    expect_words(texts[3], &lists[3], "");
    for (size_t i = 0; i < 4; i++) vault_words_free(&lists[i]);
    cr_assert_eq(vault_list_words(pool, texts, 0, NULL, lists, &err), 0, "%s", err.message);
    pool_free(pool);
}

Test(vault_text, lists_only_the_words_that_are_wanted)
{
    char name[32];
    struct vault_words list;
    struct pool *pool = fixture_pool(1, name);
    static const char text[] = "Ringing bells ring; the bellows and 50% belong to nobody";
    static const char *const stems[] = {"bell", "nobodi"}, *const prefixes[] = {"belo", "r", "%"};
    const struct vault_wanted both = {stems, 2, prefixes, 3}, none = {0};
    const struct vault_wanted some = {stems, 1, NULL, 0};
    list_words(pool, text, &both, &list);
    expect_words(text, &list,
                 "1:ringing/ring 2:bells/bell 3:ring/ring 8:belong/belong 10:nobody/nobodi");
    vault_words_free(&list);
    list_words(pool, text, &some, &list);
    expect_words(text, &list, "2:bells/bell");
    vault_words_free(&list);
    list_words(pool, text, &none, &list);
    expect_words(text, &list, "");
    vault_words_free(&list);
    cr_expect_null(list.words);
    pool_free(pool);
}

/* No character is cut in two where a text is longer than is looked at. */
Test(vault_text, looks_at_the_first_128_kib_of_a_text)
{
    enum { MOST = 128 << 10 };
    char name[32];
    struct vault_words list;
    struct pool *pool = fixture_pool(1, name);
    char *text = malloc(MOST + 64);
    cr_assert_not_null(text);
    for (int before = 0; before < 4; before++) {
        memset(text, ' ', MOST);
        memcpy(text, "first", 5);
        /* Four letters of two bytes each, the last of which may be cut off or not. */
        strcpy(text + MOST - 4 - before, "\xc3\xa6\xc3\xa6\xc3\xa6\xc3\xa6 behind");
        list_words(pool, text, NULL, &list);
        cr_assert_eq(list.count, 2);
        cr_expect_eq(list.words[1].start, (size_t)(MOST - 4 - before));
        cr_expect_eq(list.words[1].length, (size_t)(4 + before) / 2 * 2);
        vault_words_free(&list);
    }
    free(text);
    pool_free(pool);
}

/* ---- Searching ---- */

static size_t search(struct pool *pool, struct vault_text_search asked, const char *query,
                     const char *paths)
{
    const struct vault_part part = {query, 1};
    struct error err = {0};
    struct vault_hit *hits;
    struct buffer said = {0};
    size_t found;
    asked.query = query;
    if (asked.part_count == 0) {
        asked.parts = &part;
        asked.part_count = 1;
    }
    if (asked.limit == 0) asked.limit = 100;
    cr_assert_eq(vault_text_search(pool, &asked, &hits, &found, &err), 0, "%s", err.message);
    for (size_t i = 0; i < found; i++) {
        buffer_format(&said, "%s%s", i > 0 ? " " : "", hits[i].path);
        cr_expect_gt(hits[i].embedding, 0);
        cr_expect_geq(hits[i].similarity, 0);
        cr_expect(i == 0 || hits[i - 1].similarity >= hits[i].similarity);
        cr_expect_str_eq(hits[i].source, "local");
        cr_expect_str_eq(hits[i].repository, "/docs");
        cr_expect_eq(strlen(hits[i].document), 25);
    }
    cr_expect_str_eq(said.data != NULL ? said.data : "", paths, "%s: %s", query, said.data);
    buffer_free(&said);
    vault_hits_free(hits, found);
    return found;
}

static void put_some(struct pool *pool)
{
    struct draft *tagged = draft("c/tagged", "There is one bell on the wall", 1, 30);
    tagged->write.metadata = "{\"kind\": \"small\", \"tags\": [\"a\"]}";
    put_simple(pool, "a/many", "bell bell bell bell, bell bell bell bell", 2, 10, NULL);
    put_simple(pool, "b/few", "A long way to where there may be a bell or a heron somewhere", 1, 20,
               NULL);
    struct write_result result = put(pool, tagged);
    write_result_free(&result);
    free(tagged);
    put_simple(pool, "d/none", "Nothing of it", 1, 40, NULL);
}

Test(vault_text, finds_passages_best_first)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    const struct vault_text_search any = {0};
    put_some(pool);
    search(pool, any, "'bell'", "a/many c/tagged b/few");
    search(pool, any, "'bell' & 'heron'", "b/few");
    search(pool, any, "'heron' | 'noth'", "d/none b/few");
    search(pool, any, "'nowhere'", "");
    search(pool, any, "", ""); /* a query without words matches nothing */

    search(pool, (struct vault_text_search){.chunks = true}, "'bell'",
           "a/many a/many c/tagged b/few");
    search(pool, (struct vault_text_search){.chunks = true, .limit = 2}, "'bell'", "a/many a/many");
    search(pool, (struct vault_text_search){.limit = 2}, "'bell'", "a/many c/tagged");

    /* Ranked by its parts and their weights, which need not be what it has to match. */
    const struct vault_part heron[] = {{"'heron'", 5}, {"'bell'", 0.001f}};
    search(pool, (struct vault_text_search){.parts = heron, .part_count = 2}, "'bell'",
           "b/few a/many c/tagged");
    pool_free(pool);
}

Test(vault_text, finds_what_the_filters_let_pass)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    put_some(pool);
    search(pool, (struct vault_text_search){.source = "local"}, "'bell'", "a/many c/tagged b/few");
    search(pool, (struct vault_text_search){.source = "github"}, "'bell'", "");
    search(pool, (struct vault_text_search){.repository = "/docs"}, "'bell'",
           "a/many c/tagged b/few");
    search(pool, (struct vault_text_search){.repository = "/doc"}, "'bell'", "");
    search(pool, (struct vault_text_search){.path_prefix = "c/"}, "'bell'", "c/tagged");
    search(pool, (struct vault_text_search){.path_prefix = "%"}, "'bell'", "");
    search(pool, (struct vault_text_search){.metadata = "{\"tags\": [\"a\"]}"}, "'bell'",
           "c/tagged");
    search(pool,
           (struct vault_text_search){.source = "local",
                                      .repository = "/docs",
                                      .path_prefix = "c",
                                      .metadata = "{}",
                                      .chunks = true},
           "'bell'", "c/tagged");
    pool_free(pool);
}

Test(vault_text, refuses_metadata_that_is_none)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    const struct vault_part part = {"'x'", 1};
    static const char *const wrong[] = {"{", "", "{\"a\": \"\\u0000\"}", "\xff"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct vault_text_search asked = {
            .query = "'x'", .parts = &part, .part_count = 1, .limit = 1, .metadata = wrong[i]};
        struct error err = {0};
        struct vault_hit *hits;
        size_t found = 7;
        cr_expect_eq(vault_text_search(pool, &asked, &hits, &found, &err), -1);
        cr_expect_eq(err.code, ERR_INVALID, "%s", err.message);
        cr_expect_str_eq(err.field, "metadata");
        cr_expect_null(hits);
        cr_expect_eq(found, 0);
    }
    search(pool, (struct vault_text_search){0}, "'x'", ""); /* the connection is fit for more */
    pool_free(pool);
}

Test(vault_text, says_which_passages_match)
{
    char name[32];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("p", "Bells ring. Herons sing.", 2, 1);
    struct write_result result = put(pool, one);
    const int64_t first = one->chunks[0].embedding_id, second = one->chunks[1].embedding_id;
    const int64_t ids[] = {second, first, 999999, -1, INT64_MAX, second};
    bool passes[6] = {true, true, true, true, true, true};
    cr_assert_eq(vault_text_match(pool, "'heron'", ids, 6, passes, &err), 0, "%s", err.message);
    const bool wanted[] = {true, false, false, false, false, true};
    for (size_t i = 0; i < 6; i++) cr_expect_eq(passes[i], wanted[i], "%zu", i);
    cr_assert_eq(vault_text_match(pool, "'bell' <-> 'ring'", ids, 2, passes, &err), 0);
    cr_expect(!passes[0] && passes[1]);
    cr_assert_eq(vault_text_match(pool, "!'bell'", ids, 2, passes, &err), 0);
    cr_expect(passes[0] && !passes[1]);
    cr_assert_eq(vault_text_match(pool, "'bell'", ids, 0, passes, &err), 0);
    write_result_free(&result);
    free(one);
    pool_free(pool);
}

/* ---- Filling in ---- */

Test(vault_text, fills_in_the_words_of_what_was_there_before)
{
    enum { DOCUMENTS = 130, FEW = 100 };
    char name[32], path[16];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    for (unsigned i = 0; i < DOCUMENTS; i++) {
        snprintf(path, sizeof(path), "%03u", i);
        put_simple(pool, path, i == DOCUMENTS - 1 ? "a heron" : "a bell", 1, i, NULL);
    }
    bool complete = false;
    cr_assert_eq(vault_text_fill(pool, &complete, &err), 0, "%s", err.message);
    cr_expect(complete, "nothing was there before");

    /* As after an upgrade from what had no words. */
    PGconn *conn = fixture_connect(name, "tekup_admin");
    fixture_run(conn, "DELETE FROM tekupdb.\"ChunkWords\"");
    fixture_run(conn, "UPDATE tekupdb.\"WordsState\" SET \"complete\" = false");
    search(pool, (struct vault_text_search){0}, "'heron'", "");
    int rounds = 0;
    for (complete = false; !complete && rounds < 10; rounds++) {
        cr_assert_eq(vault_text_fill(pool, &complete, &err), 0, "%s", err.message);
        if (rounds == 0) {
            cr_expect_not(complete);
            cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM tekupdb.\"ChunkWords\""),
                             "100");
        }
    }
    cr_expect_eq(rounds, (DOCUMENTS + FEW - 1) / FEW);
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM tekupdb.\"ChunkWords\""), "130");
    search(pool, (struct vault_text_search){0}, "'heron'", "129");
    PQfinish(conn);
    pool_free(pool);
}
