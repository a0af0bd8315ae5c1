/* Many threads at one index: what every one of them sees, and what is there in the end. */
#include "tests/index_data.h"
#include "tests/index_graph.h"

#include <pthread.h>
#include <unistd.h>

enum { DIM = 16 };

#define ROUNDS (SANITIZED ? 1 : 3)
#define WRITES (SANITIZED ? 300 : 1800)

/* ---- Everything at once ---------------------------------------------------------------------- */

/* Ids in four ranges: always there; there with one of two vectors; coming and going; and those of
 * the batch. */
enum {
    STABLE = 600,
    SWITCHING = 60,
    PASSING = 200,
    BATCH = 400,
    SWITCHING_FROM = 1000,
    PASSING_FROM = 2000,
    BATCH_FROM = 3000,
    MOST = STABLE + SWITCHING + PASSING + BATCH
};

struct scene {
    tk_index *index;
    float *stable, *ones, *others, *passing, *batch; /* switching ids have `ones` or `others` */
    _Atomic int writers;                             /* still at work */
    _Atomic uint64_t seed;
};

static uint64_t own_seed(struct scene *scene)
{
    return atomic_fetch_add(&scene->seed, 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The similarities that an id may be found with. */
static bool is_right(const struct scene *scene, const float *query, tk_hit hit)
{
    const float *one = NULL, *other = NULL;
    if (hit.id < STABLE) one = scene->stable + hit.id * DIM;
    if (hit.id >= SWITCHING_FROM && hit.id < SWITCHING_FROM + SWITCHING) {
        one = scene->ones + (hit.id - SWITCHING_FROM) * DIM;
        other = scene->others + (hit.id - SWITCHING_FROM) * DIM;
    }
    if (hit.id >= PASSING_FROM && hit.id < PASSING_FROM + PASSING)
        one = scene->passing + (hit.id - PASSING_FROM) * DIM;
    if (hit.id >= BATCH_FROM && hit.id < BATCH_FROM + BATCH)
        one = scene->batch + (hit.id - BATCH_FROM) * DIM;
    return (one && fabs(data_cosine(query, one, DIM) - (double)hit.similarity) < 1e-4) ||
           (other && fabs(data_cosine(query, other, DIM) - (double)hit.similarity) < 1e-4);
}

/* Holds one answer against what may be in it. */
static void check_hits(const struct scene *scene, const float *query, const tk_hit *hits,
                       size_t found, bool complete)
{
    bool seen[BATCH_FROM + BATCH] = {false};
    size_t stable = 0, switching = 0;
    for (size_t i = 0; i < found; i++) {
        cr_assert_lt(hits[i].id, BATCH_FROM + BATCH);
        cr_assert_not(seen[hits[i].id], "id %d twice", (int)hits[i].id);
        seen[hits[i].id] = true;
        cr_assert(is_right(scene, query, hits[i]), "id %d with %g", (int)hits[i].id,
                  (double)hits[i].similarity);
        if (i > 0) cr_assert_geq(hits[i - 1].similarity, hits[i].similarity);
        stable += hits[i].id < STABLE;
        switching += hits[i].id >= SWITCHING_FROM && hits[i].id < SWITCHING_FROM + SWITCHING;
    }
    if (!complete) return;
    cr_assert_eq(stable, STABLE, "what is always there is always found");
    cr_assert_eq(switching, SWITCHING, "one of the two vectors is always found");
}

static void *search_all(void *arg)
{
    struct scene *scene = arg;
    uint64_t seed = own_seed(scene);
    tk_hit *hits = malloc((MOST + 100) * sizeof(*hits));
    do {
        float query[DIM];
        size_t switching = data_random(&seed) % SWITCHING;
        for (size_t d = 0; d < DIM; d++) query[d] = data_normal(&seed);
        check_hits(scene, query, hits, data_search(scene->index, query, MOST + 100, true, hits),
                   true);
        check_hits(scene, query, hits, data_search(scene->index, query, 20, true, hits), false);

        /* The walk, from where it has to decide between old and new. */
        const float *one = scene->ones + switching * DIM;
        tk_search search;
        tk_search_init(&search);
        search.ef = 10;
        size_t found;
        cr_assert_eq(tk_index_search(scene->index, one, &search, hits, &found, NULL), TK_OK);
        cr_assert_eq(found, 10);
        check_hits(scene, one, hits, found, false);

        float out[DIM];
        cr_assert_eq(tk_index_get(scene->index, SWITCHING_FROM + switching, out, NULL), TK_OK);
        cr_assert(fabs(data_cosine(out, one, DIM) - 1) < 1e-4 ||
                  fabs(data_cosine(out, scene->others + switching * DIM, DIM) - 1) < 1e-4);
    } while (atomic_load(&scene->writers) > 0);
    free(hits);
    return NULL;
}

static void *replace_some(void *arg)
{
    struct scene *scene = arg;
    uint64_t seed = own_seed(scene);
    for (int i = 0; i < WRITES; i++) {
        size_t which = data_random(&seed) % SWITCHING;
        const float *to = (data_random(&seed) % 2 ? scene->ones : scene->others) + which * DIM;
        cr_assert_eq(tk_index_replace(scene->index, SWITCHING_FROM + which, to, NULL), TK_OK);
    }
    atomic_fetch_sub(&scene->writers, 1);
    return NULL;
}

static void *add_and_remove(void *arg)
{
    struct scene *scene = arg;
    uint64_t seed = own_seed(scene);
    for (int i = 0; i < WRITES; i++) {
        size_t which = data_random(&seed) % PASSING;
        tk_status status = data_random(&seed) % 2
                               ? tk_index_add(scene->index, PASSING_FROM + which,
                                              scene->passing + which * DIM, NULL)
                               : tk_index_remove(scene->index, PASSING_FROM + which, NULL);
        cr_assert(status == TK_OK || status == TK_EEXISTS || status == TK_ENOTFOUND);
    }
    atomic_fetch_sub(&scene->writers, 1);
    return NULL;
}

static void *add_batches(void *arg)
{
    struct scene *scene = arg;
    tk_id ids[BATCH];
    for (size_t i = 0; i < BATCH; i++) ids[i] = BATCH_FROM + i;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        cr_assert_eq(tk_index_add_batch(scene->index, BATCH, ids, scene->batch, 2, NULL), TK_OK);
        for (size_t i = 0; i < BATCH; i++)
            cr_assert_eq(tk_index_remove(scene->index, ids[i], NULL), TK_OK);
    }
    atomic_fetch_sub(&scene->writers, 1);
    return NULL;
}

/* A file saved in the middle of it all is an index like any other. */
static void *save_and_load(void *arg)
{
    struct scene *scene = arg;
    char path[] = "/tmp/tekup-concurrent-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        tk_index *loaded;
        tk_error error;
        tk_hit *hits = malloc((MOST + 100) * sizeof(*hits));
        cr_assert_eq(tk_index_save(scene->index, path, NULL, 0, &error), TK_OK);
        cr_assert_eq(tk_index_load(path, &loaded, &error), TK_OK);
        size_t found = data_search(loaded, scene->ones, MOST + 100, true, hits);
        cr_assert_eq(found, tk_index_count(loaded));
        check_hits(scene, scene->ones, hits, found, true);
        graph_expect_whole(loaded);
        free(hits);
        tk_index_free(loaded);
        usleep(10000);
    }
    unlink(path);
    atomic_fetch_sub(&scene->writers, 1);
    return NULL;
}

Test(index_concurrent, searches_see_every_vector_before_or_after_a_write, .timeout = 1700)
{
    static void *(*const roles[])(void *) = {search_all,   search_all,     replace_some,
                                             replace_some, add_and_remove, add_and_remove,
                                             add_batches,  save_and_load};
    enum { THREADS = sizeof(roles) / sizeof(*roles) };
    struct scene scene = {.index = data_index(DIM),
                          .stable = data_random_vectors(STABLE, DIM, 1),
                          .ones = data_random_vectors(SWITCHING, DIM, 2),
                          .others = data_random_vectors(SWITCHING, DIM, 3),
                          .passing = data_random_vectors(PASSING, DIM, 4),
                          .batch = data_random_vectors(BATCH, DIM, 5),
                          .writers = THREADS - 2,
                          .seed = 1};
    /* Some of what passes is a copy of what stays, so that ids share a node. */
    memcpy(scene.passing, scene.stable, PASSING / 2 * DIM * sizeof(float));
    data_add(scene.index, STABLE, DIM, scene.stable, 0);
    data_add(scene.index, SWITCHING, DIM, scene.ones, SWITCHING_FROM);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, roles[i], &scene), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);

    cr_assert_eq(tk_settle(scene.index, NULL), TK_OK);
    graph_expect_whole(scene.index);
    size_t there = STABLE + SWITCHING;
    for (tk_id id = PASSING_FROM; id < PASSING_FROM + PASSING; id++)
        there += tk_index_contains(scene.index, id);
    cr_expect_eq(tk_index_count(scene.index), there);
    double recall = data_recall(scene.index, STABLE, DIM, scene.stable);
    cr_expect_geq(recall, 0.95, "recall %.3f", recall);
    tk_index_free(scene.index);
    free(scene.stable);
    free(scene.ones);
    free(scene.others);
    free(scene.passing);
    free(scene.batch);
}

/* ---- Races for the same ids ------------------------------------------------------------------ */

struct race {
    tk_index *index;
    const float *vectors;
    size_t n;
    _Atomic size_t added, removed, replaced;
    pthread_barrier_t start;
};

static void *add_all(void *arg)
{
    struct race *race = arg;
    pthread_barrier_wait(&race->start);
    for (size_t i = 0; i < race->n; i++) {
        tk_status status = tk_index_add(race->index, i, race->vectors + i * DIM, NULL);
        cr_assert(status == TK_OK || status == TK_EEXISTS);
        if (status == TK_OK) atomic_fetch_add(&race->added, 1);
    }
    return NULL;
}

static void *remove_all(void *arg)
{
    struct race *race = arg;
    pthread_barrier_wait(&race->start);
    for (size_t i = 0; i < race->n; i++) {
        tk_status status = tk_index_remove(race->index, i, NULL);
        cr_assert(status == TK_OK || status == TK_ENOTFOUND);
        if (status == TK_OK) atomic_fetch_add(&race->removed, 1);
    }
    return NULL;
}

static void *replace_all(void *arg)
{
    struct race *race = arg;
    pthread_barrier_wait(&race->start);
    for (size_t i = 0; i < race->n; i++) {
        const float *to = race->vectors + (race->n - 1 - i) * DIM;
        tk_status status = tk_index_replace(race->index, i, to, NULL);
        cr_assert(status == TK_OK || status == TK_ENOTFOUND);
        if (status == TK_OK) atomic_fetch_add(&race->replaced, 1);
    }
    return NULL;
}

static void run_race(struct race *race, void *(*one)(void *), void *(*other)(void *))
{
    pthread_t threads[4];
    pthread_barrier_init(&race->start, NULL, 4);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, i % 2 ? one : other, race), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race->start);
    cr_assert_eq(tk_settle(race->index, NULL), TK_OK);
    graph_expect_whole(race->index);
}

Test(index_concurrent, one_of_those_who_race_for_an_id_gets_it)
{
    enum { N = 400 };
    float *vectors = data_random_vectors(N, DIM, 8);
    for (int round = 0; round < 3 * ROUNDS; round++) {
        struct race race = {.index = data_index(DIM), .vectors = vectors, .n = N};
        run_race(&race, add_all, add_all);
        cr_assert_eq(atomic_load(&race.added), N);
        cr_assert_eq(tk_index_count(race.index), N);

        run_race(&race, replace_all, replace_all);
        cr_assert_eq(atomic_load(&race.replaced), 4 * N);
        cr_assert_eq(tk_index_count(race.index), N);
        for (size_t i = 0; i < N; i++) {
            float out[DIM];
            cr_assert_eq(tk_index_get(race.index, i, out, NULL), TK_OK);
            cr_assert_float_eq(data_cosine(out, vectors + (N - 1 - i) * DIM, DIM), 1, 1e-4);
        }

        run_race(&race, replace_all, remove_all);
        cr_assert_eq(atomic_load(&race.removed), N);
        cr_assert_eq(tk_index_count(race.index), 0);
        tk_hit hits[1];
        cr_assert_eq(data_search(race.index, vectors, 1, true, hits), 0);

        run_race(&race, add_all, remove_all);
        cr_assert_eq(tk_index_count(race.index),
                     atomic_load(&race.added) - atomic_load(&race.removed));
        tk_index_free(race.index);
    }
    free(vectors);
}

/* While an index is nearly empty whoever comes may find nobody but those who are about to leave. */
Test(index_concurrent, nobody_is_left_alone_where_all_come_and_go)
{
    enum { N = 4 };
    float *vectors = data_random_vectors(N, DIM, 8);
    for (int round = 0; round < 100 * ROUNDS; round++) {
        struct race race = {.index = data_index(DIM), .vectors = vectors, .n = N};
        run_race(&race, add_all, remove_all);
        run_race(&race, add_all, add_all);
        cr_assert_eq(tk_index_count(race.index), N);
        run_race(&race, replace_all, replace_all);
        run_race(&race, add_all, remove_all);
        tk_index_free(race.index);
    }
    free(vectors);
}

/* ---- Growing while others search ------------------------------------------------------------- */

struct growth {
    tk_index *index;
    const float *vectors;
    _Atomic size_t added;
    size_t n;
};

/* What was added before a search began is found by it. */
static void *search_added(void *arg)
{
    struct growth *growth = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    size_t right = 0, asked = 0, added;
    do {
        added = atomic_load(&growth->added);
        if (added == 0) continue;
        size_t which = data_random(&seed) % added;
        tk_hit hits[1];
        cr_assert_eq(data_search(growth->index, growth->vectors + which * DIM, 1, false, hits), 1);
        right += hits[0].id == which;
        asked++;
    } while (added < growth->n);
    /* One that is asked little, since others have the processors, may miss one of a few. */
    cr_assert_geq((double)right + 3, 0.97 * (double)asked, "%zu of %zu", right, asked);
    return NULL;
}

Test(index_concurrent, a_search_finds_what_was_added_before_it)
{
    const size_t n = SANITIZED ? 2000 : 8000;
    float *vectors = data_random_vectors(n, DIM, 9);
    struct growth growth = {.index = data_index(DIM), .vectors = vectors, .n = n};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, search_added, &growth), 0);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(tk_index_add(growth.index, i, vectors + i * DIM, NULL), TK_OK);
        atomic_store(&growth.added, i + 1);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    tk_index_free(growth.index);
    free(vectors);
}

/* ---- Memory that waits for readers ----------------------------------------------------------- */

static atomic_bool seated;

/* Somebody who is put aside by the scheduler in the middle of a search. */
static void *sit(void *arg)
{
    struct epoch *epoch = &((tk_index *)arg)->epoch;
    struct seat *seat = tk_epoch_enter(epoch);
    atomic_store(&seated, true);
    usleep(300000);
    atomic_store(&seated, false);
    tk_epoch_leave(epoch, seat);
    return NULL;
}

/* Each write leaves some dozen lists behind. What they take while nobody can release them the index
 * has for good. */
Test(index_concurrent, writers_wait_for_a_reader_rather_than_take_more_memory)
{
    enum { COUNT = 1000, MOST_WAITING = 128 };
    float *vectors = data_random_vectors(2 * COUNT, DIM, 12);
    tk_index *index = data_index(DIM);
    pthread_t reader;
    size_t writes = 0;
    data_add(index, COUNT, DIM, vectors, 0);
    cr_assert_eq(pthread_create(&reader, NULL, sit, index), 0);
    while (!atomic_load(&seated)) usleep(100);
    while (atomic_load(&seated)) {
        const size_t i = writes++ % COUNT;
        cr_assert_eq(tk_index_replace(index, i, vectors + (COUNT + i) * DIM, NULL), TK_OK);
        const size_t waiting = atomic_load(&index->epoch.waiting);
        if (atomic_load(&seated)) cr_assert_leq(waiting, MOST_WAITING, "after %zu writes", writes);
    }
    pthread_join(reader, NULL);
    cr_expect_gt(writes, 0);
    free(vectors);
    tk_index_free(index);
}
