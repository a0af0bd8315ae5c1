/* Documents on their way into a real vault. */
#include "ingest/pipeline.h"
#include "ingest/source_kind.h"
#include "storage/base/buffer.h"

#include "tests/cluster_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A pipeline on a vault of this test's own ---- */

struct heard {
    int written, deleted;
    size_t chunks, removed;
    char id[DOCUMENT_ID_SIZE];
    int64_t first_embedding;
};

static char database[32];
static struct heard heard;
static struct pipeline pipeline;

static void on_written(void *arg, const struct document_write *write,
                       const struct write_result *result)
{
    struct heard *to = arg;
    to->written++;
    to->chunks = write->chunk_count;
    to->removed = result->removed_count;
    to->first_embedding = write->chunk_count > 0 ? write->chunks[0].embedding_id : 0;
    snprintf(to->id, sizeof(to->id), "%s", result->document_id);
}

static void on_deleted(void *arg, const struct write_result *result)
{
    struct heard *to = arg;
    to->deleted++;
    to->removed = result->removed_count;
    snprintf(to->id, sizeof(to->id), "%s", result->document_id);
}

static void open_pipeline(void)
{
    struct error err = {0};
    pipeline.pool = fixture_pool(3, database);
    pipeline.embedder = embedder_create("hash", &err);
    cr_assert_not_null(pipeline.embedder, "%s", err.message);
    pipeline.listener = (struct vault_listener){on_written, on_deleted, NULL, &heard};
}

static void close_pipeline(void)
{
    embedder_free(pipeline.embedder);
    pool_free(pipeline.pool);
}

TestSuite(pipeline, .init = open_pipeline, .fini = close_pipeline);

static struct document_input input(const char *path, const char *content)
{
    return (struct document_input){.source = "local",
                                   .repository = "docs",
                                   .path = path,
                                   .content = content,
                                   .content_length = strlen(content)};
}

static struct ingest_counts put(const struct document_input *document, bool *created)
{
    struct error err = {0};
    struct write_result result;
    struct ingest_counts counts;
    cr_assert_eq(pipeline_put(&pipeline, document, &result, &counts, &err), 0, "%s", err.message);
    if (created != NULL) *created = result.created;
    write_result_free(&result);
    return counts;
}

static long long count_rows(const char *table)
{
    char sql[128];
    PGconn *conn = fixture_connect(database, "tekup_admin");
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    const long long rows = atoll(fixture_value(conn, sql));
    PQfinish(conn);
    return rows;
}

/* Sections that are cut into a chunk each; those with the same letter are the same. */
static char *sections(const char *letters)
{
    struct buffer text = {0};
    for (; *letters != '\0'; letters++) {
        buffer_format(&text, "## Section %c\n\n", *letters);
        for (int i = 0; i < 40; i++)
            buffer_format(&text, "word%c%d says something here\n", *letters, i);
        buffer_text(&text, "\n");
    }
    return buffer_take(&text);
}

/* ---- Putting ---- */

Test(pipeline, a_document_is_written_with_its_chunks_and_embeddings)
{
    char *text = sections("abc");
    const struct document_input document = input("a/b.md", text);
    struct error err = {0};
    bool created = false;
    const struct ingest_counts counts = put(&document, &created);
    cr_expect(created);
    cr_expect_eq(counts.chunks, 3);
    cr_expect_eq(counts.embedded, 3);
    cr_expect_eq(counts.reused, 0);
    cr_expect_eq(heard.written, 1);
    cr_expect_eq(heard.chunks, 3);
    cr_expect_eq(heard.removed, 0);
    cr_expect_eq(count_rows("vault.\"VaultEmbedding\""), 3);
    cr_expect_eq(count_rows("tekupdb.\"Chunk\""), 3);

    struct document stored;
    char sha[GIT_SHA_HEX];
    cr_assert_eq(vault_find_document(pipeline.pool, "local", "docs", "a/b.md", &stored, &err), 0);
    cr_expect_str_eq(stored.content, text);
    cr_expect_str_eq(stored.id, heard.id);
    digest_git_blob(text, strlen(text), sha);
    cr_expect_str_eq(stored.sha, sha);
    cr_expect_null(stored.metadata);
    document_free(&stored);

    struct passage passage;
    const int64_t id = heard.first_embedding;
    cr_assert_eq(vault_fetch_passages(pipeline.pool, &id, 1, FETCH_CHUNK, &passage, &err), 0);
    cr_assert(passage.found && passage.has_range);
    cr_expect_eq(passage.start, 0);
    cr_expect_eq(strncmp(passage.text, "## Section a", 12), 0);
    cr_expect_eq(passage.end - passage.start, strlen(passage.text));
    passage_free(&passage);
    free(text);
}

struct stored_vector {
    float vector[EMBEDDING_DIM];
    int count;
};

static int on_document(void *arg, const char *id, const char *source, const char *repository,
                       const char *path)
{
    (void)arg, (void)id, (void)source, (void)repository, (void)path;
    return 0;
}

static int on_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct stored_vector *stored = arg;
    (void)id, (void)document_id;
    memcpy(stored->vector, vector, sizeof(stored->vector));
    stored->count++;
    return 0;
}

static void read_vector(struct stored_vector *stored)
{
    const struct vault_reader reader = {on_document, on_embedding, stored};
    struct error err = {0};
    char *position;
    PGconn *conn = pool_lease(pipeline.pool, POOL_WAIT_MS, &err);
    stored->count = 0;
    cr_assert_eq(
        vault_read_all(conn, embedder_model(pipeline.embedder), &reader, &position, &err), 0);
    pool_release(pipeline.pool, conn);
    free(position);
}

Test(pipeline, what_is_stored_is_the_embedding_of_the_text_without_the_space_around_it)
{
    const struct document_input document = input("x", "\n  some words to embed \n");
    const struct embed_text text = {"some words to embed", 19};
    float expected[EMBEDDING_DIM];
    struct stored_vector stored;
    put(&document, NULL);
    cr_assert_eq(embed_texts(pipeline.embedder, &text, 1, expected, NULL), 0);
    read_vector(&stored);
    cr_expect_eq(stored.count, 1);
    cr_expect_arr_eq(stored.vector, expected, sizeof(expected));
}

Test(pipeline, texts_that_repeat_are_embedded_once)
{
    char *text = sections("abaaba");
    const struct document_input document = input("x", text);
    const struct ingest_counts counts = put(&document, NULL);
    /* The last section lacks the blank line that none keeps: it is the same text. */
    cr_expect_eq(counts.chunks, 6);
    cr_expect_eq(counts.embedded, 2);
    cr_expect_eq(counts.reused, 4);
    cr_expect_eq(count_rows("vault.\"VaultEmbedding\""), 6);
    free(text);
}

Test(pipeline, a_document_that_moved_or_changed_pays_only_for_what_is_new)
{
    char *before = sections("abcd");
    char *after = sections("abed");
    struct document_input document = input("old/place", before);
    bool created;
    put(&document, NULL);
    document.path = "new/place";
    struct ingest_counts counts = put(&document, &created);
    cr_expect(created);
    cr_expect_eq(counts.embedded, 0);
    cr_expect_eq(counts.reused, 4);

    document = input("new/place", after);
    counts = put(&document, &created);
    cr_expect_not(created);
    cr_expect_eq(counts.embedded, 1);
    cr_expect_eq(counts.reused, 3);
    cr_expect_eq(heard.removed, 4);
    cr_expect_eq(count_rows("vault.\"VaultDocument\""), 2);
    cr_expect_eq(count_rows("vault.\"VaultEmbedding\""), 8);
    free(before);
    free(after);
}

Test(pipeline, a_document_of_many_chunks_is_embedded_in_batches)
{
    struct buffer text = {0};
    for (int i = 0; i < 20000; i++) buffer_format(&text, "line %d of a long document\n", i);
    const struct document_input document = input("long", text.data);
    struct ingest_counts counts = put(&document, NULL);
    cr_expect_gt(counts.chunks, 300);
    cr_expect_eq(counts.embedded, counts.chunks);
    counts = put(&document, NULL);
    cr_expect_eq(counts.embedded, 0);
    cr_expect_eq(counts.reused, counts.chunks);
    cr_expect_eq(count_rows("tekupdb.\"Chunk\""), (long long)counts.chunks);
    buffer_free(&text);
}

Test(pipeline, an_embedding_that_was_brought_stands_for_the_whole_document_and_for_no_other)
{
    float given[EMBEDDING_DIM] = {0};
    struct stored_vector stored;
    struct document_input document = input("x", "brought with its own embedding");
    given[7] = -0.25F;
    document.embedding = given;
    document.sha = "abc";
    document.metadata = "{\"lang\": \"en\"}";
    struct ingest_counts counts = put(&document, NULL);
    cr_expect_eq(counts.chunks, 1);
    cr_expect_eq(counts.embedded, 0);
    cr_expect_eq(counts.reused, 0);
    read_vector(&stored);
    cr_expect_arr_eq(stored.vector, given, sizeof(given));

    struct document row;
    cr_assert_eq(vault_find_document(pipeline.pool, "local", "docs", "x", &row, NULL), 0);
    cr_expect_str_eq(row.sha, "abc");
    cr_expect_not_null(row.metadata);
    document_free(&row);

    /* The same text without one gets its own. */
    document.embedding = NULL;
    counts = put(&document, NULL);
    cr_expect_eq(counts.embedded, 1);
    read_vector(&stored);
    cr_expect_eq(stored.count, 1);
    cr_expect_float_eq(stored.vector[7], 0.0F, 0.2F);
    cr_expect_neq(memcmp(stored.vector, given, sizeof(given)), 0);
}

Test(pipeline, the_model_is_recorded_with_each_chunk)
{
    const struct document_input document = input("x", "text");
    put(&document, NULL);
    PGconn *conn = fixture_connect(database, "tekup_admin");
    cr_expect_str_eq(fixture_value(conn, "SELECT \"model\" FROM tekupdb.\"Chunk\""),
                     "hash-1536-v1");
    PQfinish(conn);
}

/* ---- Refusing ---- */

static void expect_refused(const struct document_input *document, const char *field,
                           const char *what)
{
    struct error err = {0};
    struct write_result result;
    cr_expect_eq(pipeline_put(&pipeline, document, &result, NULL, &err), -1, "%s", what);
    cr_expect_eq(err.code, ERR_INVALID, "%s: %s", what, error_code_name(err.code));
    cr_expect_str_eq(err.field, field, "%s: %s", what, err.message);
    cr_expect_eq(strncmp(err.message, field, strlen(field)), 0, "%s: %s", what, err.message);
    write_result_free(&result);
}

Test(pipeline, what_is_wrong_is_refused_by_its_field_and_leaves_nothing)
{
    static const char *const paths[] = {
        "",    "/",    "/a", "..",   "../a", "a/..", "a/../b", ".",    "./a",           "a/./b",
        "a/.", "a//b", "a/", "a\nb", "a\tb", "\x7f", "\x01",   "\xff", "a/\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        const struct document_input document = input(paths[i], "text");
        expect_refused(&document, "path", paths[i]);
    }
    char *long_path = malloc(SOURCE_PATH_MAX + 2);
    cr_assert_not_null(long_path);
    memset(long_path, 'p', SOURCE_PATH_MAX + 1);
    long_path[SOURCE_PATH_MAX + 1] = '\0';
    struct document_input document = input(long_path, "text");
    expect_refused(&document, "path", "long");
    free(long_path);

    document = input("x", "text");
    document.source = "";
    expect_refused(&document, "source", "empty");
    document = input("x", "text");
    document.repository = "a\nb";
    expect_refused(&document, "repository", "line end");

    document = input("x", "");
    expect_refused(&document, "content", "empty");
    document = input("x", " \r\n\t ");
    expect_refused(&document, "content", "blank");
    document = input("x", "a\xff"
                          "b");
    expect_refused(&document, "content", "not UTF-8");
    document = input("x", "a");
    document.content = "a\0b";
    document.content_length = 3;
    expect_refused(&document, "content", "NUL");
    document.content = NULL;
    document.content_length = 0;
    expect_refused(&document, "content", "missing");

    float vector[EMBEDDING_DIM] = {0};
    document = input("x", "a");
    document.embedding = vector;
    expect_refused(&document, "embedding", "zero");
    vector[1535] = NAN;
    expect_refused(&document, "embedding", "NaN");
    vector[1535] = -INFINITY;
    expect_refused(&document, "embedding", "infinity");

    document = input("x", "a");
    document.metadata = "{";
    expect_refused(&document, "metadata", "JSON");

    cr_expect_eq(heard.written, 0);
    cr_expect_eq(count_rows("vault.\"VaultDocument\""), 0);
    cr_expect_eq(count_rows("vault.\"VaultEmbedding\""), 0);
}

Test(pipeline, names_that_look_odd_but_are_right_are_taken)
{
    static const char *const paths[] = {"...",     "..a", "a..b/c..",
                                        ".hidden", "a b", "\xc3\xa6/\xc3\xb8"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        const struct document_input document = input(paths[i], "text");
        put(&document, NULL);
    }
    cr_expect_eq(count_rows("vault.\"VaultDocument\""), 6);
}

Test(pipeline, without_a_database_nothing_is_told_to_the_listener)
{
    struct error err = {0};
    struct write_result result;
    struct pipeline cut = pipeline;
    const struct document_input document = input("x", "text");
    cut.pool = pool_create("host=/nowhere/at/all dbname=x", 1, &err);
    cr_assert_not_null(cut.pool);
    cr_expect_eq(pipeline_put(&cut, &document, &result, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(pipeline_delete(&cut, "x", &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(heard.written + heard.deleted, 0);
    pool_free(cut.pool);
}

/* ---- Deleting ---- */

Test(pipeline, deletes_a_document_and_tells_the_listener)
{
    struct document_input document = input("one", "text");
    struct error err = {0};
    put(&document, NULL);
    char first[DOCUMENT_ID_SIZE];
    snprintf(first, sizeof(first), "%s", heard.id);
    document.path = "two";
    put(&document, NULL);

    cr_assert_eq(pipeline_delete(&pipeline, first, &err), 0, "%s", err.message);
    cr_expect_eq(heard.deleted, 1);
    cr_expect_eq(heard.removed, 1);
    cr_expect_str_eq(heard.id, first);
    cr_expect_eq(pipeline_delete(&pipeline, first, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(heard.deleted, 1);
    cr_expect_eq(count_rows("vault.\"VaultDocument\""), 1);
    cr_expect_eq(count_rows("tekupdb.\"Chunk\""), 1);
}
