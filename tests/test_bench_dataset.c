/* Reading files of vectors: every format, and everything that can be wrong with one. */
#include "bench/dataset.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_bench_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(dataset, .init = make_folder, .fini = remove_folder);

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

/* Little-endian words: integers as they are, floats by their bits. */
struct words {
    uint8_t bytes[256];
    size_t size;
};

static void put(struct words *words, uint32_t value)
{
    for (int shift = 0; shift < 32; shift += 8)
        words->bytes[words->size++] = (uint8_t)(value >> shift);
}

static void put_float(struct words *words, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put(words, bits);
}

static void expect_row(const struct vectors *vectors, size_t row, float x, float y)
{
    cr_expect_float_eq(vectors_row(vectors, row)[0], x, 1e-6, "row %zu", row);
    cr_expect_float_eq(vectors_row(vectors, row)[1], y, 1e-6, "row %zu", row);
}

static void expect_refused(const char *name, enum format format, size_t dim, const char *reason)
{
    struct vectors vectors;
    tk_error error = {0};
    cr_expect_eq(dataset_read(path_of(name), format, dim, &vectors, &error), -1, "%s", name);
    cr_expect_not_null(strstr(error.message, reason), "\"%s\" does not say \"%s\"", error.message,
                       reason);
    cr_expect_null(vectors.data);
}

Test(dataset, reads_signed_bytes_and_makes_their_length_one)
{
    struct vectors vectors;
    tk_error error;
    write_file("a.i8", "\x03\x04\xfd\xfc\x80\x00", 6);
    cr_assert_eq(dataset_read(path_of("a.i8"), FORMAT_BY_NAME, 2, &vectors, &error), 0);
    cr_assert_eq(vectors.count, 3);
    cr_assert_eq(vectors.dim, 2);
    expect_row(&vectors, 0, 0.6F, 0.8F);
    expect_row(&vectors, 1, -0.6F, -0.8F);
    expect_row(&vectors, 2, -1, 0);
    vectors_free(&vectors);
}

Test(dataset, takes_1536_dimensions_for_granted_in_a_file_without_a_header)
{
    struct vectors vectors;
    tk_error error;
    char bytes[2 * DEFAULT_DIM];
    memset(bytes, 1, sizeof(bytes));
    write_file("a.i8", bytes, sizeof(bytes));
    cr_assert_eq(dataset_read(path_of("a.i8"), FORMAT_BY_NAME, 0, &vectors, &error), 0);
    cr_expect_eq(vectors.count, 2);
    cr_expect_eq(vectors.dim, DEFAULT_DIM);
    cr_expect_float_eq(vectors.data[0], 1 / sqrt(DEFAULT_DIM), 1e-7);
    vectors_free(&vectors);
}

Test(dataset, reads_the_three_formats_of_floats_alike)
{
    const float rows[2][2] = {{3, 4}, {0, -2}};
    struct words raw = {0}, fvecs = {0}, fbin = {0};
    put(&fbin, 2);
    put(&fbin, 2);
    for (int row = 0; row < 2; row++) {
        put(&fvecs, 2);
        for (int i = 0; i < 2; i++) {
            put_float(&raw, rows[row][i]);
            put_float(&fvecs, rows[row][i]);
            put_float(&fbin, rows[row][i]);
        }
    }
    write_file("a.f32", raw.bytes, raw.size);
    write_file("a.fvecs", fvecs.bytes, fvecs.size);
    write_file("a.fbin", fbin.bytes, fbin.size);
    const char *const names[] = {"a.f32", "a.fvecs", "a.fbin"};
    for (size_t i = 0; i < 3; i++) {
        struct vectors vectors;
        tk_error error = {0};
        int result = dataset_read(path_of(names[i]), FORMAT_BY_NAME, 2, &vectors, &error);
        cr_assert_eq(result, 0, "%s: %s", names[i], error.message);
        cr_assert_eq(vectors.count, 2);
        expect_row(&vectors, 0, 0.6F, 0.8F);
        expect_row(&vectors, 1, 0, -1);
        vectors_free(&vectors);
    }
}

Test(dataset, goes_by_the_format_told_rather_than_by_the_name)
{
    struct vectors vectors;
    tk_error error;
    write_file("a.fvecs", "\x03\x04", 2);
    cr_assert_eq(dataset_read(path_of("a.fvecs"), FORMAT_RAW_I8, 2, &vectors, &error), 0);
    expect_row(&vectors, 0, 0.6F, 0.8F);
    vectors_free(&vectors);
    expect_refused("a.bin", FORMAT_BY_NAME, 2, "--format");
}

Test(dataset, refuses_what_is_no_file_of_vectors)
{
    expect_refused("missing.i8", FORMAT_BY_NAME, 2, "No such file");
    cr_assert_eq(mkdir(path_of("folder.i8"), 0700), 0);
    expect_refused("folder.i8", FORMAT_BY_NAME, 2, "not a regular file");
    write_file("empty.i8", "", 0);
    expect_refused("empty.i8", FORMAT_BY_NAME, 2, "empty");
}

Test(dataset, refuses_a_file_that_is_cut_off_anywhere)
{
    struct words fvecs = {0}, fbin = {0};
    put(&fbin, 2);
    put(&fbin, 2);
    for (int row = 0; row < 2; row++) {
        put(&fvecs, 2);
        for (int i = 0; i < 2; i++) {
            put_float(&fvecs, 1);
            put_float(&fbin, 1);
        }
    }
    for (size_t size = 1; size < fvecs.size; size++) {
        struct vectors vectors;
        tk_error error;
        write_file("a.fvecs", fvecs.bytes, size);
        /* Cut between two vectors it is a whole file of one. */
        int result = dataset_read(path_of("a.fvecs"), FORMAT_BY_NAME, 0, &vectors, &error);
        cr_expect_eq(result, size == fvecs.size / 2 ? 0 : -1, "fvecs of %zu bytes", size);
        vectors_free(&vectors);
    }
    for (size_t size = 1; size < fbin.size; size++) {
        write_file("a.fbin", fbin.bytes, size);
        expect_refused("a.fbin", FORMAT_BY_NAME, 0, "a.fbin");
    }
    write_file("a.i8", "\1\1\1", 3);
    expect_refused("a.i8", FORMAT_BY_NAME, 2, "no whole number of vectors");
    write_file("a.f32", "\1\1\1\1\1\1\1", 7);
    expect_refused("a.f32", FORMAT_BY_NAME, 1, "no whole number of vectors");
}

Test(dataset, refuses_a_header_that_does_not_fit_the_file)
{
    struct words fbin = {0}, huge = {0}, none = {0};
    put(&fbin, 3);
    put(&fbin, 2);
    put_float(&fbin, 1);
    put_float(&fbin, 1);
    write_file("count.fbin", fbin.bytes, fbin.size);
    expect_refused("count.fbin", FORMAT_BY_NAME, 0, "says that it has 3 vectors, and has 1");
    write_file("long.fbin", fbin.bytes, fbin.size);
    expect_refused("long.fbin", FORMAT_BY_NAME, 7, "the dimension is 2, and 7 was expected");
    put(&huge, 0xFFFFFFFFU);
    put_float(&huge, 1);
    write_file("huge.fvecs", huge.bytes, huge.size);
    expect_refused("huge.fvecs", FORMAT_BY_NAME, 0, "dimension 4294967295");
    put(&none, 0);
    put(&none, 2);
    write_file("none.fbin", none.bytes, none.size);
    expect_refused("none.fbin", FORMAT_BY_NAME, 0, "holds no vectors");
}

Test(dataset, refuses_vectors_of_different_dimensions_in_one_file)
{
    struct words fvecs = {0};
    put(&fvecs, 2);
    put_float(&fvecs, 1);
    put_float(&fvecs, 1);
    put(&fvecs, 1);
    put_float(&fvecs, 1);
    put_float(&fvecs, 1);
    write_file("a.fvecs", fvecs.bytes, fvecs.size);
    expect_refused("a.fvecs", FORMAT_BY_NAME, 0, "vector 1 has dimension 1");
}

Test(dataset, names_the_vector_that_has_no_direction)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct words raw = {0};
        put_float(&raw, 1);
        put_float(&raw, 1);
        put_float(&raw, 1);
        put_float(&raw, bad[i]);
        write_file("a.f32", raw.bytes, raw.size);
        expect_refused("a.f32", FORMAT_BY_NAME, 2, "vector 1 has a component that is NaN");
    }
    write_file("a.i8", "\1\1\0\0", 4);
    expect_refused("a.i8", FORMAT_BY_NAME, 2, "vector 1 has length zero");
}

Test(dataset, keeps_the_direction_of_extreme_components)
{
    struct words raw = {0};
    struct vectors vectors;
    tk_error error;
    put_float(&raw, 3e38F);
    put_float(&raw, 3e38F);
    put_float(&raw, 1e-45F);
    put_float(&raw, 0);
    write_file("a.f32", raw.bytes, raw.size);
    cr_assert_eq(dataset_read(path_of("a.f32"), FORMAT_BY_NAME, 2, &vectors, &error), 0);
    expect_row(&vectors, 0, 0.70710678F, 0.70710678F);
    expect_row(&vectors, 1, 1, 0);
    vectors_free(&vectors);
}

Test(dataset, knows_its_formats_by_name)
{
    enum format format = FORMAT_BY_NAME;
    cr_expect_eq(format_parse("fbin", &format), 0);
    cr_expect_eq(format, FORMAT_FBIN);
    cr_expect_eq(format_parse("raw-i8", &format), 0);
    cr_expect_eq(format, FORMAT_RAW_I8);
    cr_expect_eq(format_parse("csv", &format), -1);
    cr_expect_eq(format_parse("", &format), -1);
}
