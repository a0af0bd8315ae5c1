/* The vault's embeddings a page at a time. */
#include "tests/vault_draft.h"

enum { MOST = 16 };

static struct embedding_page page_after(struct pool *pool, const char *model, int32_t after,
                                        size_t limit, float *vectors)
{
    struct embedding_page page;
    struct error err = {0};
    cr_assert_eq(vault_page_embeddings(pool, model, after, limit, vectors, &page, &err), 0, "%s",
                 err.message);
    return page;
}

Test(vault_page, pages_have_every_vector_once_in_order_and_exactly)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("one", "0123456789", 5, 1), *two = draft("two", "abc", 3, 10);
    struct write_result results[2] = {put(pool, one), put(pool, two)};
    float *vectors = malloc(sizeof(float) * EMBEDDING_DIM * MOST);
    for (size_t limit = 1; limit <= 9; limit++) {
        struct embedding_page page = {.last = INT32_MIN, .more = true};
        size_t seen = 0;
        while (page.more) {
            page = page_after(pool, "m1", page.last, limit, vectors);
            cr_assert_leq(page.count, limit);
            for (size_t i = 0; i < page.count; i++, seen++) {
                const struct draft *from = seen < 5 ? one : two;
                const size_t chunk = seen < 5 ? seen : seen - 5;
                cr_assert_lt(seen, 8);
                cr_expect_eq(memcmp(vectors + i * EMBEDDING_DIM, from->vectors[chunk],
                                    sizeof(from->vectors[0])),
                             0, "to the last bit");
                if (i + 1 == page.count) cr_expect_eq(page.last, from->chunks[chunk].embedding_id);
            }
        }
        cr_expect_eq(seen, 8, "pages of %zu", limit);
    }
    for (int i = 0; i < 2; i++) write_result_free(&results[i]);
    free(vectors);
    free(one);
    free(two);
    pool_free(pool);
}

Test(vault_page, an_empty_vault_is_an_empty_page)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    float *vectors = malloc(sizeof(float) * EMBEDDING_DIM * MOST);
    const struct embedding_page page = page_after(pool, "m1", 17, MOST, vectors);
    cr_expect_eq(page.count, 0);
    cr_expect_eq(page.last, 17);
    cr_expect_not(page.more);
    free(vectors);
    pool_free(pool);
}

Test(vault_page, only_what_a_search_could_find)
{
    char name[32], id[DOCUMENT_ID_SIZE], sql[256];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_vault");
    float *vectors = malloc(sizeof(float) * EMBEDDING_DIM * MOST);
    static const char *const theirs[] = {"0", "0", "0", "2", "0"};
    put_simple(pool, "a", "aaaa", 2, 1, id);
    for (size_t i = 0; i < 5; i++) {
        snprintf(sql, sizeof(sql),
                 "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
                 " array_fill(%s::real, ARRAY[1536]))",
                 id, theirs[i]);
        fixture_run(conn, sql);
    }
    struct embedding_page page = page_after(pool, "m2", INT32_MIN, MOST, vectors);
    cr_expect_eq(page.count, 1, "not another model's, and of no model only the one that is sound");
    cr_expect_eq(vectors[EMBEDDING_DIM - 1], 2);

    page = page_after(pool, "m1", INT32_MIN, MOST, vectors);
    cr_expect_eq(page.count, 3);
    page = page_after(pool, "m1", INT32_MIN, 4, vectors);
    cr_expect_eq(page.count, 2);
    cr_expect(page.more);
    page = page_after(pool, "m1", page.last, 1, vectors);
    cr_expect_eq(page.count, 0, "a page can be empty though there are more");
    cr_expect(page.more);
    page = page_after(pool, "m1", page.last, 2, vectors);
    cr_expect_eq(page.count, 1);
    cr_expect_not(page.more);
    PQfinish(conn);
    free(vectors);
    pool_free(pool);
}
