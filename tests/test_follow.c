/* A replica that follows a real vault: reading it, and every way in which others change it. */
#include "tests/cluster_fixture.h"

#include "tools/tekupd/mirror/follow.h"

#include "storage/sql.h"

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

static void put_simple(struct pool *pool, const char *repository, const char *path, size_t chunks,
                       unsigned seed, char id[DOCUMENT_ID_SIZE])
{
    struct draft *one = draft(repository, path, chunks, seed);
    struct error err = {0};
    struct write_result result;
    cr_assert_eq(vault_put_document(pool, &one->write, &result, &err), 0, "%s", err.message);
    if (id != NULL) memcpy(id, result.document_id, DOCUMENT_ID_SIZE);
    write_result_free(&result);
    free(one);
}

/* ---- Following ---- */

struct scene {
    char name[32];
    struct pool *pool;
    PGconn *other; /* another writer */
    struct follow follow;
    atomic_bool stop;
    atomic_ullong applied;
};

static struct replica *new_replica(void)
{
    struct error err = {0};
    tk_index_options options;
    tk_index_options_init(&options);
    options.dim = EMBEDDING_DIM;
    options.max_neighbours = 8;
    options.ef_construction = 40;
    struct replica *replica = replica_create(&options, "model", &err);
    cr_assert_not_null(replica, "%s", err.message);
    return replica;
}

static void load(struct scene *scene)
{
    struct error err = {0};
    struct follow_progress progress = {0};
    struct replica *replica = new_replica();
    cr_assert_eq(follow_read_all(&scene->follow, "test", replica, &progress, &err), 0, "%s",
                 err.message);
    replica_release(replica);
}

static struct scene *open_scene(int pool_size)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct error err = {0};
    cr_assert_not_null(scene);
    scene->pool = fixture_pool(pool_size, scene->name);
    scene->other = fixture_connect(scene->name, "tekup_admin");
    follow_init(&scene->follow, &scene->stop);
    cr_assert_eq(follow_connect(&scene->follow, scene->pool, &err), 0, "%s", err.message);
    return scene;
}

static void close_scene(struct scene *scene)
{
    follow_free(&scene->follow);
    PQfinish(scene->other);
    pool_free(scene->pool);
    free(scene);
}

static void follow(struct scene *scene)
{
    struct error err = {0};
    cr_assert_eq(follow_changes(&scene->follow, NULL, NULL, &scene->applied, &err), 0, "%s",
                 err.message);
}

/* ---- Asking ---- */

static struct replica_stats stats_of(const struct scene *scene)
{
    struct replica_stats stats;
    replica_get_stats(scene->follow.replica, &stats);
    return stats;
}

/* The path of the most similar document to the vector of a seed, if it is (nearly) the same vector;
 * "" otherwise. */
static const char *find(struct replica *replica, unsigned seed, const char *repository)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];
    float vector[EMBEDDING_DIM];
    struct catalog_filter filter;
    struct catalog_hits hits;
    struct error err = {0};
    fill_vector(vector, seed);
    cr_assert_eq(
        catalog_narrow(replica_catalog(replica), NULL, repository, NULL, NULL, 0, &filter, &err),
        0);
    const struct replica_query query = {vector, 5, false, 0, -INFINITY, &filter, NULL};
    cr_assert_eq(replica_search(replica, &query, &hits, &err), 0, "%s", err.message);
    snprintf(path, sizeof(paths[0]), "%s",
             hits.count > 0 && hits.hits[0].similarity > 0.99f ? hits.hits[0].path : "");
    catalog_hits_free(&hits);
    catalog_filter_free(&filter);
    return path;
}

/* Compares with the vault, row by row. */
struct comparison {
    struct replica *replica;
    size_t documents, embeddings, wrong;
};

static int compare_document(void *arg, const char *id, const char *source, const char *repository,
                            const char *path)
{
    struct comparison *comparison = arg;
    struct buffer place = {0}, expected = {0};
    buffer_append(&expected, source, strlen(source) + 1);
    buffer_append(&expected, repository, strlen(repository) + 1);
    buffer_append(&expected, path, strlen(path) + 1);
    if (!catalog_place(replica_catalog(comparison->replica), id, &place) ||
        place.length != expected.length || memcmp(place.data, expected.data, place.length) != 0)
        comparison->wrong++;
    buffer_free(&place);
    buffer_free(&expected);
    comparison->documents++;
    return 0;
}

static int compare_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct comparison *comparison = arg;
    char document[DOCUMENT_ID_SIZE];
    uint64_t hash;
    float stored[EMBEDDING_DIM];
    double length = 0;
    for (int i = 0; i < EMBEDDING_DIM; i++) length += (double)vector[i] * (double)vector[i];
    length = sqrt(length);
    bool same = catalog_look_up(replica_catalog(comparison->replica), id, &hash, document) &&
                strcmp(document, document_id) == 0 && hash == replica_hash(vector) &&
                tk_index_get(replica_index(comparison->replica), (tk_id)id, stored, NULL) == TK_OK;
    for (int i = 0; i < EMBEDDING_DIM && same; i++)
        same = fabs((double)vector[i] / length - (double)stored[i]) < 2e-4;
    comparison->wrong += !same;
    comparison->embeddings++;
    return 0;
}

static void expect_equal(struct scene *scene)
{
    struct comparison comparison = {.replica = scene->follow.replica};
    const struct vault_reader reader = {compare_document, compare_embedding, &comparison};
    struct error err = {0};
    char *position;
    PGconn *conn = pool_lease(scene->pool, POOL_WAIT_MS, &err);
    cr_assert_eq(vault_read_all(conn, "model", &reader, &position, &err), 0, "%s", err.message);
    free(position);
    pool_release(scene->pool, conn);
    const struct replica_stats stats = stats_of(scene);
    cr_expect_eq(comparison.wrong, 0, "%zu rows differ", comparison.wrong);
    cr_expect_eq(stats.catalog.documents, comparison.documents);
    cr_expect_eq(stats.catalog.embeddings, comparison.embeddings);
    cr_expect_eq(stats.index.count, comparison.embeddings);
}

/* ---- Tests ---- */

Test(follow, reads_what_the_vault_has_and_follows_what_others_do)
{
    char id[DOCUMENT_ID_SIZE];
    struct scene *scene = open_scene(2);
    put_simple(scene->pool, "r1", "a", 3, 100, NULL);
    put_simple(scene->pool, "r1", "b", 1, 200, NULL);
    put_simple(scene->pool, "r2", "c", 2, 300, id);
    load(scene);
    cr_expect_str_eq(find(scene->follow.replica, 102, NULL), "a");
    cr_expect_str_eq(find(scene->follow.replica, 200, "r1"), "b");
    cr_expect_str_eq(find(scene->follow.replica, 200, "r2"), "");
    expect_equal(scene);

    put_simple(scene->pool, "r1", "d", 1, 400, NULL);
    cr_expect_str_eq(find(scene->follow.replica, 400, NULL), "");
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 400, NULL), "d");
    put_simple(scene->pool, "r1", "a", 1, 500, NULL);
    fixture_run(scene->other, "UPDATE vault.\"VaultDocument\" SET \"path\" = 'b2',"
                              " \"repository\" = 'r3' WHERE \"path\" = 'b'");
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 500, NULL), "a");
    cr_expect_str_eq(find(scene->follow.replica, 101, NULL), "");
    cr_expect_str_eq(find(scene->follow.replica, 200, "r3"), "b2");
    expect_equal(scene);
    fixture_run(scene->other, "DELETE FROM vault.\"VaultDocument\" WHERE \"path\" = 'c'");
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 301, NULL), "");
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, looks_at_content_that_changes_under_its_id)
{
    struct scene *scene = open_scene(2);
    put_simple(scene->pool, "r", "a", 1, 10, NULL);
    put_simple(scene->pool, "r", "b", 1, 20, NULL);
    load(scene);
    /* The vectors change places. */
    fixture_run(scene->other,
                "UPDATE vault.\"VaultEmbedding\" e SET \"embedding\" = o.\"embedding\""
                " FROM vault.\"VaultEmbedding\" o WHERE o.\"id\" <> e.\"id\"");
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 10, NULL), "b");
    cr_expect_str_eq(find(scene->follow.replica, 20, NULL), "a");
    expect_equal(scene);
    /* Then their documents do, so that all is as it was. */
    fixture_run(scene->other,
                "UPDATE vault.\"VaultEmbedding\" e SET \"documentId\" = o.\"documentId\""
                " FROM vault.\"VaultEmbedding\" o WHERE o.\"id\" <> e.\"id\"");
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 10, NULL), "a");
    expect_equal(scene);
    /* The model of one is another one now: tekupdb."Chunk" changes with the embedding. */
    fixture_run(
        scene->other,
        "UPDATE tekupdb.\"Chunk\" c SET \"model\" = 'other', \"documentId\" = e.\"documentId\""
        " FROM vault.\"VaultEmbedding\" e WHERE e.\"id\" = c.\"embeddingId\""
        " AND e.\"id\" = (SELECT min(\"id\") FROM vault.\"VaultEmbedding\");"
        "UPDATE vault.\"VaultEmbedding\" SET \"createdAt\" = now()");
    follow(scene);
    cr_expect_eq(stats_of(scene).index.count, 1);
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, follows_truncate_and_numbers_that_start_again)
{
    struct scene *scene = open_scene(2);
    for (unsigned i = 0; i < 300; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p%u", i);
        put_simple(scene->pool, "r", path, 1, i * 10, NULL);
    }
    load(scene);
    fixture_run(scene->other, "TRUNCATE vault.\"VaultEmbedding\" RESTART IDENTITY");
    fixture_run(scene->other, "DELETE FROM tekupdb.\"Chunk\"");
    put_simple(scene->pool, "r", "new", 2, 7777, NULL);
    follow(scene);
    cr_expect_str_eq(find(scene->follow.replica, 7778, NULL), "new");
    cr_expect_str_eq(find(scene->follow.replica, 0, NULL), "");
    cr_expect_eq(stats_of(scene).catalog.documents, 301);
    expect_equal(scene);
    /* In one transaction with what comes after it. */
    fixture_run(scene->other, "BEGIN; TRUNCATE vault.\"VaultDocument\" CASCADE;"
                              "INSERT INTO vault.\"VaultDocument\" (\"id\", \"source\","
                              " \"repository\", \"path\", \"content\", \"updatedAt\")"
                              " VALUES ('x', 's', 'r', 'x', 'c', now()); COMMIT");
    follow(scene);
    cr_expect_eq(stats_of(scene).catalog.documents, 1);
    cr_expect_eq(stats_of(scene).index.count, 0);
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, sees_each_transaction_when_it_ends_and_nothing_of_one_that_does_not)
{
    struct scene *scene = open_scene(2);
    load(scene);
    fixture_run(scene->other, "BEGIN; INSERT INTO vault.\"VaultDocument\" (\"id\", \"source\","
                              " \"repository\", \"path\", \"content\", \"updatedAt\")"
                              " VALUES ('x', 's', 'r', 'x', 'c', now())");
    put_simple(scene->pool, "r", "a", 1, 10, NULL);
    follow(scene);
    cr_expect_eq(stats_of(scene).catalog.documents, 1);
    fixture_run(scene->other, "COMMIT");
    follow(scene);
    cr_expect_eq(stats_of(scene).catalog.documents, 2);
    fixture_run(scene->other, "BEGIN; DELETE FROM vault.\"VaultDocument\"");
    follow(scene);
    fixture_run(scene->other, "ROLLBACK");
    follow(scene);
    cr_expect_eq(stats_of(scene).catalog.documents, 2);
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, looks_at_a_document_out_of_turn)
{
    char id[DOCUMENT_ID_SIZE];
    struct error err = {0};
    const char *ids[] = {id, "nowhere"};
    struct scene *scene = open_scene(2);
    load(scene);
    put_simple(scene->pool, "r", "before", 2, 10, NULL);
    put_simple(scene->pool, "r", "a", 2, 20, id);
    cr_assert_eq(follow_documents(&scene->follow, ids, 2, &err), 0, "%s", err.message);
    cr_expect_str_eq(find(scene->follow.replica, 21, NULL), "a");
    cr_expect_str_eq(find(scene->follow.replica, 10, NULL), "");
    put_simple(scene->pool, "r", "a", 1, 30, NULL);
    cr_assert_eq(follow_documents(&scene->follow, ids, 2, &err), 0);
    cr_expect_eq(stats_of(scene).index.count, 1);
    follow(scene);
    expect_equal(scene);
    fixture_run(scene->other, "DELETE FROM vault.\"VaultDocument\" WHERE \"path\" = 'a'");
    cr_assert_eq(follow_documents(&scene->follow, ids, 2, &err), 0);
    cr_expect_str_eq(find(scene->follow.replica, 30, NULL), "");
    follow(scene);
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, knows_when_it_cannot_go_on)
{
    struct error err = {0};
    char reason[256];
    struct scene *scene = open_scene(1);
    cr_expect_eq(follow_can_go_on(&scene->follow, reason, sizeof(reason), &err), 0);
    load(scene);
    cr_expect_eq(follow_can_go_on(&scene->follow, reason, sizeof(reason), &err), 1);
    follow_disconnect(&scene->follow);
    cr_assert_eq(follow_connect(&scene->follow, scene->pool, &err), 0, "%s", err.message);
    cr_expect_eq(follow_can_go_on(&scene->follow, reason, sizeof(reason), &err), 1);
    fixture_run(scene->other, "UPDATE tekupdb.\"Feed\" SET \"trimmed\" ="
                              " (pg_current_xact_id()::text::bigint + 1)::text::xid8");
    cr_expect_eq(follow_can_go_on(&scene->follow, reason, sizeof(reason), &err), 0);
    cr_expect_not_null(strstr(reason, "feed"), "%s", reason);
    fixture_run(scene->other, "UPDATE tekupdb.\"Feed\" SET \"trimmed\" = '0',"
                              " \"id\" = gen_random_uuid()");
    cr_assert_eq(follow_connect(&scene->follow, scene->pool, &err), 0, "%s", err.message);
    cr_expect_eq(follow_can_go_on(&scene->follow, reason, sizeof(reason), &err), 0);
    cr_expect_not_null(strstr(reason, "another database"), "%s", reason);
    close_scene(scene);
}

Test(follow, finds_as_many_documents_as_are_wanted_past_one_with_many_chunks)
{
    struct scene *scene = open_scene(2);
    float vector[EMBEDDING_DIM];
    struct error err = {0};
    /* 70 of the nearest embeddings belong to three documents; the others are further away. */
    for (int i = 0; i < 12; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p%02d", i);
        put_simple(scene->pool, "r", path, 1, 1000 + (unsigned)i, NULL);
    }
    fixture_run(scene->other, "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", \"embedding\")"
                              " SELECT d.\"id\", e.\"embedding\" FROM vault.\"VaultDocument\" d,"
                              " (SELECT e.\"embedding\" FROM vault.\"VaultEmbedding\" e JOIN"
                              " vault.\"VaultDocument\" o ON o.\"id\" = e.\"documentId\""
                              " WHERE o.\"path\" = 'p00') e, generate_series(1, 70)"
                              " WHERE d.\"path\" IN ('p00', 'p01', 'p02')");
    load(scene);
    fill_vector(vector, 1000);
    struct catalog_filter filter;
    struct catalog_hits hits;
    cr_assert_eq(catalog_narrow(replica_catalog(scene->follow.replica), NULL, NULL, NULL, NULL, 0,
                                &filter, &err),
                 0);
    const struct replica_query query = {vector, 10, false, 0, -INFINITY, &filter, NULL};
    cr_assert_eq(replica_search(scene->follow.replica, &query, &hits, &err), 0, "%s", err.message);
    cr_expect_eq(hits.count, 10);
    for (size_t i = 0; i + 1 < hits.count; i++) {
        cr_expect_geq(hits.hits[i].similarity, hits.hits[i + 1].similarity);
        for (size_t j = i + 1; j < hits.count; j++)
            cr_expect_str_neq(hits.hits[i].document, hits.hits[j].document);
    }
    catalog_hits_free(&hits);
    close_scene(scene);
}

Test(follow, leaves_out_vectors_that_cannot_be_searched)
{
    struct scene *scene = open_scene(2);
    put_simple(scene->pool, "r", "a", 1, 1, NULL);
    /* pgvector refuses NaN and infinity by itself. */
    const bool vectors =
        strcmp(fixture_value(scene->other,
                             "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"),
               "0") != 0;
    static const char *const unfit[] = {"0", "NaN", "Infinity"};
    for (size_t i = 0; i < (vectors ? 1 : 3); i++) {
        char sql[300];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", \"embedding\") SELECT"
                 " \"id\", array_fill('%s'::real, ARRAY[1536])%s FROM vault.\"VaultDocument\"",
                 unfit[i], vectors ? "::vector" : "");
        fixture_run(scene->other, sql);
    }
    load(scene);
    cr_expect_str_eq(find(scene->follow.replica, 1, NULL), "a");
    cr_expect_eq(stats_of(scene).index.count, 1);
    /* One that becomes such is taken out, and comes back when it is right again. */
    fixture_run(scene->other, vectors ? "UPDATE vault.\"VaultEmbedding\" SET \"embedding\" ="
                                        " array_fill(0::real, ARRAY[1536])::vector"
                                      : "UPDATE vault.\"VaultEmbedding\" SET \"embedding\" ="
                                        " array_fill(0::real, ARRAY[1536])");
    follow(scene);
    cr_expect_eq(stats_of(scene).index.count, 0);
    expect_equal(scene);
    close_scene(scene);
}

Test(follow, can_be_stopped_and_says_when_the_database_is_away)
{
    struct error err = {0};
    struct scene *scene = open_scene(2);
    struct follow_progress progress = {0};
    struct replica *replica = new_replica();
    put_simple(scene->pool, "r", "a", 1, 1, NULL);
    atomic_store(&scene->stop, true);
    cr_expect_eq(follow_read_all(&scene->follow, "test", replica, &progress, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    replica_release(replica);
    cr_expect_null(scene->follow.replica);
    atomic_store(&scene->stop, false);
    load(scene);
    put_simple(scene->pool, "r", "b", 1, 2, NULL);
    /* The connection is cut: it goes on from where it was. */
    fixture_run(scene->other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    int rc;
    while ((rc = follow_changes(&scene->follow, NULL, NULL, &scene->applied, &err)) == 0)
        usleep(1000);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_assert_eq(follow_connect(&scene->follow, scene->pool, &err), 0, "%s", err.message);
    follow(scene);
    expect_equal(scene);
    struct pool *nowhere = pool_create("host=/nonexistent dbname=x", 1, &err);
    cr_expect_eq(follow_connect(&scene->follow, nowhere, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    pool_free(nowhere);
    close_scene(scene);
}

/* ---- All at once ---- */

enum { WRITERS = 3, ROUNDS = 40, PATHS = 12 };

struct crowd {
    struct scene *scene;
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
        struct write_result result = {0}, gone = {0};
        struct error err = {0};
        if (vault_put_document(crowd->scene->pool, &one->write, &result, &err) == 0 &&
            round % 4 == 3)
            vault_delete_document(crowd->scene->pool, result.document_id, &gone, &err);
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
        find(crowd->scene->follow.replica, seed % 30000, seed % 2 == 0 ? "r" : NULL);
    return NULL;
}

Test(follow, ends_as_the_vault_whatever_happens_at_once)
{
    struct crowd crowd = {.scene = open_scene(WRITERS + 1), .writing = WRITERS};
    pthread_t writers[WRITERS], searcher;
    struct error err = {0};
    for (int i = 0; i < PATHS; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p%d", i);
        put_simple(crowd.scene->pool, "r", path, 2, 50000 + (unsigned)i * 10, NULL);
    }
    load(crowd.scene);
    for (int i = 0; i < WRITERS; i++) pthread_create(&writers[i], NULL, write_on, &crowd);
    pthread_create(&searcher, NULL, search_on, &crowd);
    while (atomic_load(&crowd.writing) > 0) {
        char ids[4][DOCUMENT_ID_SIZE];
        const char *pointers[4];
        size_t from = 0;
        follow(crowd.scene);
        const size_t count =
            catalog_walk(replica_catalog(crowd.scene->follow.replica), &from, ids, 4);
        for (size_t i = 0; i < count; i++) pointers[i] = ids[i];
        cr_assert_eq(follow_documents(&crowd.scene->follow, pointers, count, &err), 0);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(writers[i], NULL);
    pthread_join(searcher, NULL);
    follow(crowd.scene);
    expect_equal(crowd.scene);
    cr_expect_gt(atomic_load(&crowd.scene->applied), 0);
    close_scene(crowd.scene);
}
