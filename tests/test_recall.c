#include "tools/tekupd/mirror/recall.h"

#include "tests/replica_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* Each of a document of its own; every `equal` vectors are the same. */
static struct replica *replica_with(size_t count, unsigned equal)
{
    struct fixture_row *rows = malloc((count + 1) * sizeof(*rows));
    for (unsigned i = 0; i < count; i++) rows[i] = (struct fixture_row){i, 0, i / equal, 0};
    struct replica *replica = fixture_replica(rows, count);
    free(rows);
    return replica;
}

static struct recall measure(struct replica *replica, size_t sample, size_t limit, size_t ef)
{
    struct error err = {0};
    struct recall recall;
    const struct recall_wanted wanted = {sample, limit, ef};
    cr_assert_eq(recall_measure(replica, &wanted, 7, NULL, &recall, &err), 0, "%s", err.message);
    return recall;
}

Test(recall, great_effort_finds_everything)
{
    struct replica *replica = replica_with(1000, 1);
    struct recall recall = measure(replica, 100, 10, 4096);
    cr_expect_eq(recall.sample, 100);
    cr_expect_eq(recall.neighbours, 1000);
    cr_expect_geq(recall.recall, 0.999);
    replica_release(replica);
}

/* What is reported is what comes of asking for every vector and comparing the answers by hand. */
Test(recall, little_effort_finds_as_much_as_it_does)
{
    enum { COUNT = 1000, LIMIT = 10, EF = 11 };
    struct replica *replica = replica_with(COUNT, 1);
    size_t right = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        float vector[EMBEDDING_DIM];
        tk_hit near[LIMIT + 1], truly[LIMIT + 1];
        size_t found, all;
        tk_search search;
        tk_search_init(&search);
        search.k = LIMIT + 1;
        search.ef = EF;
        cr_assert_eq(tk_index_get(replica_index(replica), i + 1, vector, NULL), TK_OK);
        cr_assert_eq(tk_index_search(replica_index(replica), vector, &search, near, &found, NULL),
                     TK_OK);
        search.exact = true;
        cr_assert_eq(tk_index_search(replica_index(replica), vector, &search, truly, &all, NULL),
                     TK_OK);
        for (size_t a = 0; a < found; a++)
            for (size_t b = 1; b < all; b++) /* the first is the vector itself */
                right += near[a].id == truly[b].id;
    }
    const struct recall recall = measure(replica, COUNT, LIMIT, EF);
    const double by_hand = (double)right / (COUNT * LIMIT);
    cr_expect_eq(recall.sample, COUNT);
    cr_expect_lt(by_hand, 0.95, "%g: no test of anything", by_hand);
    cr_expect_float_eq(recall.recall, by_hand, 0.002, "%g, by hand %g", recall.recall, by_hand);
    const struct recall some = measure(replica, 300, LIMIT, EF);
    cr_expect_float_eq(some.recall, by_hand, 0.06, "%g of some, of all %g", some.recall, by_hand);
    replica_release(replica);
}

Test(recall, of_equal_vectors_any_will_do)
{
    struct replica *replica = replica_with(600, 30);
    const struct recall recall = measure(replica, 100, 10, 0);
    cr_expect_eq(recall.neighbours, 1000);
    cr_expect_eq(recall.recall, 1);
    replica_release(replica);
}

Test(recall, fewer_vectors_than_are_asked_for)
{
    struct replica *replica = replica_with(0, 1);
    struct recall recall = measure(replica, 100, 10, 0);
    cr_expect(recall.sample == 0 && recall.neighbours == 0 && isnan(recall.recall));
    replica_release(replica);
    replica = replica_with(1, 1);
    recall = measure(replica, 100, 10, 0);
    cr_expect(recall.sample == 1 && recall.neighbours == 0 && isnan(recall.recall));
    replica_release(replica);
    replica = replica_with(4, 1);
    recall = measure(replica, 100, 10, 0);
    cr_expect(recall.sample == 4 && recall.neighbours == 12 && recall.recall == 1);
    replica_release(replica);
}

Test(recall, is_nobodys_search)
{
    struct replica *replica = replica_with(100, 1);
    struct replica_stats before, after;
    replica_get_stats(replica, &before);
    measure(replica, 50, 10, 0);
    replica_get_stats(replica, &after);
    cr_expect_eq(before.index.searches, after.index.searches);
    replica_release(replica);
}

Test(recall, ends_when_it_is_told_to)
{
    struct replica *replica = replica_with(100, 1);
    struct error err = {0};
    struct recall recall;
    const struct recall_wanted wanted = {100, 10, 0};
    atomic_bool stop;
    atomic_init(&stop, true);
    cr_expect_eq(recall_measure(replica, &wanted, 7, &stop, &recall, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    replica_release(replica);
}

struct churn {
    struct replica *replica;
    atomic_bool stop;
};

static void *replace(void *arg)
{
    struct churn *churn = arg;
    for (unsigned i = 0; !atomic_load(&churn->stop); i++) {
        const int64_t embedding = 1 + i % 500;
        if (i % 3 == 0)
            replica_remove_embeddings(churn->replica, &embedding, 1);
        else if (i % 3 == 1)
            replica_remove_document(churn->replica, "document 400", NULL);
    }
    return NULL;
}

Test(recall, vectors_go_meanwhile)
{
    struct churn churn = {.replica = replica_with(600, 1)};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, replace, &churn), 0);
    const struct recall recall = measure(churn.replica, 300, 10, 4096);
    atomic_store(&churn.stop, true);
    pthread_join(thread, NULL);
    cr_expect_geq(recall.recall, 0.9);
    replica_release(churn.replica);
}
