/* What a sync and the mirror ask of the vault, and every call when the server is away. */
#include "tests/vault_draft.h"

/* ---- For a sync ---- */

struct versions {
    char text[512];
    int left; /* stop after so many */
};

static int note_version(void *arg, const char *id, const char *path, const char *sha,
                        const char *url, bool current)
{
    struct versions *versions = arg;
    char line[128];
    cr_expect_neq(id[0], '\0');
    cr_expect_null(url);
    snprintf(line, sizeof(line), "%s:%s:%d ", path, sha != NULL ? sha : "-", current);
    strncat(versions->text, line, sizeof(versions->text) - strlen(versions->text) - 1);
    return --versions->left == 0;
}

static const char *versions_of(struct pool *pool, const char *model)
{
    static struct versions versions;
    struct error err = {0};
    versions = (struct versions){.left = -1};
    cr_assert_eq(vault_list_versions(pool, "local", "/docs", model, note_version, &versions, &err),
                 0, "%s", err.message);
    return versions.text;
}

Test(vault_sync, lists_versions_with_whether_they_are_current)
{
    char name[32], id[DOCUMENT_ID_SIZE], sql[256];
    struct error err = {0};
    struct versions versions = {.left = 1};
    struct pool *pool = fixture_pool(2, name);
    PGconn *conn = fixture_connect(name, "tekup_vault");
    put_simple(pool, "a", "aaaa", 2, 1, id);
    cr_expect_str_eq(versions_of(pool, "m1"), "a:sha:1 ");
    cr_expect_str_eq(versions_of(pool, "m2"), "a:sha:0 ");
    /* An embedding of somebody who says nothing of the model counts as the asking one's. */
    snprintf(sql, sizeof(sql),
             "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
             " array_fill(1::real, ARRAY[1536]))",
             id);
    fixture_run(conn, sql);
    cr_expect_str_eq(versions_of(pool, "m1"), "a:sha:1 ");
    fixture_run(conn, "DELETE FROM vault.\"VaultEmbedding\"");
    cr_expect_str_eq(versions_of(pool, "m1"), "a:sha:0 ", "nothing of it is embedded");
    fixture_run(conn, sql);
    cr_expect_str_eq(versions_of(pool, "m1"), "a:sha:1 ");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET sha = NULL");
    cr_expect_str_eq(versions_of(pool, "m1"), "a:-:1 ");

    put_simple(pool, "b", "b", 1, 1, NULL);
    cr_expect_eq(vault_list_versions(pool, "local", "/docs", "m1", note_version, &versions, &err),
                 -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    cr_expect_eq(count(pool).documents, 2, "the pool goes on");
    PQfinish(conn);
    pool_free(pool);
}

Test(vault_sync, finds_embeddings_that_were_paid_for)
{
    enum { ASKED = 600 };
    char name[32];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("one", "0123456789", 2, 1);
    struct write_result result = put(pool, one);
    uint8_t *hashes = calloc(ASKED, SHA256_SIZE);
    float *embeddings = calloc(ASKED, sizeof(float) * EMBEDDING_DIM);
    bool found[ASKED];
    cr_assert(hashes != NULL && embeddings != NULL);
    for (uint32_t i = 0; i < ASKED; i++) digest_sha256(&i, sizeof(i), hashes + i * SHA256_SIZE);
    static const size_t places[] = {0, 255, 256, 599};
    for (size_t i = 0; i < 4; i++)
        memcpy(hashes + places[i] * SHA256_SIZE, one->chunks[i % 2].hash, SHA256_SIZE);
    cr_assert_eq(vault_reuse_embeddings(pool, "m1", hashes, ASKED, embeddings, found, &err), 0,
                 "%s", err.message);
    size_t hits = 0;
    for (size_t i = 0; i < ASKED; i++) hits += found[i];
    cr_expect_eq(hits, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_expect(found[places[i]]);
        cr_expect_eq(memcmp(embeddings + places[i] * EMBEDDING_DIM, one->vectors[i % 2],
                            sizeof(one->vectors[0])),
                     0, "to the last bit");
    }
    cr_assert_eq(vault_reuse_embeddings(pool, "m2", hashes, ASKED, embeddings, found, &err), 0);
    for (size_t i = 0; i < ASKED; i++) cr_expect_not(found[i], "another model's are never used");
    cr_expect_eq(vault_reuse_embeddings(pool, "m1", hashes, 0, embeddings, found, &err), 0);
    write_result_free(&result);
    free(one);
    free(hashes);
    free(embeddings);
    pool_free(pool);
}

/* ---- For the mirror ---- */

struct mirror {
    int documents, embeddings, order_broken, stop_at;
    const struct draft *expected;
    int exact;
    char last_path[64];
};

static int see_document(void *arg, const char *id, const char *source, const char *repository,
                        const char *path)
{
    struct mirror *mirror = arg;
    cr_expect_eq(strlen(id), 25);
    cr_expect_str_eq(source, "local");
    cr_expect_str_eq(repository, "/docs");
    snprintf(mirror->last_path, sizeof(mirror->last_path), "%s", path);
    if (mirror->embeddings > 0) mirror->order_broken++;
    mirror->documents++;
    return 0;
}

static int see_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct mirror *mirror = arg;
    cr_expect_neq(document_id[0], '\0');
    if (mirror->expected != NULL)
        for (size_t i = 0; i < mirror->expected->write.chunk_count; i++)
            if (mirror->expected->chunks[i].embedding_id == id)
                mirror->exact += memcmp(mirror->expected->vectors[i], vector,
                                        sizeof(mirror->expected->vectors[i])) == 0;
    return ++mirror->embeddings == mirror->stop_at;
}

static int read_all(struct pool *pool, const char *model, struct mirror *mirror, struct error *err)
{
    const struct vault_reader reader = {see_document, see_embedding, mirror};
    char *position;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    const int rc = conn != NULL ? vault_read_all(conn, model, &reader, &position, err) : -1;
    if (rc == 0) free(position);
    pool_release(pool, conn);
    return rc;
}

Test(vault_sync, reads_everything_for_the_mirror)
{
    char name[32];
    struct error err = {0};
    struct pool *pool = fixture_pool(1, name);
    struct mirror mirror = {0};
    cr_assert_eq(read_all(pool, "m1", &mirror, &err), 0, "%s", err.message);
    cr_expect_eq(mirror.documents, 0);
    cr_expect_eq(mirror.embeddings, 0);

    struct draft *one = draft("one æ", "0123456789", CHUNKS, 1);
    struct draft *two = draft("two", "abc", 2, 100);
    two->write.model = "m2";
    struct write_result first = put(pool, one), second = put(pool, two);
    PGconn *conn = fixture_connect(name, "tekup_vault");
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
             " array_fill(1::real, ARRAY[1536]))",
             second.document_id);
    fixture_run(conn, sql);
    mirror = (struct mirror){.expected = one};
    cr_assert_eq(read_all(pool, "m1", &mirror, &err), 0, "%s", err.message);
    cr_expect_eq(mirror.documents, 2);
    cr_expect_eq(mirror.embeddings, CHUNKS + 1, "its own, and the one that says nothing");
    cr_expect_eq(mirror.exact, CHUNKS, "to the last bit");
    cr_expect_eq(mirror.order_broken, 0, "documents come first");
    mirror = (struct mirror){.expected = two};
    cr_assert_eq(read_all(pool, "m2", &mirror, &err), 0);
    cr_expect_eq(mirror.embeddings, 3);
    cr_expect_eq(mirror.exact, 2);
    mirror = (struct mirror){0};
    cr_assert_eq(read_all(pool, "it's none", &mirror, &err), 0, "%s", err.message);
    cr_expect_eq(mirror.embeddings, 1);

    /* A vector that no search can find is passed over, and the rest is read. */
    snprintf(sql, sizeof(sql),
             "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
             " array_fill(0::real, ARRAY[1536]))",
             second.document_id);
    fixture_run(conn, sql);
    mirror = (struct mirror){0};
    cr_assert_eq(read_all(pool, "m1", &mirror, &err), 0);
    cr_expect_eq(mirror.embeddings, CHUNKS + 1);

    mirror = (struct mirror){.stop_at = 3};
    cr_expect_eq(read_all(pool, "m1", &mirror, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    cr_expect_eq(mirror.embeddings, 3);
    cr_expect_eq(count(pool).documents, 2, "the pool goes on");
    PQfinish(conn);
    write_result_free(&first);
    write_result_free(&second);
    free(one);
    free(two);
    pool_free(pool);
}

struct race {
    struct mirror mirror;
    struct pool *pool;
};

static int delete_meanwhile(void *arg, const char *id, const char *source, const char *repository,
                            const char *path)
{
    struct race *race = arg;
    struct write_result result;
    (void)source, (void)repository, (void)path;
    cr_expect_eq(vault_delete_document(race->pool, id, &result, NULL), 0);
    write_result_free(&result);
    race->mirror.documents++;
    return 0;
}

static int count_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    (void)id, (void)document_id, (void)vector;
    ((struct race *)arg)->mirror.embeddings++;
    return 0;
}

Test(vault_sync, reads_the_vault_as_it_stood_at_one_moment)
{
    char name[32];
    struct error err = {0};
    struct race race = {.pool = fixture_pool(2, name)};
    const struct vault_reader reader = {delete_meanwhile, count_embedding, &race};
    put_simple(race.pool, "a", "aa", 2, 1, NULL);
    put_simple(race.pool, "b", "bb", 2, 1, NULL);
    char *position;
    PGconn *conn = pool_lease(race.pool, POOL_WAIT_MS, &err);
    cr_assert_eq(vault_read_all(conn, "m1", &reader, &position, &err), 0, "%s", err.message);
    pool_release(race.pool, conn);
    free(position);
    cr_expect_eq(race.mirror.documents, 2);
    cr_expect_eq(race.mirror.embeddings, 4, "they were there when it began");
    cr_expect_eq(count(race.pool).documents, 0);
    pool_free(race.pool);
}

/* ---- What other writers do ---- */

Test(vault_sync, survives_a_truncate_that_starts_the_numbers_again)
{
    char name[32], id[DOCUMENT_ID_SIZE];
    struct error err = {0};
    struct mirror mirror = {0};
    struct passage passage;
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    put_simple(pool, "old", "old text", 4, 1, NULL);
    fixture_run(conn,
                "TRUNCATE vault.\"VaultDocument\", vault.\"VaultEmbedding\" RESTART IDENTITY");
    cr_expect_eq(count(pool).chunks, 4, "they are left behind");
    /* The new document gets the numbers 1 and 2, where two of the old chunks still are. */
    put_simple(pool, "new", "new text", 2, 50, id);
    const int64_t one = 1;
    cr_assert_eq(vault_fetch_passages(pool, &one, 1, FETCH_CHUNK, &passage, &err), 0);
    cr_expect(passage.found);
    cr_expect_str_eq(passage.document.id, id);
    cr_expect_str_eq(passage.text, "new ");
    passage_free(&passage);
    /* Somebody else's gets 3, and must not be taken for the old chunk 3 of the model m1. */
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
             " array_fill(1::real, ARRAY[1536]))",
             id);
    fixture_run(conn, sql);
    cr_assert_eq(read_all(pool, "m2", &mirror, &err), 0, "%s", err.message);
    cr_expect_eq(mirror.embeddings, 1);
    cr_assert_eq(vault_sweep_chunks(pool, &err), 0, "%s", err.message);
    cr_expect_eq(count(pool).chunks, 2, "the rest is swept away");
    PQfinish(conn);
    pool_free(pool);
}

/* ---- The server is away ---- */

Test(vault_sync, fails_everywhere_with_the_same_word_when_the_server_is_away)
{
    struct error err = {0};
    struct document document, *documents;
    struct write_result result;
    struct vault_counts counts;
    struct passage passage;
    struct mirror mirror = {0};
    struct versions versions = {.left = -1};
    struct pool *pool = pool_create("host=/nowhere user=u dbname=d", 1, &err);
    cr_assert_not_null(pool);
    struct draft *one = draft("p", "x", 1, 1);
    const int64_t id = 1;
    char **ids;
    bool found;
    size_t got;
#define AWAY(call)                                                                                 \
    do {                                                                                           \
        err = (struct error){0};                                                                   \
        cr_expect_eq(call, -1);                                                                    \
        cr_expect_eq(err.code, ERR_UNAVAILABLE, #call ": %s", err.message);                        \
    } while (0)
    AWAY(vault_put_document(pool, &one->write, &result, &err));
    AWAY(vault_delete_document(pool, "c", &result, &err));
    AWAY(vault_delete_repository(pool, "s", "r", &got, &result, &err));
    AWAY(vault_get_document(pool, "c", &document, &err));
    AWAY(vault_find_document(pool, "s", "r", "p", &document, &err));
    AWAY(vault_list_documents(pool, NULL, NULL, NULL, NULL, 1, &documents, &got, &err));
    AWAY(vault_fetch_passages(pool, &id, 1, 0, &passage, &err));
    AWAY(vault_match_metadata(pool, "{}", &ids, &got, &err));
    AWAY(vault_list_versions(pool, "s", "r", "m", note_version, &versions, &err));
    AWAY(vault_reuse_embeddings(pool, "m", one->chunks[0].hash, 1, one->vectors[1], &found, &err));
    AWAY(vault_count(pool, &counts, &err));
    AWAY(read_all(pool, "m", &mirror, &err));
    free(one);
    pool_free(pool);
}
