/* The mirror against a real vault: loads, live writes, and both at once in any order. */
#include "tests/cluster_fixture.h"

#include "tools/tekupd/mirror.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { CHUNKS = 3 };

/* ---- Writing as the pipeline does ---- */

struct draft {
    struct document_write write;
    struct chunk_write chunks[CHUNKS];
    float vectors[CHUNKS][EMBEDDING_DIM];
    char content[32];
};

static void fill_vector(float *vector, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        state = state * 1664525u + 1013904223u;
        vector[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
}

/* Chunk i of a draft has the vector of seed + i. */
static struct draft *draft(const char *repository, const char *path, size_t chunks, unsigned seed)
{
    struct draft *draft = calloc(1, sizeof(*draft));
    cr_assert(draft != NULL && chunks <= CHUNKS);
    snprintf(draft->content, sizeof(draft->content), "content %u", seed);
    draft->write = (struct document_write){.source = "local",
                                           .repository = repository,
                                           .path = path,
                                           .content = draft->content,
                                           .content_length = strlen(draft->content),
                                           .model = "model",
                                           .chunks = draft->chunks,
                                           .chunk_count = chunks};
    for (size_t i = 0; i < chunks; i++) {
        struct chunk_write *chunk = &draft->chunks[i];
        chunk->start = i;
        chunk->end = i + 1;
        digest_sha256(&seed, sizeof(seed), chunk->hash);
        chunk->hash[0] = (uint8_t)i;
        fill_vector(draft->vectors[i], seed + (unsigned)i);
        chunk->embedding = draft->vectors[i];
    }
    return draft;
}

/* Writes to the vault; the listener is told if it is given. */
static struct write_result put(struct pool *pool, struct draft *draft,
                               const struct vault_listener *listener)
{
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_put_document(pool, &draft->write, &result, &err), 0, "%s", err.message);
    if (listener != NULL) listener->written(listener->arg, &draft->write, &result);
    return result;
}

static void put_simple(struct pool *pool, const char *repository, const char *path, size_t chunks,
                       unsigned seed, const struct vault_listener *listener,
                       char id[DOCUMENT_ID_SIZE])
{
    struct draft *one = draft(repository, path, chunks, seed);
    struct write_result result = put(pool, one, listener);
    if (id != NULL) memcpy(id, result.document_id, DOCUMENT_ID_SIZE);
    write_result_free(&result);
    free(one);
}

static void delete_simple(struct pool *pool, const char *id, const struct vault_listener *listener)
{
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_delete_document(pool, id, &result, &err), 0, "%s", err.message);
    listener->deleted(listener->arg, &result);
    write_result_free(&result);
}

/* ---- Asking the mirror ---- */

static struct mirror *new_mirror(void)
{
    struct error err = {0};
    tk_index_options options;
    tk_index_options_init(&options);
    options.dim = EMBEDDING_DIM;
    options.max_neighbours = 8;
    options.ef_construction = 40;
    struct mirror *mirror = mirror_create(&options, "model", &err);
    cr_assert_not_null(mirror, "%s", err.message);
    return mirror;
}

static void load(struct mirror *mirror, struct pool *pool)
{
    struct error err = {0};
    cr_assert_eq(mirror_load(mirror, pool, &err), 0, "%s", err.message);
}

/* The path of the most similar document to the vector of a seed, if it is (nearly) the same vector;
 * "" otherwise. */
static const char *find(struct mirror *mirror, unsigned seed, const char *repository)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];
    float vector[EMBEDDING_DIM];
    struct catalog_filter filter;
    struct catalog_hit *hits;
    struct error err = {0};
    size_t found;
    fill_vector(vector, seed);
    cr_assert_eq(
        catalog_narrow(mirror_catalog(mirror), NULL, repository, NULL, NULL, 0, &filter, &err), 0);
    const struct mirror_query query = {vector, 5, 0, -INFINITY, &filter};
    cr_assert_eq(mirror_search(mirror, &query, &hits, &found, &err), 0, "%s", err.message);
    snprintf(path, sizeof(paths[0]), "%s",
             found > 0 && hits[0].similarity > 0.99f ? hits[0].path : "");
    catalog_hits_free(hits, found);
    free(hits);
    catalog_filter_free(&filter);
    return path;
}

static struct mirror_stats stats_of(const struct mirror *mirror)
{
    struct mirror_stats stats;
    mirror_get_stats(mirror, &stats);
    return stats;
}

/* ---- Tests ---- */

Test(mirror, loads_what_the_vault_has_and_follows_writes)
{
    char name[32], id[DOCUMENT_ID_SIZE];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    const struct vault_listener listener = mirror_listener(mirror);
    put_simple(pool, "r1", "a", 3, 100, NULL, NULL);
    put_simple(pool, "r1", "b", 1, 200, NULL, NULL);
    put_simple(pool, "r2", "c", 2, 300, NULL, id);
    cr_expect_not(mirror_is_ready(mirror));
    load(mirror, pool);
    cr_expect(mirror_is_ready(mirror));
    cr_expect_str_eq(find(mirror, 102, NULL), "a");
    cr_expect_str_eq(find(mirror, 200, "r1"), "b");
    cr_expect_str_eq(find(mirror, 200, "r2"), "");
    cr_expect_eq(stats_of(mirror).index.count, 6);
    cr_expect_eq(stats_of(mirror).catalog.documents, 3);

    put_simple(pool, "r1", "d", 1, 400, &listener, NULL);
    cr_expect_str_eq(find(mirror, 400, NULL), "d");
    put_simple(pool, "r1", "a", 1, 500, &listener, NULL);
    cr_expect_str_eq(find(mirror, 500, NULL), "a");
    cr_expect_str_eq(find(mirror, 101, NULL), "");
    delete_simple(pool, id, &listener);
    cr_expect_str_eq(find(mirror, 301, NULL), "");

    struct write_result result;
    size_t documents;
    cr_assert_eq(vault_delete_repository(pool, "local", "r1", &documents, &result, NULL), 0);
    mirror_repository_deleted(mirror, "local", "r1", &result);
    write_result_free(&result);
    cr_expect_eq(stats_of(mirror).index.count, 0);
    cr_expect_eq(stats_of(mirror).catalog.documents, 0);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, finds_as_many_documents_as_are_wanted_past_one_with_many_chunks)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    float vector[EMBEDDING_DIM];
    struct error err = {0};
    /* 70 of the nearest embeddings belong to three documents; the others are further away. */
    PGconn *conn = fixture_connect(name, "tekup_admin");
    for (int i = 0; i < 12; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p%02d", i);
        put_simple(pool, "r", path, 1, 1000 + (unsigned)i, NULL, NULL);
    }
    fixture_run(conn, "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", \"embedding\")"
                      " SELECT d.\"id\", e.\"embedding\" FROM vault.\"VaultDocument\" d,"
                      " (SELECT e.\"embedding\" FROM vault.\"VaultEmbedding\" e JOIN"
                      " vault.\"VaultDocument\" o ON o.\"id\" = e.\"documentId\""
                      " WHERE o.\"path\" = 'p00') e, generate_series(1, 70)"
                      " WHERE d.\"path\" IN ('p00', 'p01', 'p02')");
    PQfinish(conn);
    load(mirror, pool);
    fill_vector(vector, 1000);
    struct catalog_filter filter;
    struct catalog_hit *hits;
    size_t found;
    cr_assert_eq(catalog_narrow(mirror_catalog(mirror), NULL, NULL, NULL, NULL, 0, &filter, &err),
                 0);
    const struct mirror_query query = {vector, 10, 0, -INFINITY, &filter};
    cr_assert_eq(mirror_search(mirror, &query, &hits, &found, &err), 0, "%s", err.message);
    cr_expect_eq(found, 10);
    for (size_t i = 0; i + 1 < found; i++) {
        cr_expect_geq(hits[i].similarity, hits[i + 1].similarity);
        for (size_t j = i + 1; j < found; j++)
            cr_expect_str_neq(hits[i].document, hits[j].document);
    }
    catalog_hits_free(hits, found);
    free(hits);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, what_is_gone_stays_gone_whoever_tells_first)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    const struct vault_listener listener = mirror_listener(mirror);
    struct draft *first = draft("r", "a", 2, 10), *second = draft("r", "a", 1, 20),
                 *third = draft("r", "b", 1, 30);
    struct write_result one = put(pool, first, NULL), two = put(pool, second, NULL),
                        three = put(pool, third, NULL), deleted;
    cr_assert_eq(one.removed_count, 0);
    cr_assert_eq(two.removed_count, 2);
    cr_assert_eq(vault_delete_document(pool, three.document_id, &deleted, NULL), 0);

    listener.written(listener.arg, &second->write, &two);
    listener.written(listener.arg, &first->write, &one);
    listener.deleted(listener.arg, &deleted);
    listener.written(listener.arg, &third->write, &three);
    cr_expect_str_eq(find(mirror, 20, NULL), "a");
    cr_expect_str_eq(find(mirror, 10, NULL), "");
    cr_expect_str_eq(find(mirror, 30, NULL), "");
    cr_expect_eq(stats_of(mirror).index.count, 1);
    cr_expect_eq(stats_of(mirror).catalog.documents, 1);
    load(mirror, pool);
    cr_expect_eq(stats_of(mirror).index.count, 1);
    cr_expect_eq(stats_of(mirror).catalog.documents, 1);
    write_result_free(&one);
    write_result_free(&two);
    write_result_free(&three);
    write_result_free(&deleted);
    free(first);
    free(second);
    free(third);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, a_document_told_of_after_its_repository_was_removed_leaves_nothing)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    const struct vault_listener listener = mirror_listener(mirror);
    struct draft *first = draft("r", "a", 2, 10);
    struct write_result one = put(pool, first, NULL), removed;
    size_t documents;
    cr_assert_eq(vault_delete_repository(pool, "local", "r", &documents, &removed, NULL), 0);
    mirror_repository_deleted(mirror, "local", "r", &removed);
    listener.written(listener.arg, &first->write, &one);
    cr_expect_str_eq(find(mirror, 10, NULL), "");
    cr_expect_eq(stats_of(mirror).index.count, 0);
    cr_expect_eq(stats_of(mirror).catalog.documents, 0);
    write_result_free(&one);
    write_result_free(&removed);
    free(first);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, another_load_finds_what_others_wrote_and_deleted)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    PGconn *conn = fixture_connect(name, "tekup_admin");
    put_simple(pool, "r", "a", 1, 1, NULL, NULL);
    put_simple(pool, "r", "b", 2, 10, NULL, NULL);
    load(mirror, pool);
    put_simple(pool, "r", "c", 1, 20, NULL, NULL);
    fixture_run(conn, "DELETE FROM vault.\"VaultDocument\" WHERE \"path\" = 'a'");
    fixture_run(conn,
                "DELETE FROM vault.\"VaultEmbedding\" WHERE \"id\" = (SELECT max(e.\"id\") FROM"
                " vault.\"VaultEmbedding\" e JOIN vault.\"VaultDocument\" d ON d.\"id\" ="
                " e.\"documentId\" WHERE d.\"path\" = 'b')");
    fixture_run(conn, "UPDATE vault.\"VaultDocument\" SET \"path\" = 'b2' WHERE \"path\" = 'b'");
    load(mirror, pool);
    cr_expect_str_eq(find(mirror, 1, NULL), "");
    cr_expect_str_eq(find(mirror, 10, NULL), "b2");
    cr_expect_str_eq(find(mirror, 11, NULL), "");
    cr_expect_str_eq(find(mirror, 20, NULL), "c");
    cr_expect_eq(stats_of(mirror).index.count, 2);
    cr_expect_eq(stats_of(mirror).catalog.documents, 2);
    PQfinish(conn);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, leaves_out_vectors_that_cannot_be_searched)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    PGconn *conn = fixture_connect(name, "tekup_admin");
    put_simple(pool, "r", "a", 1, 1, NULL, NULL);
    /* pgvector refuses NaN and infinity by itself. */
    const bool vectors =
        strcmp(fixture_value(conn, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"),
               "0") != 0;
    static const char *const unfit[] = {"0", "NaN", "Infinity"};
    for (size_t i = 0; i < (vectors ? 1 : 3); i++) {
        char sql[300];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", \"embedding\") SELECT"
                 " \"id\", array_fill('%s'::real, ARRAY[1536])%s FROM vault.\"VaultDocument\"",
                 unfit[i], vectors ? "::vector" : "");
        fixture_run(conn, sql);
    }
    load(mirror, pool);
    cr_expect_str_eq(find(mirror, 1, NULL), "a");
    cr_expect_eq(stats_of(mirror).index.count, 1);
    PQfinish(conn);
    mirror_free(mirror);
    pool_free(pool);
}

Test(mirror, a_load_can_be_stopped_and_says_when_the_database_is_away)
{
    char name[32];
    struct pool *pool = fixture_pool(2, name);
    struct mirror *mirror = new_mirror();
    struct error err = {0};
    put_simple(pool, "r", "a", 1, 1, NULL, NULL);
    struct pool *nowhere = pool_create("host=/nonexistent dbname=x", 1, &err);
    cr_expect_eq(mirror_load(mirror, nowhere, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_not(mirror_is_ready(mirror));
    mirror_stop(mirror);
    cr_expect_eq(mirror_load(mirror, pool, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    cr_expect_not(mirror_is_ready(mirror));
    mirror_free(mirror);
    pool_free(nowhere);
    pool_free(pool);
}

/* ---- All at once ---- */

enum { WRITERS = 3, ROUNDS = 40, PATHS = 12 };

struct crowd {
    struct pool *pool;
    struct mirror *mirror;
    struct vault_listener listener;
    atomic_int next, writing;
};

/* Writers share paths, so that they replace and delete each other's documents. */
static void *write_on(void *arg)
{
    struct crowd *crowd = arg;
    const int number = atomic_fetch_add(&crowd->next, 1);
    uint32_t state = (uint32_t)number + 7;
    for (int round = 0; round < ROUNDS; round++) {
        char path[16];
        state = state * 1664525u + 1013904223u;
        snprintf(path, sizeof(path), "p%u", (state >> 10) % PATHS);
        struct draft *one =
            draft("r", path, 1 + (state >> 5) % CHUNKS, (unsigned)(number * 10000 + round * 10));
        struct write_result result = {0};
        struct error err = {0};
        if (vault_put_document(crowd->pool, &one->write, &result, &err) == 0)
            crowd->listener.written(crowd->listener.arg, &one->write, &result);
        struct write_result gone = {0};
        if (round % 4 == 3 &&
            vault_delete_document(crowd->pool, result.document_id, &gone, &err) == 0)
            crowd->listener.deleted(crowd->listener.arg, &gone);
        write_result_free(&gone);
        write_result_free(&result);
        free(one);
    }
    atomic_fetch_sub(&crowd->writing, 1);
    return NULL;
}

static void *search_on(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned seed = 0; atomic_load(&crowd->writing) > 0; seed++)
        find(crowd->mirror, seed % 30000, seed % 2 == 0 ? "r" : NULL);
    return NULL;
}

Test(mirror, ends_as_the_vault_whatever_happens_at_once)
{
    char name[32];
    struct crowd crowd = {.writing = WRITERS};
    pthread_t writers[WRITERS], searcher;
    crowd.pool = fixture_pool(WRITERS + 1, name);
    crowd.mirror = new_mirror();
    crowd.listener = mirror_listener(crowd.mirror);
    for (int i = 0; i < PATHS; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p%d", i);
        put_simple(crowd.pool, "r", path, 2, 50000 + (unsigned)i * 10, NULL, NULL);
    }
    for (int i = 0; i < WRITERS; i++) pthread_create(&writers[i], NULL, write_on, &crowd);
    pthread_create(&searcher, NULL, search_on, &crowd);
    int loads = 0;
    do {
        load(crowd.mirror, crowd.pool);
        loads++;
    } while (atomic_load(&crowd.writing) > 0);
    for (int i = 0; i < WRITERS; i++) pthread_join(writers[i], NULL);
    pthread_join(searcher, NULL);

    PGconn *conn = fixture_connect(name, "tekup_admin");
    const struct mirror_stats stats = stats_of(crowd.mirror);
    char text[32];
    snprintf(text, sizeof(text), "%zu", stats.index.count);
    cr_expect_str_eq(text, fixture_value(conn, "SELECT count(*) FROM vault.\"VaultEmbedding\""),
                     "after %d loads", loads);
    snprintf(text, sizeof(text), "%zu", stats.catalog.embeddings);
    cr_expect_str_eq(text, fixture_value(conn, "SELECT count(*) FROM vault.\"VaultEmbedding\""));
    PGresult *rows = PQexec(conn, "SELECT \"id\" FROM vault.\"VaultEmbedding\"");
    for (int i = 0; i < PQntuples(rows); i++)
        cr_expect(catalog_knows(mirror_catalog(crowd.mirror), atoll(PQgetvalue(rows, i, 0))));
    PQclear(rows);
    PQfinish(conn);
    mirror_free(crowd.mirror);
    pool_free(crowd.pool);
}
