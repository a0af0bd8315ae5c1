#include "tests/cluster_fixture.h"

#include "storage/vault.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#define SAYS(err, words) cr_expect_not_null(strstr((err).message, words), "%s", (err).message)

enum { CHUNKS = 8 };

/* ---- Documents to write ---- */

struct draft {
    struct document_write write;
    struct chunk_write chunks[CHUNKS];
    float vectors[CHUNKS][EMBEDDING_DIM];
};

/* Numbers of every kind that a float32 can be, different for each seed. */
static void fill_vector(float *vector, unsigned seed)
{
    for (int i = 0; i < EMBEDDING_DIM; i++)
        vector[i] = (float)sin(seed * 1.7 + i) * powf(10, (float)(i % 60 - 30));
    vector[0] = (float)seed + 1;
    vector[1] = -0.0F;
    vector[2] = 1e-45F; /* the smallest there is */
    vector[3] = 3.4e38F;
}

/* A document whose content is cut into `chunks` chunks of nearly equal length. */
static struct draft *draft(const char *path, const char *content, size_t chunks, unsigned seed)
{
    struct draft *draft = calloc(1, sizeof(*draft));
    cr_assert(draft != NULL && chunks <= CHUNKS);
    const size_t length = strlen(content);
    draft->write = (struct document_write){.source = "local",
                                           .repository = "/docs",
                                           .path = path,
                                           .content = content,
                                           .content_length = length,
                                           .sha = "sha",
                                           .model = "m1",
                                           .chunks = draft->chunks,
                                           .chunk_count = chunks};
    for (size_t i = 0; i < chunks; i++) {
        struct chunk_write *chunk = &draft->chunks[i];
        chunk->start = i * length / chunks;
        chunk->end = (i + 1) * length / chunks;
        digest_sha256(content + chunk->start, chunk->end - chunk->start, chunk->hash);
        fill_vector(draft->vectors[i], seed + (unsigned)i);
        chunk->embedding = draft->vectors[i];
    }
    return draft;
}

static struct write_result put(struct pool *pool, struct draft *draft)
{
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_put_document(pool, &draft->write, &result, &err), 0, "%s", err.message);
    return result;
}

/* Writes and forgets; the id goes to out where it is wanted. */
static void put_simple(struct pool *pool, const char *path, const char *content, size_t chunks,
                       unsigned seed, char out[DOCUMENT_ID_SIZE])
{
    struct draft *one = draft(path, content, chunks, seed);
    struct write_result result = put(pool, one);
    if (out != NULL) memcpy(out, result.document_id, DOCUMENT_ID_SIZE);
    write_result_free(&result);
    free(one);
}

static struct vault_counts count(struct pool *pool)
{
    struct error err = {0};
    struct vault_counts counts;
    cr_assert_eq(vault_count(pool, &counts, &err), 0, "%s", err.message);
    return counts;
}

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

/* ---- For a sync ---- */

struct versions {
    char text[512];
    int left; /* stop after so many */
};

static int note_version(void *arg, const char *id, const char *path, const char *sha, bool current)
{
    struct versions *versions = arg;
    char line[128];
    cr_expect_neq(id[0], '\0');
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

Test(vault, lists_versions_with_whether_they_are_current)
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

Test(vault, finds_embeddings_that_were_paid_for)
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
    return vault_read_all(pool, model, &reader, err);
}

Test(vault, reads_everything_for_the_mirror)
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

Test(vault, reads_the_vault_as_it_stood_at_one_moment)
{
    char name[32];
    struct error err = {0};
    struct race race = {.pool = fixture_pool(2, name)};
    const struct vault_reader reader = {delete_meanwhile, count_embedding, &race};
    put_simple(race.pool, "a", "aa", 2, 1, NULL);
    put_simple(race.pool, "b", "bb", 2, 1, NULL);
    cr_assert_eq(vault_read_all(race.pool, "m1", &reader, &err), 0, "%s", err.message);
    cr_expect_eq(race.mirror.documents, 2);
    cr_expect_eq(race.mirror.embeddings, 4, "they were there when it began");
    cr_expect_eq(count(race.pool).documents, 0);
    pool_free(race.pool);
}

/* ---- What other writers do ---- */

Test(vault, survives_a_truncate_that_starts_the_numbers_again)
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
    cr_expect_eq(count(pool).chunks, 2, "reading all has swept the rest away");
    PQfinish(conn);
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

Test(vault, fails_everywhere_with_the_same_word_when_the_server_is_away)
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
