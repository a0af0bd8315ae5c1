/* Saved indexes: what comes back, and what is refused. */
#include "tests/index_data.h"
#include "tests/index_graph.h"
#include "tests/snapshot_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIM = 16, N = 1500 };

static char directory[] = "/tmp/tekup-snapshot-XXXXXX";
static char path[64];

static void make_directory(void)
{
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/index", directory);
}

static void remove_directory(void)
{
    unlink(path);
    cr_expect_eq(rmdir(directory), 0, "nothing but the file is left behind");
}

TestSuite(snapshot, .init = make_directory, .fini = remove_directory);

/* An index with copies, gaps and several layers. */
static tk_index *make_index(size_t n)
{
    float *vectors = data_clustered(n, DIM, 20, 0.7f, 3);
    tk_index *index = data_index(DIM);
    for (size_t i = 0; i < n; i++) {
        const float *vector = vectors + (i % 10 == 9 ? i - 1 : i) * DIM;
        cr_assert_eq(tk_index_add(index, i * 3, vector, NULL), TK_OK);
    }
    for (size_t i = 0; i < n; i += 7) cr_assert_eq(tk_index_remove(index, i * 3, NULL), TK_OK);
    free(vectors);
    return index;
}

/* Loads what must be refused, with a reason. */
static void expect_refused(tk_status status, const char *reason)
{
    tk_index *index = (tk_index *)1;
    tk_error error = {""};
    cr_assert_eq(tk_index_load(path, &index, &error), status, "%s", error.message);
    cr_assert_null(index);
    if (reason) cr_assert_not_null(strstr(error.message, reason), "%s", error.message);
    cr_assert_neq(error.message[0], '\0');
}

Test(snapshot, what_was_saved_answers_as_before)
{
    enum { K = 15 };
    tk_index *saved = make_index(N), *loaded;
    tk_error error;
    float *queries = data_clustered(100, DIM, 20, 0.7f, 4);
    cr_assert_eq(tk_index_save(saved, path, "position 17", 11, &error), TK_OK, "%s", error.message);
    cr_assert_eq(tk_index_load(path, &loaded, &error), TK_OK, "%s", error.message);
    cr_expect_eq(tk_index_count(loaded), tk_index_count(saved));
    for (size_t q = 0; q < 100; q++)
        for (size_t ef = 16; ef < 400; ef *= 4) {
            tk_hit before[K], after[K];
            size_t found_before, found_after;
            tk_search search;
            tk_search_init(&search);
            search.k = K;
            search.ef = ef;
            const float *query = queries + q * DIM;
            cr_assert_eq(tk_index_search(saved, query, &search, before, &found_before, NULL),
                         TK_OK);
            cr_assert_eq(tk_index_search(loaded, query, &search, after, &found_after, NULL), TK_OK);
            cr_assert_eq(found_before, K);
            cr_assert_eq(found_after, K);
            for (size_t i = 0; i < K; i++) {
                cr_assert_eq(before[i].id, after[i].id);
                cr_assert_eq(before[i].similarity, after[i].similarity);
            }
        }
    tk_index_stats was, is;
    tk_index_get_stats(saved, &was);
    tk_index_get_stats(loaded, &is);
    cr_expect_eq(was.layers, is.layers);
    cr_expect_eq(is.layers, 1);
    cr_expect_eq(was.mean_neighbours, is.mean_neighbours);
    cr_expect_eq(was.ef_construction, is.ef_construction);
    cr_expect_eq(is.adds, 0);
    for (size_t i = 0; i < N; i++) {
        float before[DIM], after[DIM];
        cr_assert_eq(tk_index_contains(loaded, i * 3), i % 7 != 0);
        if (i % 7 == 0) continue;
        cr_assert_eq(tk_index_get(saved, i * 3, before, NULL), TK_OK);
        cr_assert_eq(tk_index_get(loaded, i * 3, after, NULL), TK_OK);
        cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    }
    free(queries);
    tk_index_free(saved);
    tk_index_free(loaded);
}

Test(snapshot, a_loaded_index_goes_on_where_the_saved_one_stopped)
{
    tk_index *saved = make_index(N), *loaded;
    float *more = data_clustered(300, DIM, 20, 0.7f, 9);
    cr_assert_eq(tk_index_save(saved, path, NULL, 0, NULL), TK_OK);
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    for (size_t i = 0; i < 300; i++) {
        cr_assert_eq(tk_index_add(loaded, 100000 + i, more + i * DIM, NULL), TK_OK);
        cr_assert_eq(tk_index_replace(loaded, 3 + 21 * (i % 60), more + (299 - i) * DIM, NULL),
                     TK_OK);
    }
    for (size_t i = 0; i < N; i++)
        if (i % 7 != 0) cr_assert_eq(tk_index_remove(loaded, i * 3, NULL), TK_OK);
    cr_expect_eq(tk_index_count(loaded), 300);
    cr_expect_geq(data_recall(loaded, 300, DIM, more), 0.99);
    cr_assert_eq(tk_index_save(loaded, path, NULL, 0, NULL), TK_OK);
    tk_index_free(saved);
    cr_assert_eq(tk_index_load(path, &saved, NULL), TK_OK);
    cr_expect_eq(tk_index_count(saved), 300);
    free(more);
    tk_index_free(saved);
    tk_index_free(loaded);
}

Test(snapshot, an_empty_index_and_a_full_note_come_back)
{
    tk_index *index = data_index(7), *loaded;
    char *note = malloc(SNAPSHOT_NOTE_MAX);
    size_t size = 1;
    for (size_t i = 0; i < SNAPSHOT_NOTE_MAX; i++) note[i] = (char)(i * 31);
    cr_assert_eq(tk_index_save(index, path, note, SNAPSHOT_NOTE_MAX, NULL), TK_OK);
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    cr_expect_eq(tk_index_count(loaded), 0);
    const void *back = tk_index_note(loaded, &size);
    cr_assert_eq(size, SNAPSHOT_NOTE_MAX);
    cr_expect_eq(memcmp(back, note, size), 0);
    tk_index_free(loaded);

    cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    cr_expect_null(tk_index_note(loaded, &size));
    cr_expect_eq(size, 0);
    float vector[7] = {1, 2, 3};
    tk_hit hits[1];
    cr_assert_eq(tk_index_add(loaded, 5, vector, NULL), TK_OK);
    cr_assert_eq(data_search(loaded, vector, 1, false, hits), 1);
    free(note);
    tk_index_free(loaded);
    tk_index_free(index);
}

Test(snapshot, a_file_cut_short_anywhere_is_refused)
{
    size_t size;
    tk_index *index = make_index(120);
    cr_assert_eq(tk_index_save(index, path, "note", 4, NULL), TK_OK);
    unsigned char *bytes = snapshot_read(path, &size);
    for (size_t cut = 0; cut < size; cut += cut < 300 || cut > size - 100 ? 1 : 997) {
        snapshot_write(path, bytes, cut);
        expect_refused(TK_ECORRUPT, NULL);
    }
    unsigned char *longer = calloc(1, size + 1);
    memcpy(longer, bytes, size);
    snapshot_write(path, longer, size + 1);
    expect_refused(TK_ECORRUPT, "at its end");
    snapshot_write(path, bytes, size);
    tk_index *loaded;
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK, "the whole file is still good");
    free(bytes);
    free(longer);
    tk_index_free(loaded);
    tk_index_free(index);
}

Test(snapshot, a_flipped_bit_anywhere_is_refused)
{
    size_t size;
    tk_index *index = make_index(30);
    cr_assert_eq(tk_index_save(index, path, "note", 4, NULL), TK_OK);
    unsigned char *bytes = snapshot_read(path, &size);
    int fd = open(path, O_RDWR);
    uint64_t state = 1;
    for (size_t at = 0; at < size; at += at < 300 || (at > 4090 && at < 5000) ? 1 : 17) {
        unsigned char flipped = bytes[at] ^ (unsigned char)(1 << data_random(&state) % 8);
        cr_assert_eq(pwrite(fd, &flipped, 1, (off_t)at), 1);
        tk_index *loaded = NULL;
        tk_error error = {""};
        tk_status status = tk_index_load(path, &loaded, &error);
        cr_assert(status == TK_ECORRUPT || (status == TK_EVERSION && at >= 8 && at < 16),
                  "byte %zu: %d, %s", at, (int)status, error.message);
        cr_assert_null(loaded);
        cr_assert_eq(pwrite(fd, &bytes[at], 1, (off_t)at), 1);
    }
    close(fd);
    free(bytes);
    tk_index_free(index);
}

/* Loading gives each node just the room that it needs; more has to be made at once. */
Test(snapshot, a_small_index_grows_after_loading)
{
    enum { ALL = 200 };
    float *vectors = data_clustered(ALL, DIM, 20, 0.7f, 5);
    for (size_t saved = 1; saved <= 4; saved++) {
        tk_index *index = data_index(DIM), *loaded;
        data_add(index, saved, DIM, vectors, 0);
        cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
        cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
        data_add(loaded, ALL - saved, DIM, vectors + saved * DIM, saved);
        graph_expect_whole(loaded);
        tk_index_free(loaded);
        tk_index_free(index);
    }
    free(vectors);
}

Test(snapshot, content_that_makes_no_sense_is_refused_though_its_checksums_are_right)
{
    size_t size;
    tk_index *index = make_index(120);
    cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
    unsigned char *bytes = snapshot_read(path, &size), *changed = malloc(size);
    struct snapshot_header header;
    memcpy(&header, bytes, sizeof(header));
    const struct {
        unsigned section;
        size_t at; /* byte in the section */
        unsigned char value;
    } changes[] = {{SECTION_MEMBERS, 4, 0},
                   {SECTION_MEMBERS, 4, 99},
                   {SECTION_IDS, 0, 6},
                   {SECTION_LENGTHS, 4, 0},
                   {SECTION_LENGTHS, 5, 1},
                   {SECTION_PARENTS, 6, 0x80},
                   {SECTION_SCALES, sizeof(float) + 3, 0x7f},
                   {SECTION_LISTS, offsetof(struct neighbours, count), 200},
                   {SECTION_LISTS, offsetof(struct neighbours, groups) + 2, 1},
                   {SECTION_LISTS, offsetof(struct neighbours, n), 1},
                   {SECTION_LISTS, offsetof(struct neighbours, content) + 3, 0x80},
                   {SECTION_LISTS, offsetof(struct neighbours, content) + 1, 1}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        memcpy(changed, bytes, size);
        changed[header.sections[changes[i].section].offset + changes[i].at] = changes[i].value;
        snapshot_seal(changed, size);
        snapshot_write(path, changed, size);
        expect_refused(TK_ECORRUPT, NULL);
    }
    /* The seal itself is right. */
    snapshot_seal(bytes, size);
    snapshot_write(path, bytes, size);
    tk_index *loaded;
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    free(bytes);
    free(changed);
    tk_index_free(loaded);
    tk_index_free(index);
}

Test(snapshot, foreign_files_are_refused_with_the_reason)
{
    size_t size;
    tk_index *index = make_index(50);
    struct snapshot_header header;
    cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
    unsigned char *bytes = snapshot_read(path, &size);
    memcpy(&header, bytes, sizeof(header));

    header.version = SNAPSHOT_VERSION + 1;
    memcpy(bytes, &header, sizeof(header));
    snapshot_write(path, bytes, size);
    expect_refused(TK_EVERSION, "format version 4; this is version 3");
    header.version = __builtin_bswap32(SNAPSHOT_VERSION);
    header.order = __builtin_bswap32(SNAPSHOT_ORDER);
    memcpy(bytes, &header, sizeof(header));
    snapshot_write(path, bytes, size);
    expect_refused(TK_EVERSION, "byte order");
    memcpy(bytes, "PK\x03\x04", 4);
    snapshot_write(path, bytes, size);
    expect_refused(TK_ECORRUPT, "is not a saved index");
    snapshot_write(path, bytes, 0);
    expect_refused(TK_ECORRUPT, "is empty");
    unlink(path);
    expect_refused(TK_EIO, "No such file");
    cr_assert_eq(mkdir(path, 0700), 0);
    expect_refused(TK_EIO, "not a regular file");
    rmdir(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_refused(TK_EIO, "not a regular file");
    free(bytes);
    tk_index_free(index);
}

Test(snapshot, a_save_that_fails_leaves_the_old_file)
{
    tk_index *index = make_index(50), *loaded;
    tk_error error;
    char nowhere[100];
    cr_assert_eq(tk_index_save(index, path, "old", 3, NULL), TK_OK);
    snprintf(nowhere, sizeof(nowhere), "%s/missing/index", directory);
    cr_expect_eq(tk_index_save(index, nowhere, NULL, 0, &error), TK_EIO);
    cr_expect_not_null(strstr(error.message, "No such file"), "%s", error.message);

    /* A directory in the place of the file beside. */
    snprintf(nowhere, sizeof(nowhere), "%s.tmp", path);
    cr_assert_eq(mkdir(nowhere, 0700), 0);
    cr_expect_eq(tk_index_save(index, path, "new", 3, &error), TK_EIO);
    rmdir(nowhere);

    /* A disk that is full. */
    cr_assert_eq(symlink("/dev/full", nowhere), 0);
    cr_expect_eq(tk_index_save(index, path, "new", 3, &error), TK_EIO);
    unlink(nowhere);

    size_t size;
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    cr_expect_eq(memcmp(tk_index_note(loaded, &size), "old", 3), 0);
    tk_index_free(loaded);
    tk_index_free(index);
}

Test(snapshot, a_save_begins_anew_over_what_a_crash_left_beside)
{
    char beside[100];
    tk_index *index = make_index(50), *loaded;
    snprintf(beside, sizeof(beside), "%s.tmp", path);
    FILE *file = fopen(beside, "wb");
    for (int i = 0; i < 100000; i++) fputc(i, file);
    fclose(file);
    cr_assert_eq(tk_index_save(index, path, NULL, 0, NULL), TK_OK);
    cr_assert_eq(access(beside, F_OK), -1);
    cr_assert_eq(tk_index_load(path, &loaded, NULL), TK_OK);
    cr_expect_eq(tk_index_count(loaded), tk_index_count(index));
    tk_index_free(loaded);
    tk_index_free(index);
}
