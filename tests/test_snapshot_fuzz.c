/*
 * A fuzzer of tk_index_load: saved indexes of many kinds, changed in ways that a loader has to see
 * through. What it refuses, it refuses with a reason; what it takes is an index that can be used:
 * searched, read, changed, emptied, filled, saved and loaded again.
 *
 * Each round has a seed of its own, so that it can be repeated alone. For long runs by hand:
 *
 *     TEKUP_FUZZ_SECONDS=600 TEKUP_FUZZ_SEED=$RANDOM build/asan/tests/test_snapshot_fuzz
 *
 * A round that crashes or hangs leaves its file behind, with its seed in the name, and is repeated
 * by TEKUP_FUZZ_SEED=N TEKUP_FUZZ_ROUNDS=1.
 */
#include "tests/scratch.h"
#include "tests/snapshot_change.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 1000, SEED = 1, HANGS_AFTER_SECONDS = 900 };
/* Neighbours that are looked for, vectors that are added, and how many of a file's are changed. */
enum { K = 12, VECTORS = 8, CHANGED = 12 };

/* ---- What is changed ------------------------------------------------------------------------- */

struct seed_file {
    unsigned char *bytes;
    size_t size;
    struct snapshot_parts parts;
};

enum { SEED_FILES = 8 };

static struct seed_file seed_files[SEED_FILES];
static char directory[32];

struct recipe {
    uint32_t dim, max_neighbours;
    size_t vectors, copies; /* of the first vector, beside the others */
    size_t remove_each;     /* one in so many; 0: none */
    size_t note;
};

static const struct recipe recipes[SEED_FILES] = {
    {7, 16, 0, 0, 0, 0},      {1536, 16, 0, 0, 0, 300}, {16, 16, 1, 0, 0, 0},
    {16, 16, 40, 0, 0, 10},   {16, 16, 190, 20, 7, 0},  {16, 4, 90, 10, 3, 64},
    {1536, 128, 10, 0, 0, 0}, {3, 16, 30, 600, 1, 5},
};

static tk_index *cook(const struct recipe *recipe)
{
    tk_index_options options;
    tk_index *index;
    tk_index_options_init(&options);
    options.dim = recipe->dim;
    options.max_neighbours = recipe->max_neighbours;
    cr_assert_eq(tk_index_create(&options, &index, NULL), TK_OK);
    const size_t all = recipe->vectors + recipe->copies;
    float *vectors = data_clustered(recipe->vectors + 1, recipe->dim, 5, 0.8f, 3);
    for (size_t i = 0; i < all; i++) {
        const size_t from = i < recipe->vectors ? i : 0;
        cr_assert_eq(tk_index_add(index, i * 3, vectors + from * recipe->dim, NULL), TK_OK);
    }
    for (size_t i = 0; recipe->remove_each && i < all; i += recipe->remove_each)
        cr_assert_eq(tk_index_remove(index, i * 3, NULL), TK_OK);
    free(vectors);
    return index;
}

static void make_seed_files(void)
{
    char path[64];
    const char note[SNAPSHOT_ALIGN * 8] = "the position in the feed";
    snprintf(path, sizeof(path), "%s/sound", directory);
    for (size_t i = 0; i < SEED_FILES; i++) {
        struct seed_file *file = &seed_files[i];
        tk_index *index = cook(&recipes[i]);
        cr_assert_eq(tk_index_save(index, path, note, recipes[i].note, NULL), TK_OK);
        tk_index_free(index);
        file->bytes = snapshot_read(path, &file->size);
        file->parts = snapshot_take_apart(file->bytes);
    }
    unlink(path);
}

static void free_seed_files(void)
{
    for (size_t i = 0; i < SEED_FILES; i++) {
        free(seed_files[i].bytes);
        snapshot_parts_free(&seed_files[i].parts);
    }
}

/* ---- One round ------------------------------------------------------------------------------- */

struct round {
    uint64_t seed, state;
    const struct seed_file *from;
    unsigned char *bytes;
    size_t size;
    enum { UNSEALED, HEADER_SEALED, SEALED } seal;
};

static void make_round(struct round *round, uint64_t seed)
{
    *round = (struct round){.seed = seed, .state = seed};
    uint64_t *state = &round->state;
    round->from = &seed_files[change_below(state, SEED_FILES)];
    const struct seed_file *other = &seed_files[change_below(state, SEED_FILES)];
    struct snapshot_parts parts = snapshot_take_apart(round->from->bytes);
    for (size_t i = change_below(state, 3); i > 0; i--) change_soundly(&parts, state);
    const size_t kind = change_below(state, 4);
    if (kind > 0) change_anyhow(&parts, state, &other->parts);
    round->bytes = snapshot_put_together(&parts, &round->size);
    snapshot_parts_free(&parts);
    for (size_t i = kind < 2 ? change_below(state, 3) : 0; i > 0 && round->size >= CHANGE_LEAST;
         i--)
        round->bytes = change_bytes(round->bytes, &round->size, state);
    /* Without a whole seal every change has to be seen. */
    const size_t seal = change_below(state, 24);
    round->seal = seal == 0 ? UNSEALED : seal == 1 ? HEADER_SEALED : SEALED;
    if (round->seal == HEADER_SEALED && round->size > SNAPSHOT_HEADER)
        round->bytes[SNAPSHOT_HEADER] ^= (unsigned char)change_below(state, 2);
    if (round->seal == HEADER_SEALED) snapshot_seal_header(round->bytes, round->size);
    if (round->seal == SEALED) snapshot_seal(round->bytes, round->size);
}

/* Whether the seal that the file had is still right. */
static bool seal_is_right(const struct round *round)
{
    unsigned char *copy = malloc(round->size);
    cr_assert_not_null(copy);
    memcpy(copy, round->bytes, round->size);
    snapshot_seal(copy, round->size);
    const bool right = memcmp(copy, round->bytes, round->size) == 0;
    free(copy);
    return right;
}

/* ---- What was loaded is used ----------------------------------------------------------------- */

static uint64_t are_even(const tk_id *ids, size_t count, void *arg)
{
    (void)arg;
    uint64_t even = 0;
    for (size_t i = 0; i < count; i++) even |= (uint64_t)(ids[i] % 2 == 0) << i;
    return even;
}

static int compare_ids(const void *left, const void *right)
{
    const tk_id a = ((const tk_hit *)left)->id, b = ((const tk_hit *)right)->id;
    return (a > b) - (a < b);
}

static void check_hits(const tk_index *index, const struct round *round, tk_hit *hits, size_t found,
                       const tk_search *search)
{
    for (size_t i = 0; i < found; i++) {
        cr_assert(tk_index_contains(index, hits[i].id), "seed %" PRIu64, round->seed);
        cr_assert(isfinite(hits[i].similarity), "seed %" PRIu64, round->seed);
        cr_assert(hits[i].similarity >= search->threshold, "seed %" PRIu64, round->seed);
        cr_assert(i == 0 || hits[i].similarity <= hits[i - 1].similarity, "seed %" PRIu64,
                  round->seed);
        cr_assert(!search->predicate || hits[i].id % 2 == 0, "seed %" PRIu64, round->seed);
        cr_assert(!search->within || tk_idset_contains(search->within, hits[i].id), "seed %" PRIu64,
                  round->seed);
    }
    qsort(hits, found, sizeof(*hits), compare_ids);
    for (size_t i = 1; i < found; i++)
        cr_assert_neq(hits[i].id, hits[i - 1].id, "seed %" PRIu64, round->seed);
}

static void search_once(const tk_index *index, const struct round *round, const float *query,
                        const tk_search *search)
{
    tk_hit hits[2 * K], *range;
    size_t found, counts[2];
    cr_assert_eq(tk_index_search(index, query, search, hits, &found, NULL), TK_OK, "seed %" PRIu64,
                 round->seed);
    cr_assert_leq(found, search->k);
    check_hits(index, round, hits, found, search);
    cr_assert_eq(tk_index_search_batch(index, 2, query, search, 1, hits, counts, NULL), TK_OK);
    for (size_t i = 0; i < 2; i++)
        check_hits(index, round, hits + i * search->k, counts[i], search);
    if (search->threshold == -INFINITY) return;
    cr_assert_eq(tk_index_search_range(index, query, search, &range, &found, NULL), TK_OK,
                 "seed %" PRIu64, round->seed);
    check_hits(index, round, range, found, search);
    free(range);
}

/* Every way to search. queries are two vectors. */
static void search_all_ways(const tk_index *index, const struct round *round, const float *queries)
{
    tk_idset *within = tk_idset_create();
    cr_assert_not_null(within);
    for (tk_id id = 0; id < 300; id += 4) cr_assert_eq(tk_idset_add(within, id), TK_OK);
    for (int way = 0; way < 6; way++) {
        tk_search search;
        tk_search_init(&search);
        search.k = K;
        search.ef = way == 1 ? 200 : 1; /* the least effort walks the smallest of these indexes */
        if (way == 0) search.k = 1;
        search.exact = way == 2;
        if (way == 3) search.within = within;
        if (way == 4) search.predicate = are_even;
        if (way == 5) search.threshold = 0.1f;
        search_once(index, round, queries, &search);
    }
    tk_idset_free(within);
}

/* The ids of the file that the index has, at most `most`. */
static size_t list_ids(const tk_index *index, const struct round *round, tk_id *ids, size_t most)
{
    struct snapshot_header header;
    size_t count = 0;
    memcpy(&header, round->bytes, sizeof(header));
    cr_assert_eq(tk_index_count(index), header.ids, "seed %" PRIu64, round->seed);
    for (uint64_t i = 0; i < header.ids && count < most; i++) {
        memcpy(&ids[count], round->bytes + header.sections[SECTION_IDS].offset + i * sizeof(*ids),
               sizeof(*ids));
        cr_assert(tk_index_contains(index, ids[count]), "seed %" PRIu64, round->seed);
        count++;
    }
    return count;
}

/* Reads vectors, adds them once more under other ids, puts others in their places. */
static void change_some(tk_index *index, const struct round *round, const tk_id *ids, size_t count,
                        const float *vectors, uint32_t dim)
{
    float *own = data_alloc(1, dim);
    for (size_t i = 0; i < count && i < CHANGED; i++) {
        cr_assert_eq(tk_index_get(index, ids[i], own, NULL), TK_OK, "seed %" PRIu64, round->seed);
        for (uint32_t d = 0; d < dim; d++)
            cr_assert(isfinite(own[d]), "seed %" PRIu64, round->seed);
        const tk_status status = tk_index_add(index, UINT64_MAX / 2 + i, own, NULL);
        cr_assert(status == TK_OK || status == TK_EZERO || status == TK_EEXISTS, "seed %" PRIu64,
                  round->seed);
        if (i % 2) continue;
        cr_assert_eq(tk_index_replace(index, ids[i], vectors + i % VECTORS * dim, NULL), TK_OK,
                     "seed %" PRIu64, round->seed);
    }
    for (tk_id i = 0; i < VECTORS; i++)
        cr_assert_eq(tk_index_add(index, UINT64_MAX / 3 + i, vectors + i * dim, NULL) == TK_OK,
                     true, "seed %" PRIu64, round->seed);
    free(own);
}

/* What can be loaded can be saved, and loaded again. */
static tk_index *save_and_load(tk_index *index, const struct round *round, const char *path)
{
    tk_error error = {""};
    tk_index *again;
    const size_t count = tk_index_count(index);
    cr_assert_eq(tk_index_save(index, path, NULL, 0, &error), TK_OK, "seed %" PRIu64 ": %s",
                 round->seed, error.message);
    tk_index_free(index);
    const tk_status status = tk_index_load(path, &again, &error);
    cr_assert_eq(status, TK_OK, "seed %" PRIu64 ": %s", round->seed, error.message);
    cr_assert_eq(tk_index_count(again), count, "seed %" PRIu64, round->seed);
    return again;
}

/* Takes out everything that is in the file and that change_some has added, and begins anew. */
static void empty_and_fill(tk_index *index, const struct round *round, const tk_id *ids,
                           size_t count, const float *vectors, uint32_t dim)
{
    tk_hit hit;
    for (size_t i = 0; i < count; i++) tk_index_remove(index, ids[i], NULL);
    for (size_t i = 0; i < CHANGED; i++) tk_index_remove(index, UINT64_MAX / 2 + i, NULL);
    for (size_t i = 0; i < VECTORS; i++)
        cr_assert_eq(tk_index_remove(index, UINT64_MAX / 3 + i, NULL), TK_OK, "seed %" PRIu64,
                     round->seed);
    cr_assert_eq(tk_index_count(index), 0, "seed %" PRIu64, round->seed);
    for (size_t i = 0; i < VECTORS; i++)
        cr_assert_eq(tk_index_add(index, i, vectors + i * dim, NULL), TK_OK);
    cr_assert_eq(data_search(index, vectors, 1, false, &hit), 1);
    cr_assert_geq(hit.similarity, 0.99f, "seed %" PRIu64, round->seed);
}

static void use(tk_index *index, const struct round *round, const char *path)
{
    enum { MOST = 1000 };
    tk_index_stats stats;
    tk_id ids[MOST];
    tk_index_get_stats(index, &stats);
    const uint32_t dim = stats.dim;
    float *vectors = data_clustered(VECTORS, dim, 3, 0.9f, round->seed);
    const size_t count = list_ids(index, round, ids, MOST);
    search_all_ways(index, round, vectors);
    if (round->seed % 2) index = save_and_load(index, round, path);
    change_some(index, round, ids, count, vectors, dim);
    const bool to_the_end = round->seed % 4 < 2;
    for (size_t i = 0; i < count; i += to_the_end ? 2 : 16)
        cr_assert_eq(tk_index_remove(index, ids[i], NULL), TK_OK, "seed %" PRIu64, round->seed);
    search_all_ways(index, round, vectors);
    if (to_the_end) index = save_and_load(index, round, path);
    if (to_the_end) empty_and_fill(index, round, ids, count, vectors, dim);
    tk_index_free(index);
    free(vectors);
}

/* ---- The rounds ------------------------------------------------------------------------------ */

/* What the loader refuses a file for. Each has to come up, or something is never tried. */
static struct {
    const char *words;
    size_t times;
} reasons[] = {
    {"is empty", 0},
    {"is not a saved index", 0},
    {"is truncated in its header", 0},
    {"other byte order", 0},
    {"has a damaged header", 0},
    {"has format version", 0},
    {"is truncated", 0},
    {"has something at its end", 0},
    {"has options out of range", 0},
    {"has counts out of range", 0},
    {"has sections that do not fit", 0},
    {"has counts that do not fit its sections", 0},
    {"has a note that is too long", 0},
    {"has something between its parts", 0},
    {"its table of checksums is wrong", 0},
    {"a checksum of its content is wrong", 0},
    {"has something between its sections", 0},
    {"has rows of another size", 0},
    {"has an id twice", 0},
    {"has a row that is no vector's", 0},
    {"has a node without its ids", 0},
    {"has a parent that leads nowhere", 0},
    {"has counts that do not fit its nodes", 0},
    {"has a neighbour list that leads nowhere", 0},
    {"has too many neighbour lists", 0},
};
enum { REASONS = sizeof(reasons) / sizeof(*reasons) };

static void note_reason(const struct round *round, tk_status status, const char *message)
{
    cr_assert(status == TK_ECORRUPT || status == TK_EVERSION, "seed %" PRIu64 ": %d, %s",
              round->seed, (int)status, message);
    for (size_t i = 0; i < REASONS; i++) {
        const char *at = strstr(message, reasons[i].words);
        if (!at || at[strlen(reasons[i].words)] == 'x') continue;
        reasons[i].times++;
        return;
    }
    cr_assert_fail("seed %" PRIu64 ": an unknown reason: %s", round->seed, message);
}

/* Returns whether the file was taken. */
static bool run_round(uint64_t seed)
{
    struct round round;
    tk_index *index = (tk_index *)1;
    tk_error error = {""};
    char path[96];
    make_round(&round, seed);
    snprintf(path, sizeof(path), "%s/seed-%" PRIu64, directory, seed);
    snapshot_write(path, round.bytes, round.size);
    alarm(HANGS_AFTER_SECONDS);
    const tk_status status = tk_index_load(path, &index, &error);
    const bool taken = status == TK_OK;
    if (taken) {
        cr_assert(round.seal == SEALED || seal_is_right(&round),
                  "seed %" PRIu64 ": a damaged file was taken", seed);
        use(index, &round, path);
    } else {
        cr_assert_null(index, "seed %" PRIu64, seed);
        note_reason(&round, status, error.message);
    }
    alarm(0);
    unlink(path);
    free(round.bytes);
    return taken;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

Test(snapshot_fuzz, no_file_does_harm)
{
    const uint64_t seed = setting("TEKUP_FUZZ_SEED", SEED);
    const uint64_t seconds = setting("TEKUP_FUZZ_SECONDS", 0);
    const uint64_t rounds = seconds ? UINT64_MAX : setting("TEKUP_FUZZ_ROUNDS", ROUNDS);
    const time_t end = time(NULL) + (time_t)seconds;
    uint64_t done = 0, taken = 0;
    scratch_directory(directory); /* in memory, since saving waits for the disk */
    printf("from seed %" PRIu64 " on; a file that does harm stays as %s/seed-N\n", seed, directory);
    fflush(stdout);
    make_seed_files();
    for (; done < rounds && (!seconds || time(NULL) < end); done++) taken += run_round(seed + done);
    free_seed_files();
    cr_assert_eq(rmdir(directory), 0);
    printf("%" PRIu64 " rounds, %" PRIu64 " files taken\n", done, taken);
    for (size_t i = 0; i < REASONS; i++) {
        printf("%7zu  %s\n", reasons[i].times, reasons[i].words);
        cr_expect(done < ROUNDS || reasons[i].times > 0, "no file that %s", reasons[i].words);
    }
    cr_expect(done < ROUNDS || taken > done / 10, "%" PRIu64 " of %" PRIu64, taken, done);
}
