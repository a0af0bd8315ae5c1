#include "tools/tekupd/mirror/catalog.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_in(struct catalog *catalog, const char *id, const char *source,
                   const char *repository, const char *path)
{
    struct error err = {0};
    cr_assert_eq(catalog_put_document(catalog, id, source, repository, path, &err), 0, "%s",
                 err.message);
}

static void put(struct catalog *catalog, const char *id, const char *repository, const char *path)
{
    put_in(catalog, id, "local", repository, path);
}

static void attach(struct catalog *catalog, int64_t embedding, const char *id)
{
    struct error err = {0};
    enum catalog_had had;
    cr_assert_eq(catalog_put_embedding(catalog, embedding, id, 1, &had, &err), 0, "%s",
                 err.message);
}

static size_t drop(struct catalog *catalog, const char *id)
{
    int64_t *embeddings;
    size_t count;
    cr_assert_eq(catalog_remove_document(catalog, id, &embeddings, &count, NULL), 0);
    free(embeddings);
    return count;
}

static struct catalog *example(void)
{
    struct catalog *catalog = catalog_create();
    cr_assert_not_null(catalog);
    put(catalog, "a", "r1", "docs/a.md");
    put(catalog, "b", "r1", "docs/b.md");
    put(catalog, "c", "r2", "src/c.c");
    put(catalog, "empty", "r2", "src/empty.c");
    attach(catalog, 1, "a");
    attach(catalog, 2, "a");
    attach(catalog, 3, "b");
    attach(catalog, 4, "c");
    return catalog;
}

/* The embeddings that a filter lets through, as a set of bits. */
static unsigned passing(const struct catalog *catalog, const char *source, const char *repository,
                        const char *prefix, char *const *documents, size_t count)
{
    struct catalog_filter filter;
    unsigned bits = 0;
    tk_search search;
    tk_search_init(&search);
    cr_assert_eq(
        catalog_narrow(catalog, source, repository, prefix, documents, count, &filter, NULL), 0);
    catalog_apply(&filter, &search);
    for (tk_id id = 1; id <= 8; id++) {
        const bool in =
            (search.within == NULL || tk_idset_contains(search.within, id)) &&
            (search.predicate == NULL || search.predicate(&id, 1, search.predicate_arg) == 1);
        if (in && !filter.nothing) bits |= 1u << id;
    }
    cr_expect_eq(filter.nothing, search.within != NULL && tk_idset_count(search.within) == 0);
    catalog_filter_free(&filter);
    return bits;
}

Test(catalog, filters_by_place_and_by_document)
{
    struct catalog *catalog = example();
    char *documents[] = {(char *)"b", (char *)"c", (char *)"nowhere"};
    cr_expect_eq(passing(catalog, "local", NULL, NULL, NULL, 0), 0x1e);
    cr_expect_eq(passing(catalog, "github", NULL, NULL, NULL, 0), 0);
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0xe);
    cr_expect_eq(passing(catalog, NULL, "r1", "docs/b", NULL, 0), 0x8);
    cr_expect_eq(passing(catalog, NULL, NULL, "src/", NULL, 0), 0x10);
    cr_expect_eq(passing(catalog, NULL, NULL, "", NULL, 0), 0x1e);
    cr_expect_eq(passing(catalog, NULL, "r", NULL, NULL, 0), 0);
    cr_expect_eq(passing(catalog, NULL, NULL, NULL, documents, 3), 0x18);
    cr_expect_eq(passing(catalog, NULL, "r2", NULL, documents, 3), 0x10);
    cr_expect_eq(passing(catalog, NULL, NULL, NULL, documents, 0), 0, "of no documents: nothing");
    catalog_free(catalog);
}

Test(catalog, gives_the_best_hit_of_each_document)
{
    struct catalog *catalog = example();
    const tk_hit hits[] = {{2, 0.9f}, {77, 0.85f}, {1, 0.8f}, {4, 0.7f}, {3, 0.6f}};
    struct catalog_hits best;
    cr_assert_eq(catalog_best(catalog, NULL, hits, 5, 3, false, &best, NULL), 0);
    cr_assert_eq(best.count, 3);
    cr_expect_eq(best.hits[0].embedding, 2);
    cr_expect_str_eq(best.hits[0].document, "a");
    cr_expect_str_eq(best.hits[0].path, "docs/a.md");
    cr_expect_str_eq(best.hits[1].document, "c");
    cr_expect_str_eq(best.hits[1].repository, "r2");
    cr_expect_str_eq(best.hits[1].source, "local");
    cr_expect_eq(best.hits[2].embedding, 3);
    catalog_hits_free(&best);
    cr_assert_eq(catalog_best(catalog, NULL, hits, 5, 1, false, &best, NULL), 0);
    cr_expect_eq(best.count, 1);
    catalog_hits_free(&best);
    cr_assert_eq(catalog_best(catalog, NULL, hits, 0, 3, false, &best, NULL), 0);
    cr_expect_eq(best.count, 0);
    catalog_free(catalog);
}

Test(catalog, filters_by_repositories_of_one_name_and_of_one_source)
{
    struct catalog *catalog = example();
    put_in(catalog, "d", "github", "r1", "docs/d.md");
    attach(catalog, 5, "d");
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0x2e);
    cr_expect_eq(passing(catalog, "local", "r1", NULL, NULL, 0), 0xe);
    cr_expect_eq(passing(catalog, "github", "r1", NULL, NULL, 0), 0x20);
    cr_expect_eq(passing(catalog, "github", "r2", NULL, NULL, 0), 0);
    cr_expect_eq(passing(catalog, "local", NULL, NULL, NULL, 0), 0x1e);
    put_in(catalog, "a", "github", "r2", "docs/a.md");
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0x28);
    cr_expect_eq(passing(catalog, NULL, "r2", NULL, NULL, 0), 0x16);
    cr_expect_eq(passing(catalog, "github", NULL, NULL, NULL, 0), 0x26);
    put_in(catalog, "a", "github", "r2", "elsewhere.md");
    cr_expect_eq(passing(catalog, "github", "r2", NULL, NULL, 0), 0x6, "moved within");
    catalog_free(catalog);
}

/* A filter is of the moment when it was made; what it finds is looked at again. */
Test(catalog, names_nothing_that_has_left_the_filter_meanwhile)
{
    struct catalog *catalog = example();
    const tk_hit hits[] = {{1, 0.9f}, {3, 0.8f}, {4, 0.7f}};
    struct catalog_filter filters[3];
    struct catalog_hits best;
    cr_assert_eq(catalog_narrow(catalog, NULL, "r1", NULL, NULL, 0, &filters[0], NULL), 0);
    cr_assert_eq(catalog_narrow(catalog, "local", NULL, NULL, NULL, 0, &filters[1], NULL), 0);
    cr_assert_eq(catalog_narrow(catalog, NULL, NULL, "docs/", NULL, 0, &filters[2], NULL), 0);
    put_in(catalog, "a", "github", "r2", "src/a.md");
    catalog_remove_embedding(catalog, 3);
    attach(catalog, 7, "b");
    for (int i = 0; i < 3; i++) {
        cr_expect(tk_idset_contains(filters[i].within, 1), "as it was");
        cr_expect(tk_idset_contains(filters[i].within, 3));
        cr_expect_not(tk_idset_contains(filters[i].within, 7));
    }
    cr_assert_eq(catalog_best(catalog, &filters[0], hits, 3, 3, false, &best, NULL), 0);
    cr_expect_eq(best.count, 0);
    cr_assert_eq(catalog_best(catalog, &filters[1], hits, 3, 3, false, &best, NULL), 0);
    cr_assert_eq(best.count, 1);
    cr_expect_str_eq(best.hits[0].document, "c");
    catalog_hits_free(&best);
    cr_assert_eq(catalog_best(catalog, &filters[2], hits, 3, 3, true, &best, NULL), 0);
    cr_expect_eq(best.count, 0);
    for (int i = 0; i < 3; i++) catalog_filter_free(&filters[i]);
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0x80);
    catalog_free(catalog);
}

Test(catalog, follows_documents_that_move_and_embeddings_that_change_hands)
{
    struct catalog *catalog = example();
    enum catalog_had had;
    struct catalog_counts counts;
    struct error err = {0};
    put(catalog, "a", "r3", "moved/a.md");
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0x8);
    cr_expect_eq(passing(catalog, NULL, "r3", "moved/", NULL, 0), 0x6);
    attach(catalog, 2, "b");
    cr_expect_eq(passing(catalog, NULL, "r1", NULL, NULL, 0), 0xc);
    cr_expect_eq(drop(catalog, "a"), 1);
    cr_expect_eq(passing(catalog, "local", NULL, NULL, NULL, 0), 0x1c);
    catalog_remove_embedding(catalog, 2);
    catalog_remove_embedding(catalog, 99);
    cr_expect_eq(drop(catalog, "nowhere"), 0);
    cr_expect_eq(passing(catalog, "local", NULL, NULL, NULL, 0), 0x18);
    catalog_count(catalog, &counts);
    cr_expect_eq(counts.documents, 3);
    cr_expect_eq(counts.embeddings, 2);
    cr_expect_gt(counts.bytes, 0);
    cr_expect_eq(catalog_put_embedding(catalog, 5, "nowhere", 1, &had, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(catalog_put_document(catalog, "an-id-of-more-bytes-than-there-is-room-for", "s",
                                      "r", "p", &err),
                 -1);
    catalog_free(catalog);
    catalog_free(NULL);
}

Test(catalog, tells_what_it_has_of_an_embedding)
{
    struct catalog *catalog = example();
    enum catalog_had had;
    uint64_t hash;
    char document[DOCUMENT_ID_SIZE];
    struct buffer place = {0};
    int64_t *embeddings;
    size_t count;
    cr_expect_eq(catalog_put_embedding(catalog, 1, "a", 1, &had, NULL), 0);
    cr_expect_eq(had, CATALOG_SAME);
    cr_expect_eq(catalog_put_embedding(catalog, 1, "a", 2, &had, NULL), 0);
    cr_expect_eq(had, CATALOG_OTHER);
    cr_expect_eq(catalog_put_embedding(catalog, 6, "a", 7, &had, NULL), 0);
    cr_expect_eq(had, CATALOG_NEW);
    cr_expect_eq(catalog_put_embedding(catalog, 6, "b", 7, &had, NULL), 0);
    cr_expect_eq(had, CATALOG_SAME, "at another document");
    cr_expect_eq(catalog_put_embedding(catalog, 6, "c", 8, &had, NULL), 0);
    cr_expect_eq(had, CATALOG_OTHER);
    cr_expect(catalog_look_up(catalog, 6, &hash, document));
    cr_expect_eq(hash, 8);
    cr_expect_str_eq(document, "c");
    cr_expect_not(catalog_look_up(catalog, 99, &hash, document));
    cr_assert_eq(catalog_embeddings_of(catalog, "a", &embeddings, &count, NULL), 0);
    cr_expect_eq(count, 2);
    cr_expect_eq(embeddings[0] + embeddings[1], 3);
    free(embeddings);
    cr_assert_eq(catalog_embeddings_of(catalog, "nowhere", &embeddings, &count, NULL), 0);
    cr_expect_eq(count, 0);
    free(embeddings);
    cr_expect(catalog_place(catalog, "c", &place));
    cr_expect_eq(place.length, sizeof("local\0r2\0src/c.c"));
    cr_expect_arr_eq(place.data, "local\0r2\0src/c.c", place.length);
    cr_expect_not(catalog_place(catalog, "nowhere", &place));
    buffer_free(&place);
    catalog_free(catalog);
}

Test(catalog, is_walked_through_in_pieces)
{
    enum { DOCUMENTS = 5000, PIECE = 97 };
    static bool seen[DOCUMENTS];
    struct catalog *catalog = catalog_create();
    char id[DOCUMENT_ID_SIZE], ids[PIECE][DOCUMENT_ID_SIZE];
    size_t from = 0, count, all = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
        snprintf(id, sizeof(id), "d%d", i);
        put(catalog, id, "r", "p");
    }
    while ((count = catalog_walk(catalog, &from, ids, PIECE)) > 0) {
        cr_assert_leq(count, PIECE);
        for (size_t i = 0; i < count; i++) {
            const int number = atoi(ids[i] + 1);
            cr_expect_not(seen[number]);
            seen[number] = true;
            if (number % 3 == 0) drop(catalog, ids[i]); /* going while one walks is no matter */
        }
        all += count;
    }
    cr_expect_eq(all, DOCUMENTS);
    catalog_free(catalog);
}

/* What a document of the following test is called, and where it is at a step: it changes its source
 * now and then. */
static const char *source_of(int document, int moves)
{
    return (document + moves) % 5 == 0 ? "github" : "local";
}

/* Wide filters by path are asked, others are sets; both must say the same as a plain array. */
Test(catalog, agrees_with_a_plain_list_through_many_changes)
{
    enum { IDS = 6000, DOCUMENTS = 900, STEPS = 40000 };
    static int owner[IDS]; /* of each embedding: document + 1, or 0 */
    static int moves[DOCUMENTS];
    struct catalog *catalog = catalog_create();
    uint32_t state = 12345;
    char id[DOCUMENT_ID_SIZE], path[64], repository[16];
    for (int step = 0; step < STEPS; step++) {
        state = state * 1664525u + 1013904223u;
        const int document = (int)((state >> 8) % DOCUMENTS);
        const int embedding = (int)((state >> 4) % IDS);
        snprintf(id, sizeof(id), "d%d", document);
        snprintf(path, sizeof(path), "%d/%d", document % 7, document);
        snprintf(repository, sizeof(repository), "r%d", document % 3 == 0 ? 0 : document % 40);
        switch ((state >> 28) % 8) {
        case 0:
            catalog_remove_embedding(catalog, embedding);
            owner[embedding] = 0;
            break;
        case 1:
            if (document % 4 != 0) break;
            drop(catalog, id);
            for (int i = 0; i < IDS; i++) {
                if (owner[i] == document + 1) owner[i] = 0;
            }
            break;
        case 2:
            moves[document]++; /* and to its new place */
            __attribute__((fallthrough));
        default:
            put_in(catalog, id, source_of(document, moves[document]), repository, path);
            attach(catalog, embedding, id);
            owner[embedding] = document + 1;
        }
    }
    static const struct {
        const char *source, *repository, *prefix;
    } filters[] = {{"local", "r0", NULL}, {"local", "r7", NULL},  {"local", NULL, "3/"},
                   {"local", "r0", "6/"}, {"local", NULL, NULL},  {"github", NULL, NULL},
                   {NULL, "r0", NULL},    {"github", "r7", NULL}, {NULL, "r7", "0/"},
                   {NULL, NULL, "5/"},    {"nobody", NULL, NULL}};
    bool asked = false, set = false;
    for (size_t f = 0; f < sizeof(filters) / sizeof(*filters); f++) {
        struct catalog_filter filter;
        tk_search search;
        tk_search_init(&search);
        cr_assert_eq(catalog_narrow(catalog, filters[f].source, filters[f].repository,
                                    filters[f].prefix, NULL, 0, &filter, NULL),
                     0);
        catalog_apply(&filter, &search);
        asked = asked || filter.ask;
        set = set || filter.within != NULL;
        for (int i = 0; i < IDS; i++) {
            const int document = owner[i] - 1;
            snprintf(path, sizeof(path), "%d/", document % 7);
            snprintf(repository, sizeof(repository), "r%d", document % 3 == 0 ? 0 : document % 40);
            const bool wanted =
                owner[i] != 0 &&
                (filters[f].source == NULL ||
                 strcmp(filters[f].source, source_of(document, moves[document])) == 0) &&
                (filters[f].repository == NULL || strcmp(filters[f].repository, repository) == 0) &&
                (filters[f].prefix == NULL || strcmp(filters[f].prefix, path) == 0);
            const tk_id embedding = (tk_id)i;
            const bool is =
                (search.within == NULL || tk_idset_contains(search.within, embedding)) &&
                (search.predicate == NULL ||
                 search.predicate(&embedding, 1, search.predicate_arg) == 1);
            cr_assert_eq(is, wanted, "filter %zu, embedding %d", f, i);
        }
        catalog_filter_free(&filter);
    }
    cr_expect(asked && set, "both kinds of filter were looked at");
    catalog_free(catalog);
}

/* ---- Readers beside a writer ---- */

struct race {
    struct catalog *catalog;
    atomic_bool over;
    atomic_int wrong;
};

static void *read_on(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->over)) {
        const tk_hit hits[] = {{1, 0.9f}, {2, 0.8f}, {3, 0.7f}};
        struct catalog_hits best;
        struct catalog_filter filter;
        if (catalog_best(race->catalog, NULL, hits, 3, 3, false, &best, NULL) != 0)
            atomic_fetch_add(&race->wrong, 1);
        for (size_t i = 0; i < best.count; i++) {
            /* A document is always seen whole: its path begins with its repository's name. */
            if (strncmp(best.hits[i].path, best.hits[i].repository,
                        strlen(best.hits[i].repository)) != 0)
                atomic_fetch_add(&race->wrong, 1);
        }
        catalog_hits_free(&best);
        if (catalog_narrow(race->catalog, "local", "two", NULL, NULL, 0, &filter, NULL) != 0)
            atomic_fetch_add(&race->wrong, 1);
        const size_t count = tk_idset_count(filter.within);
        size_t inside = 0;
        if (catalog_best(race->catalog, &filter, hits, 3, 3, true, &best, NULL) != 0)
            atomic_fetch_add(&race->wrong, 1);
        for (size_t i = 0; i < best.count; i++)
            if (strcmp(best.hits[i].repository, "two") != 0) atomic_fetch_add(&race->wrong, 1);
        catalog_hits_free(&best);
        for (size_t i = 0; i < 3; i++) inside += tk_idset_contains(filter.within, hits[i].id);
        /* It stays as it was, whatever comes and goes. */
        if (inside != count || tk_idset_count(filter.within) != count)
            atomic_fetch_add(&race->wrong, 1);
        catalog_filter_free(&filter);
        if (catalog_narrow(race->catalog, "local", NULL, NULL, NULL, 0, &filter, NULL) != 0)
            atomic_fetch_add(&race->wrong, 1);
        catalog_filter_free(&filter);
    }
    return NULL;
}

Test(catalog, can_be_read_while_documents_come_move_and_go)
{
    struct race race = {catalog_create(), false, 0};
    pthread_t readers[3];
    for (int i = 0; i < 3; i++) pthread_create(&readers[i], NULL, read_on, &race);
    for (int round = 0; round < 3000; round++) {
        put(race.catalog, "x", "one", "one/x");
        attach(race.catalog, 1, "x");
        attach(race.catalog, 2, "x");
        put(race.catalog, "y", "two", "two/y");
        attach(race.catalog, 3, "y");
        put(race.catalog, "x", "two", "two/x");
        catalog_remove_embedding(race.catalog, 2);
        drop(race.catalog, "x");
        drop(race.catalog, "y");
    }
    atomic_store(&race.over, true);
    for (int i = 0; i < 3; i++) pthread_join(readers[i], NULL);
    cr_expect_eq(atomic_load(&race.wrong), 0);
    catalog_free(race.catalog);
}
