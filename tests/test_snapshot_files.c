/* A replica in files: what is saved is opened, and what cannot be trusted is not. */
#include "tests/scratch.h"

#include "storage/base/log.h"
#include "tools/tekupd/mirror/snapshot.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOCUMENTS = 300, EACH = 2 };

static char data[32];

static void begin(void)
{
    log_set_level(LOG_ERROR);
    scratch_directory(data);
}

static void end(void)
{
    scratch_remove(data);
}

TestSuite(snapshot_files, .init = begin, .fini = end);

static void fill_vector(float *vector, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        state = state * 1664525u + 1013904223u;
        vector[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
}

static tk_index_options options(void)
{
    tk_index_options options;
    tk_index_options_init(&options);
    options.dim = EMBEDDING_DIM;
    options.max_neighbours = 8;
    options.ef_construction = 40;
    return options;
}

/* Document i has the embeddings 10 * i + 1 and 10 * i + 2. */
static struct replica *example(unsigned documents)
{
    struct error err = {0};
    const tk_index_options made = options();
    struct replica *replica = replica_create(&made, "model", &err);
    cr_assert_not_null(replica, "%s", err.message);
    struct intake *intake = intake_create(replica, false, NULL, &err);
    const struct vault_reader reader = intake_reader(intake);
    float vector[EMBEDDING_DIM];
    for (unsigned i = 0; i < documents; i++) {
        char id[16], path[32];
        snprintf(id, sizeof(id), "d%u", i);
        snprintf(path, sizeof(path), "dir%u/\303\274 %u", i % 7, i);
        cr_assert_eq(reader.document(reader.arg, id, "local", i % 2 ? "r1" : "r2", path), 0);
        for (unsigned j = 1; j <= EACH; j++) {
            fill_vector(vector, 10 * i + j);
            cr_assert_eq(reader.embedding(reader.arg, 10 * i + j, id, vector), 0);
        }
    }
    cr_assert_eq(intake_flush(intake, &err), 0, "%s", err.message);
    intake_free(intake);
    return replica;
}

static void save(struct replica *replica, const char *position)
{
    struct error err = {0};
    cr_assert_eq(snapshot_save(data, replica, "here", position, &err), 0, "%s", err.message);
}

static int open_it(struct snapshot *snapshot, struct error *err)
{
    const tk_index_options wanted = options();
    return snapshot_open(data, &wanted, snapshot, err);
}

static void expect_example(const struct replica *replica, unsigned documents)
{
    struct replica_stats stats;
    float vector[EMBEDDING_DIM];
    replica_get_stats(replica, &stats);
    cr_expect_eq(stats.catalog.documents, documents);
    cr_expect_eq(stats.catalog.embeddings, documents * EACH);
    cr_expect_eq(stats.index.count, documents * EACH);
    for (unsigned i = 0; i < documents; i++) {
        char id[16], document[DOCUMENT_ID_SIZE], path[64];
        struct buffer place = {0};
        uint64_t hash;
        snprintf(id, sizeof(id), "d%u", i);
        snprintf(path, sizeof(path), "dir%u/\303\274 %u", i % 7, i);
        cr_assert(catalog_place(replica_catalog(replica), id, &place));
        cr_expect_str_eq(place.data, "local");
        cr_expect_str_eq(place.data + 6, i % 2 ? "r1" : "r2");
        cr_expect_str_eq(place.data + 9, path);
        buffer_free(&place);
        for (unsigned j = 1; j <= EACH; j++) {
            fill_vector(vector, 10 * i + j);
            cr_assert(catalog_look_up(replica_catalog(replica), 10 * i + j, &hash, document));
            cr_expect_eq(hash, replica_hash(vector));
            cr_expect_str_eq(document, id);
            cr_expect(tk_index_contains(replica_index(replica), 10 * i + j));
        }
    }
}

/* The files of the snapshot, by the beginning of their name; "" where there is none. */
static const char *file_of(const char *prefix)
{
    static char path[300];
    char directory[64];
    snprintf(directory, sizeof(directory), "%s/index", data);
    DIR *opened = opendir(directory);
    struct dirent *entry;
    path[0] = '\0';
    while (opened != NULL && (entry = readdir(opened)) != NULL)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
    if (opened != NULL) closedir(opened);
    return path;
}

static size_t count_files(void)
{
    char directory[64];
    size_t count = 0;
    snprintf(directory, sizeof(directory), "%s/index", data);
    DIR *opened = opendir(directory);
    while (opened != NULL && readdir(opened) != NULL) count++;
    if (opened != NULL) closedir(opened);
    return count - 2; /* without . and .. */
}

Test(snapshot_files, opens_what_was_saved)
{
    struct error err = {0};
    struct snapshot snapshot;
    cr_expect_eq(open_it(&snapshot, &err), 0, "there is none");
    struct replica *replica = example(DOCUMENTS);
    save(replica, "5:9:6,7");
    replica_release(replica);
    cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
    cr_expect_str_eq(snapshot.identity, "here");
    cr_expect_str_eq(snapshot.position, "5:9:6,7");
    expect_example(snapshot.replica, DOCUMENTS);
    snapshot_free(&snapshot);
}

Test(snapshot_files, replaces_the_one_before_and_leaves_nothing_of_it)
{
    struct error err = {0};
    struct snapshot snapshot;
    for (unsigned documents = 0; documents < 3; documents++) {
        struct replica *replica = example(documents);
        save(replica, documents == 2 ? "9:9:" : "5:5:");
        replica_release(replica);
        cr_expect_eq(count_files(), 2);
    }
    cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
    cr_expect_str_eq(snapshot.position, "9:9:");
    expect_example(snapshot.replica, 2);
    snapshot_free(&snapshot);
}

Test(snapshot_files, moves_on_without_being_written_again)
{
    struct error err = {0};
    struct snapshot snapshot;
    cr_expect_eq(snapshot_move(data, "5:5:", &err), -1, "there is none");
    struct replica *replica = example(3);
    save(replica, "5:5:");
    cr_assert_eq(snapshot_move(data, "7:7:", &err), 0, "%s", err.message);
    cr_assert_eq(snapshot_move(data, "8:9:8", &err), 0, "%s", err.message);
    cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
    cr_expect_str_eq(snapshot.position, "8:9:8");
    snapshot_free(&snapshot);
    /* It belongs to that snapshot alone. */
    save(replica, "6:6:");
    cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
    cr_expect_str_eq(snapshot.position, "6:6:");
    snapshot_free(&snapshot);
    replica_release(replica);
}

static void expect_refused(const char *word)
{
    struct error err = {0};
    struct snapshot snapshot;
    cr_expect_eq(open_it(&snapshot, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.message, word), "%s: %s", word, err.message);
    cr_expect_null(snapshot.replica);
    snapshot_free(&snapshot);
}

Test(snapshot_files, is_refused_with_the_reason_where_it_does_not_fit)
{
    struct error err = {0};
    struct snapshot snapshot;
    struct replica *replica = example(3);
    tk_index_options other = options();
    save(replica, "5:5:");
    replica_release(replica);
    other.max_neighbours = 16;
    cr_expect_eq(snapshot_open(data, &other, &snapshot, &err), -1);
    cr_expect_not_null(strstr(err.message, "max_neighbours"), "%s", err.message);
    char vectors[300];
    snprintf(vectors, sizeof(vectors), "%s", file_of("vectors"));
    cr_assert_eq(truncate(vectors, 4000), 0);
    expect_refused("");
    snapshot_set_aside(data, "a test says so");
    cr_expect_eq(open_it(&snapshot, &err), 0);
    cr_expect_str_neq(file_of("vectors.set-aside"), "");
    cr_expect_str_neq(file_of("catalog.set-aside"), "");
    cr_expect_eq(count_files(), 2);
}

static void damage(const char *path, off_t at)
{
    const int fd = open(path, O_RDWR);
    unsigned char byte;
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

Test(snapshot_files, is_refused_where_any_byte_is_another_one)
{
    struct replica *replica = example(40);
    struct stat found;
    save(replica, "5:5:");
    char vectors[300], catalog[300];
    snprintf(vectors, sizeof(vectors), "%s", file_of("vectors"));
    snprintf(catalog, sizeof(catalog), "%s", file_of("catalog"));
    cr_assert_eq(stat(catalog, &found), 0);
    for (off_t at = 0; at < found.st_size; at += 1 + found.st_size / 50) {
        damage(catalog, at);
        expect_refused("catalog");
        damage(catalog, at);
    }
    cr_assert_eq(truncate(catalog, found.st_size - 1), 0);
    expect_refused("bytes");
    cr_assert_eq(unlink(catalog), 0);
    expect_refused("catalog");
    save(replica, "5:5:");
    cr_assert_eq(stat(vectors, &found), 0);
    /* Not in the zeros between the sections, which nothing is read from but their checksum. */
    for (off_t at = 8; at < found.st_size; at += 1 + found.st_size / 20) {
        if (at > 200 && at < 4096) continue; /* behind the header */
        damage(vectors, at);
        expect_refused("");
        damage(vectors, at);
    }
    replica_release(replica);
}

Test(snapshot_files, keeps_the_one_before_when_the_disk_is_full)
{
    struct error err = {0};
    struct snapshot snapshot;
    struct replica *replica = example(3);
    save(replica, "5:5:");
    replica_release(replica);
    replica = example(DOCUMENTS);
    signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limits[] = {0, 4096, 20000, 400000};
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        struct rlimit limit;
        getrlimit(RLIMIT_FSIZE, &limit);
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limits[i];
        setrlimit(RLIMIT_FSIZE, &limit);
        cr_expect_eq(snapshot_save(data, replica, "here", "9:9:", &err), -1);
        cr_expect_eq(err.code, ERR_IO);
        limit.rlim_cur = before;
        setrlimit(RLIMIT_FSIZE, &limit);
        cr_expect_eq(count_files(), 2, "nothing is left of one that failed");
        cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
        cr_expect_str_eq(snapshot.position, "5:5:");
        snapshot_free(&snapshot);
    }
    save(replica, "9:9:");
    cr_assert_eq(open_it(&snapshot, &err), 1, "%s", err.message);
    expect_example(snapshot.replica, DOCUMENTS);
    snapshot_free(&snapshot);
    replica_release(replica);
}
