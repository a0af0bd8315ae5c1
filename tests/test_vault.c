#include "tests/vault_draft.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#define SAYS(err, words) cr_expect_not_null(strstr((err).message, words), "%s", (err).message)

static bool is_timestamp(const char *text)
{
    int year, month, day, hour, minute, second, ms, end = 0;
    return sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute,
                  &second, &ms, &end) == 7 &&
           end == 24 && text[end] == '\0';
}

/* ---- Put and get ---- */

Test(vault, gives_back_what_was_put)
{
    char name[32];
    struct error err = {0};
    struct document document;
    struct pool *pool = fixture_pool(2, name);
    struct draft *one =
        draft("a/b æ.md", "Blåbærgrød \xf0\x9f\x98\x80 'quoted' \\ \"too\"\n\ttab", 3, 1);
    one->write.metadata = "{\"lang\": \"da\", \"n\": [1, 2.5, null]}";
    struct write_result result = put(pool, one);
    cr_expect(result.created);
    cr_expect_eq(result.removed_count, 0);
    cr_expect_eq(strlen(result.document_id), 25);
    cr_expect_gt(one->chunks[0].embedding_id, 0);
    cr_expect_eq(one->chunks[1].embedding_id, one->chunks[0].embedding_id + 1);

    for (int by_place = 0; by_place < 2; by_place++) {
        const int rc =
            by_place ? vault_find_document(pool, "local", "/docs", "a/b æ.md", &document, &err)
                     : vault_get_document(pool, result.document_id, &document, &err);
        cr_assert_eq(rc, 0, "%s", err.message);
        cr_expect_str_eq(document.id, result.document_id);
        cr_expect_str_eq(document.source, "local");
        cr_expect_str_eq(document.repository, "/docs");
        cr_expect_str_eq(document.path, "a/b æ.md");
        cr_expect_str_eq(document.content, one->write.content);
        cr_expect_eq(document.content_length, one->write.content_length);
        cr_expect_str_eq(document.sha, "sha");
        cr_expect_str_eq(document.metadata, "{\"n\": [1, 2.5, null], \"lang\": \"da\"}");
        cr_expect(is_timestamp(document.created_at), "%s", document.created_at);
        cr_expect_str_eq(document.created_at, document.updated_at);
        document_free(&document);
    }
    PGconn *conn = fixture_connect(name, "tekup_admin");
    cr_expect_str_eq(fixture_value(conn, "SELECT abs(extract(epoch FROM \"updatedAt\" -"
                                         " timezone('UTC', now()))) < 60 FROM"
                                         " vault.\"VaultDocument\""),
                     "t", "times are UTC");
    PQfinish(conn);
    write_result_free(&result);
    free(one);
    pool_free(pool);
}

Test(vault, replaces_a_document_and_tells_what_went)
{
    char name[32];
    struct error err = {0};
    struct document before, after;
    struct pool *pool = fixture_pool(2, name);
    struct draft *one = draft("p", "first content", 3, 1);
    one->write.metadata = "{\"a\": 1}";
    struct write_result first = put(pool, one);
    cr_assert_eq(vault_get_document(pool, first.document_id, &before, &err), 0);

    struct draft *two = draft("p", "second", 2, 50);
    two->write.sha = NULL;
    struct write_result second = put(pool, two);
    cr_expect_not(second.created);
    cr_expect_str_eq(second.document_id, first.document_id);
    cr_assert_eq(second.removed_count, 3);
    for (size_t i = 0; i < 3; i++) {
        bool found = false;
        for (size_t j = 0; j < 3; j++)
            if (second.removed[j] == one->chunks[i].embedding_id) found = true;
        cr_expect(found, "the embedding %" PRId64 " is told as removed",
                  one->chunks[i].embedding_id);
    }
    cr_assert_eq(vault_get_document(pool, first.document_id, &after, &err), 0);
    cr_expect_str_eq(after.content, "second");
    cr_expect_null(after.sha);
    cr_expect_null(after.metadata);
    cr_expect_str_eq(after.created_at, before.created_at);
    cr_expect_geq(strcmp(after.updated_at, before.updated_at), 0);
    const struct vault_counts counts = count(pool);
    cr_expect_eq(counts.documents, 1);
    cr_expect_eq(counts.embeddings, 2);
    cr_expect_eq(counts.chunks, 2);
    document_free(&before);
    document_free(&after);
    write_result_free(&first);
    write_result_free(&second);
    free(one);
    free(two);
    pool_free(pool);
}

Test(vault, takes_a_document_without_chunks_and_one_with_many)
{
    enum { MANY = 3000 };
    char name[32], id[DOCUMENT_ID_SIZE];
    struct pool *pool = fixture_pool(2, name);
    put_simple(pool, "none", "   ", 0, 1, id);
    cr_expect_eq(count(pool).embeddings, 0);

    char *content = malloc(MANY + 1);
    struct chunk_write *chunks = calloc(MANY, sizeof(*chunks));
    float *vectors = calloc(MANY, sizeof(float) * EMBEDDING_DIM);
    cr_assert(content != NULL && chunks != NULL && vectors != NULL);
    memset(content, 'x', MANY);
    content[MANY] = '\0';
    for (unsigned i = 0; i < MANY; i++) {
        float *vector = vectors + (size_t)i * EMBEDDING_DIM;
        vector[i % EMBEDDING_DIM] = (float)(i + 1);
        chunks[i] = (struct chunk_write){.start = i, .end = i + 1, .embedding = vector};
    }
    struct document_write write = {.source = "s",
                                   .repository = "r",
                                   .path = "many",
                                   .content = content,
                                   .content_length = MANY,
                                   .model = "m1",
                                   .chunks = chunks,
                                   .chunk_count = MANY};
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_put_document(pool, &write, &result, &err), 0, "%s", err.message);
    cr_expect_eq(count(pool).chunks, MANY);
    struct passage passage;
    const int64_t last = chunks[MANY - 1].embedding_id;
    cr_assert_eq(vault_fetch_passages(pool, &last, 1, FETCH_CHUNK, &passage, &err), 0);
    cr_expect(passage.found);
    cr_expect_eq(passage.ordinal, MANY - 1);
    passage_free(&passage);
    write_result_free(&result);
    free(content);
    free(chunks);
    free(vectors);
    pool_free(pool);
}

/* ---- Bad input ---- */

static void refuse(struct pool *pool, struct draft *one, enum error_code code, const char *field)
{
    struct error err = {0};
    struct write_result result;
    cr_expect_eq(vault_put_document(pool, &one->write, &result, &err), -1, "%s is taken", field);
    cr_expect_eq(err.code, code, "%s: %s", field, err.message);
    cr_expect_str_eq(err.field, field, "%s", err.message);
    cr_expect_null(result.removed);
    free(one);
}

Test(vault, refuses_bad_documents_by_their_field)
{
    char name[32], deep[5001];
    struct pool *pool = fixture_pool(1, name);
    struct draft *one;

    one = draft("p", "content", 1, 1);
    one->write.source = "";
    refuse(pool, one, ERR_INVALID, "source");
    one = draft("p", "content", 1, 1);
    one->write.repository = NULL;
    refuse(pool, one, ERR_INVALID, "repository");
    refuse(pool, draft("bad \xff path", "content", 1, 1), ERR_INVALID, "path");
    refuse(pool, draft("p", "bad \xc3( content", 1, 1), ERR_INVALID, "content");
    one = draft("p", "content", 1, 1);
    one->write.content = "con\0ent";
    refuse(pool, one, ERR_INVALID, "content");
    one = draft("p", "content", 1, 1);
    one->write.metadata = "{\"a\": ";
    refuse(pool, one, ERR_INVALID, "metadata");
    one = draft("p", "content", 1, 1);
    one->write.metadata = "{\"a\": \"\\u0000\"}";
    refuse(pool, one, ERR_INVALID, "metadata");
    one = draft("p", "content", 1, 1);
    one->write.sha = "\xfe";
    refuse(pool, one, ERR_INVALID, "sha");
    one = draft("p", "content", 1, 1);
    one->write.model = NULL;
    refuse(pool, one, ERR_INVALID, "model");
    one = draft("p", "content", 2, 1);
    one->chunks[1].end = 8;
    refuse(pool, one, ERR_INVALID, "chunks");
    one = draft("p", "content", 2, 1);
    one->chunks[0].start = 5;
    refuse(pool, one, ERR_INVALID, "chunks");

    one = draft("p", "content", 2, 1);
    one->vectors[1][700] = NAN;
    refuse(pool, one, ERR_INVALID, "embedding");
    one = draft("p", "content", 2, 1);
    one->vectors[0][1535] = -INFINITY;
    refuse(pool, one, ERR_INVALID, "embedding");
    one = draft("p", "content", 2, 1);
    memset(one->vectors[1], 0, sizeof(one->vectors[1]));
    refuse(pool, one, ERR_INVALID, "embedding");

    one = draft("p", "content", 1, 1);
    one->write.content_length = (size_t)2 << 30;
    refuse(pool, one, ERR_TOO_LARGE, "content");

    /* Random letters, which the index cannot compress below its limit. */
    for (size_t i = 0; i < sizeof(deep) - 1; i++) deep[i] = (char)('a' + rand() % 26);
    deep[sizeof(deep) - 1] = '\0';
    refuse(pool, draft(deep, "content", 1, 1), ERR_INVALID, "path");

    const struct vault_counts counts = count(pool);
    cr_expect_eq(counts.documents, 0);
    cr_expect_eq(counts.embeddings, 0);
    cr_expect_eq(counts.chunks, 0);
    pool_free(pool);
}

Test(vault, keeps_the_old_document_when_the_new_one_is_refused)
{
    char name[32], id[DOCUMENT_ID_SIZE];
    struct error err = {0};
    struct document document;
    struct pool *pool = fixture_pool(1, name);
    put_simple(pool, "p", "good", 2, 1, id);
    struct draft *bad = draft("p", "worse", 1, 1);
    bad->write.metadata = "not json";
    refuse(pool, bad, ERR_INVALID, "metadata");
    cr_assert_eq(vault_get_document(pool, id, &document, &err), 0, "%s", err.message);
    cr_expect_str_eq(document.content, "good");
    cr_expect_eq(count(pool).embeddings, 2);
    document_free(&document);
    pool_free(pool);
}

Test(vault, says_when_there_is_no_such_document)
{
    char name[32];
    struct error err = {0};
    struct document document;
    struct write_result result;
    struct pool *pool = fixture_pool(1, name);
    cr_expect_eq(vault_get_document(pool, "cnothing", &document, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(vault_find_document(pool, "local", "/docs", "none", &document, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(vault_delete_document(pool, "cnothing", &result, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(vault_delete_document(pool, "", &result, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_eq(vault_get_document(pool, "\xff", &document, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID, "%s", err.message);
    pool_free(pool);
}

/* ---- At the same time ---- */

struct writer {
    struct pool *pool;
    _Atomic int *created;
    _Atomic int *failed;
    unsigned seed;
};

static void *write_same(void *arg)
{
    const struct writer *writer = arg;
    for (unsigned i = 0; i < 20; i++) {
        struct error err = {0};
        struct write_result result;
        struct draft *one = draft("same", "the same content for all", 1 + (writer->seed + i) % 4,
                                  writer->seed * 100 + i);
        if (vault_put_document(writer->pool, &one->write, &result, &err) != 0) {
            fprintf(stderr, "%s\n", err.message);
            atomic_fetch_add(writer->failed, 1);
        } else if (result.created) {
            atomic_fetch_add(writer->created, 1);
        }
        write_result_free(&result);
        free(one);
    }
    return NULL;
}

Test(vault, copes_with_writers_of_the_same_path)
{
    enum { WRITERS = 6 };
    char name[32];
    _Atomic int created = 0, failed = 0;
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    struct pool *pool = fixture_pool(WRITERS, name);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){pool, &created, &failed, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, write_same, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    cr_expect_eq(failed, 0);
    cr_expect_eq(created, 1);
    cr_expect_eq(count(pool).documents, 1);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    /* One writer's chunks and no other's: as many as there are, numbered without a gap. */
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) = max(c.ordinal) + 1 AND count(*) ="
                                         " count(e.id) AND count(DISTINCT c.ordinal) = count(*)"
                                         " FROM tekupdb.\"Chunk\" c LEFT JOIN"
                                         " vault.\"VaultEmbedding\" e ON e.id = c.\"embeddingId\""),
                     "t");
    PQfinish(conn);
    pool_free(pool);
}

static void *delete_all(void *arg)
{
    const struct writer *writer = arg;
    for (int i = 0; i < 10; i++) {
        struct error err = {0};
        struct write_result result;
        size_t documents;
        if (vault_delete_repository(writer->pool, "local", "/docs", &documents, &result, &err) !=
            0) {
            fprintf(stderr, "%s\n", err.message);
            atomic_fetch_add(writer->failed, 1);
        }
        write_result_free(&result);
    }
    return NULL;
}

Test(vault, lets_writers_and_deleters_cross)
{
    enum { THREADS = 6 };
    char name[32];
    _Atomic int created = 0, failed = 0;
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    struct pool *pool = fixture_pool(THREADS, name);
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){pool, &created, &failed, i};
        cr_assert_eq(
            pthread_create(&threads[i], NULL, i % 3 == 0 ? delete_all : write_same, &writers[i]),
            0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    cr_expect_eq(failed, 0);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    cr_expect_str_eq(fixture_value(conn, "SELECT (SELECT count(*) FROM tekupdb.\"Chunk\") ="
                                         " (SELECT count(*) FROM vault.\"VaultEmbedding\")"),
                     "t");
    PQfinish(conn);
    pool_free(pool);
}

/* ---- Delete ---- */

Test(vault, deletes_with_everything_that_belongs_to_it)
{
    char name[32], ids[3][DOCUMENT_ID_SIZE];
    struct error err = {0};
    struct write_result result;
    struct vault_counts counts;
    size_t documents;
    struct pool *pool = fixture_pool(1, name);
    put_simple(pool, "a", "aaaa", 2, 1, ids[0]);
    put_simple(pool, "b", "bbbb", 3, 10, ids[1]);
    struct draft *other = draft("a", "other", 1, 20);
    other->write.repository = "/other";
    struct write_result written = put(pool, other);
    cr_assert_eq(vault_delete_document(pool, ids[0], &result, &err), 0, "%s", err.message);
    cr_expect_str_eq(result.document_id, ids[0]);
    cr_expect_eq(result.removed_count, 2);
    write_result_free(&result);
    counts = count(pool);
    cr_expect_eq(counts.documents, 2);
    cr_expect_eq(counts.embeddings, 4);
    cr_expect_eq(counts.chunks, 4);

    cr_assert_eq(vault_delete_repository(pool, "local", "/docs", &documents, &result, &err), 0);
    cr_expect_eq(documents, 1);
    cr_expect_eq(result.removed_count, 3);
    write_result_free(&result);
    counts = count(pool);
    cr_expect_eq(counts.documents, 1);
    cr_expect_eq(counts.chunks, 1);
    cr_assert_eq(vault_delete_repository(pool, "local", "/docs", &documents, &result, &err), 0);
    cr_expect_eq(documents, 0);
    write_result_free(&result);
    write_result_free(&written);
    free(other);
    pool_free(pool);
}

/* ---- List ---- */

/* All pages of a listing, their paths behind one another. */
static void list_paths(struct pool *pool, const char *repository, const char *prefix, size_t page,
                       char *out, size_t size)
{
    struct error err = {0};
    char after[DOCUMENT_ID_SIZE] = "";
    out[0] = '\0';
    for (;;) {
        struct document *documents;
        size_t got;
        cr_assert_eq(vault_list_documents(pool, "local", repository, prefix,
                                          after[0] != '\0' ? after : NULL, page, &documents, &got,
                                          &err),
                     0, "%s", err.message);
        for (size_t i = 0; i < got; i++) {
            cr_expect_null(documents[i].content);
            strncat(out, documents[i].path, size - strlen(out) - 1);
            strncat(out, " ", size - strlen(out) - 1);
            memcpy(after, documents[i].id, sizeof(after));
            document_free(&documents[i]);
        }
        free(documents);
        if (got < page) return;
    }
}

static void check_order(struct pool *pool)
{
    static const char *const paths[] = {"b", "a/z", "a-b", "B", "æ", "a/B", "a", "_x"};
    char listed[256];
    for (unsigned i = 0; i < 8; i++) put_simple(pool, paths[i], "x", 0, i, NULL);
    for (size_t page = 1; page <= 9; page += 2) {
        list_paths(pool, "/docs", NULL, page, listed, sizeof(listed));
        cr_expect_str_eq(listed, "B _x a a-b a/B a/z b æ ", "pages of %zu", page);
        list_paths(pool, NULL, "a", page, listed, sizeof(listed));
        cr_expect_str_eq(listed, "a a-b a/B a/z ", "pages of %zu", page);
    }
    list_paths(pool, "/docs", "a%", 10, listed, sizeof(listed));
    cr_expect_str_eq(listed, "", "a prefix is no pattern");
    list_paths(pool, "/none", NULL, 10, listed, sizeof(listed));
    cr_expect_str_eq(listed, "");
}

Test(vault, lists_in_the_order_of_bytes)
{
    char name[32];
    struct error err = {0};
    struct document *documents;
    size_t got;
    struct pool *pool = fixture_pool(1, name);
    check_order(pool);
    cr_expect_eq(vault_list_documents(pool, NULL, NULL, NULL, "cgone", 10, &documents, &got, &err),
                 -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "after");
    cr_assert_eq(vault_list_documents(pool, NULL, NULL, NULL, NULL, 0, &documents, &got, &err), 0);
    cr_expect_eq(got, 0);
    free(documents);
    pool_free(pool);
}

/* A database that compares as a language does gives the same order. */
Test(vault, lists_in_the_order_of_bytes_in_any_collation)
{
    char name[32], conninfo[256], sql[256];
    struct error err = {0};
    struct migration_result result;
    PGconn *conn = fixture_connect("postgres", "postgres");
    if (strcmp(fixture_value(conn, "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'"),
               "0") == 0)
        cr_skip_test("this server has no ICU");
    if (PQserverVersion(conn) < 150000) cr_skip_test("no ICU for databases before PostgreSQL 15");
    snprintf(name, sizeof(name), "test_%d", (int)getpid());
    snprintf(sql, sizeof(sql),
             "CREATE DATABASE %s OWNER tekup_admin TEMPLATE template0 ENCODING 'UTF8'"
             " LOCALE_PROVIDER icu ICU_LOCALE 'da'",
             name);
    fixture_run(conn, sql);
    PQfinish(conn);
    fixture_conninfo(name, "tekup_admin", conninfo, sizeof(conninfo));
    struct pool *pool = pool_create(conninfo, 1, &err);
    cr_assert(pool != NULL && migrate(pool, &result, &err) == 0, "%s", err.message);
    check_order(pool);
    pool_free(pool);
}

/* ---- Search results ---- */

Test(vault, fetches_passages_in_the_order_asked_for)
{
    char name[32];
    struct error err = {0};
    struct passage passages[6];
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("one", "0123456789", 2, 1);
    struct draft *two = draft("two", "abcdef", 3, 10);
    one->write.metadata = "{\"k\": true}";
    struct write_result first = put(pool, one), second = put(pool, two);
    const int64_t ids[6] = {two->chunks[2].embedding_id, INT64_MAX,
                            one->chunks[0].embedding_id, -1,
                            one->chunks[0].embedding_id, two->chunks[0].embedding_id};
    static const char *const texts[6] = {"ef", NULL, "01234", NULL, "01234", "ab"};
    static const char *const contents[6] = {"abcdef", NULL,         "0123456789",
                                            NULL,     "0123456789", "abcdef"};
    for (int what = 0; what <= (FETCH_CONTENT | FETCH_CHUNK); what++) {
        cr_assert_eq(vault_fetch_passages(pool, ids, 6, what, passages, &err), 0, "%s",
                     err.message);
        for (int i = 0; i < 6; i++) {
            const struct passage *passage = &passages[i];
            cr_expect_eq(passage->embedding_id, ids[i]);
            cr_expect_eq(passage->found, texts[i] != NULL);
            if (!passage->found) continue;
            cr_expect(passage->has_range);
            if (what & FETCH_CHUNK)
                cr_expect_str_eq(passage->text, texts[i]);
            else
                cr_expect_null(passage->text);
            if (what & FETCH_CONTENT)
                cr_expect_str_eq(passage->document.content, contents[i]);
            else
                cr_expect_null(passage->document.content);
        }
        cr_expect_eq(passages[0].ordinal, 2);
        cr_expect_eq(passages[0].start, 4);
        cr_expect_eq(passages[0].end, 6);
        cr_expect_str_eq(passages[0].document.id, second.document_id);
        cr_expect_str_eq(passages[2].document.metadata, "{\"k\": true}");
        for (int i = 0; i < 6; i++) passage_free(&passages[i]);
    }
    cr_expect_eq(vault_fetch_passages(pool, ids, 0, 0, passages, &err), 0);
    write_result_free(&first);
    write_result_free(&second);
    free(one);
    free(two);
    pool_free(pool);
}

Test(vault, fetches_passages_that_others_wrote_or_changed)
{
    char name[32];
    struct error err = {0};
    struct passage passages[2];
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("one", "0123456789", 2, 1);
    struct write_result result = put(pool, one);
    PGconn *conn = fixture_connect(name, "tekup_vault");
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding) VALUES ('%s',"
             " array_fill(1::real, ARRAY[1536])) RETURNING id",
             result.document_id);
    const int64_t ids[2] = {strtoll(fixture_value(conn, sql), NULL, 10),
                            one->chunks[1].embedding_id};
    cr_assert_eq(vault_fetch_passages(pool, ids, 2, FETCH_CHUNK, passages, &err), 0);
    cr_expect(passages[0].found);
    cr_expect_not(passages[0].has_range);
    cr_expect_str_eq(passages[0].text, "0123456789", "the whole content where there is no range");
    cr_expect_str_eq(passages[1].text, "56789");
    for (int i = 0; i < 2; i++) passage_free(&passages[i]);

    /* The range, 5 to 10, now cuts two characters and ends past the content. */
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET content = 'ææææ'");
    for (int what = FETCH_CHUNK; what <= (FETCH_CHUNK | FETCH_CONTENT); what++) {
        cr_assert_eq(vault_fetch_passages(pool, ids, 2, what, passages, &err), 0, "%s",
                     err.message);
        cr_expect_str_eq(passages[1].text, "æ", "\"%s\"", passages[1].text);
        for (int i = 0; i < 2; i++) passage_free(&passages[i]);
        fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET content = 'ææææ'");
    }
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET content = ''");
    cr_assert_eq(vault_fetch_passages(pool, ids, 2, FETCH_CHUNK, passages, &err), 0);
    cr_expect_str_eq(passages[1].text, "");
    for (int i = 0; i < 2; i++) passage_free(&passages[i]);
    PQfinish(conn);
    write_result_free(&result);
    free(one);
    pool_free(pool);
}

Test(vault, matches_metadata_as_postgresql_contains)
{
    char name[32];
    struct error err = {0};
    char **ids;
    size_t got;
    struct pool *pool = fixture_pool(1, name);
    struct draft *one = draft("one", "x", 1, 1), *two = draft("two", "x", 1, 2);
    one->write.metadata = "{\"lang\": \"da\", \"tags\": [\"a\", \"b\"]}";
    two->write.metadata = "{\"lang\": \"en\"}";
    struct write_result first = put(pool, one), second = put(pool, two);
    cr_assert_eq(vault_match_metadata(pool, "{\"tags\": [\"b\"]}", &ids, &got, &err), 0);
    cr_assert_eq(got, 1);
    cr_expect_str_eq(ids[0], first.document_id);
    free(ids[0]);
    free(ids);
    cr_assert_eq(vault_match_metadata(pool, "{}", &ids, &got, &err), 0);
    cr_expect_eq(got, 2);
    for (size_t i = 0; i < got; i++) free(ids[i]);
    free(ids);
    cr_assert_eq(vault_match_metadata(pool, "{\"lang\": \"fr\"}", &ids, &got, &err), 0);
    cr_expect_eq(got, 0);
    free(ids);
    static const char *const wrong[] = {"{", "", "{\"a\": \"\\u0000\"}", "\xff", NULL};
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(vault_match_metadata(pool, wrong[i], &ids, &got, &err), -1);
        cr_expect_eq(err.code, ERR_INVALID, "%s", err.message);
        cr_expect_str_eq(err.field, "metadata");
    }
    write_result_free(&first);
    write_result_free(&second);
    free(one);
    free(two);
    pool_free(pool);
}

Test(vault, passes_over_documents_whose_id_is_too_long)
{
    char name[32];
    struct error err = {0};
    struct document document, *documents;
    size_t got;
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_vault");
    fixture_run(conn, "INSERT INTO vault.\"VaultDocument\" (id, source, repository, path, content,"
                      " \"updatedAt\") VALUES (repeat('x', 60), 's', 'r', 'p', 'c', now()),"
                      " ('123e4567-e89b-12d3-a456-426614174000', 's', 'r', 'q', 'c', now())");
    cr_assert_eq(vault_list_documents(pool, NULL, NULL, NULL, NULL, 10, &documents, &got, &err), 0);
    cr_assert_eq(got, 1);
    cr_expect_str_eq(documents[0].id, "123e4567-e89b-12d3-a456-426614174000");
    document_free(&documents[0]);
    free(documents);
    cr_assert_eq(vault_get_document(pool, "123e4567-e89b-12d3-a456-426614174000", &document, &err),
                 0);
    document_free(&document);
    PQfinish(conn);
    pool_free(pool);
}

/* ---- The connection is cut ---- */

Test(vault, changes_nothing_when_the_connection_is_cut)
{
    char name[32], sql[128];
    struct error err = {0};
    struct write_result result;
    struct pool *pool = fixture_pool(1, name);
    put_simple(pool, "p", "before", 2, 1, NULL);
    /* The backend ends itself when the chunks arrive: after the document and the embeddings. */
    PGconn *superuser = fixture_connect(name, "postgres");
    fixture_run(
        superuser,
        "CREATE FUNCTION public.cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
        "CREATE TRIGGER cut AFTER INSERT ON tekupdb.\"Chunk\" EXECUTE FUNCTION public.cut()");
    struct draft *one = draft("p", "after", 3, 9);
    cr_expect_eq(vault_put_document(pool, &one->write, &result, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE, "%s", err.message);
    cr_expect_null(result.removed);
    snprintf(sql, sizeof(sql), "DROP TRIGGER cut ON tekupdb.\"Chunk\"");
    fixture_run(superuser, sql);
    cr_expect_str_eq(fixture_value(superuser, "SELECT content FROM vault.\"VaultDocument\""),
                     "before");
    struct vault_counts counts = count(pool);
    cr_expect_eq(counts.embeddings, 2);
    cr_expect_eq(counts.chunks, 2);
    cr_expect_eq(vault_put_document(pool, &one->write, &result, &err), 0, "%s", err.message);
    write_result_free(&result);
    counts = count(pool);
    cr_expect_eq(counts.embeddings, 3);
    PQfinish(superuser);
    free(one);
    pool_free(pool);
}
