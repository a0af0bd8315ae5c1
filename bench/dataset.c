#include "bench/dataset.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *word, *suffix;
    enum format format;
} formats[] = {
    {"raw-i8", ".i8", FORMAT_RAW_I8},
    {"raw-f32", ".f32", FORMAT_RAW_F32},
    {"fvecs", ".fvecs", FORMAT_FVECS},
    {"fbin", ".fbin", FORMAT_FBIN},
};
enum { FORMATS = sizeof(formats) / sizeof(*formats) };

int format_parse(const char *word, enum format *format)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(word, formats[i].word) != 0) continue;
        *format = formats[i].format;
        return 0;
    }
    return -1;
}

static int format_of_name(const char *path, enum format *format, tk_error *err)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < FORMATS; i++) {
        size_t end = strlen(formats[i].suffix);
        if (length < end || strcmp(path + length - end, formats[i].suffix) != 0) continue;
        *format = formats[i].format;
        return 0;
    }
    return fail(err,
                "%s: the name does not tell the format (.i8, .f32, .fvecs, .fbin); say it "
                "with --format",
                path);
}

/* ---- Layout ---------------------------------------------------------------------------------- */

/* An open file and how its vectors lie in it. */
struct file {
    const char *path;
    FILE *stream;
    uint64_t size;
    enum format format;
    size_t dim, count;
    size_t header; /* bytes before the first vector */
    size_t prefix; /* bytes before each vector */
    size_t width;  /* bytes of a component */
};

static int open_file(struct file *file, tk_error *err)
{
    file->stream = fopen(file->path, "rb");
    if (!file->stream) return fail(err, "%s: %s", file->path, strerror(errno));
    struct stat status;
    if (fstat(fileno(file->stream), &status) != 0)
        return fail(err, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return fail(err, "%s is not a regular file", file->path);
    if (status.st_size == 0) return fail(err, "%s is empty", file->path);
    file->size = (uint64_t)status.st_size;
    return 0;
}

static int read_bytes(struct file *file, void *out, size_t bytes, tk_error *err)
{
    if (fread(out, 1, bytes, file->stream) == bytes) return 0;
    if (ferror(file->stream)) return fail(err, "%s: %s", file->path, strerror(errno));
    return fail(err, "%s ends before it should", file->path);
}

static uint32_t little32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static int check_dim(const struct file *file, uint32_t found, size_t wanted, tk_error *err)
{
    if (found < 1 || found > MOST_DIM)
        return fail(err, "%s: the dimension %u is not between 1 and %d; is it of another format?",
                    file->path, found, MOST_DIM);
    if (wanted && found != wanted)
        return fail(err, "%s: the dimension is %u, and %zu was expected", file->path, found,
                    wanted);
    return 0;
}

/* Finds dimension and count, and checks them against the size of the file. */
static int read_layout(struct file *file, size_t dim, tk_error *err)
{
    uint8_t header[8];
    file->dim = dim ? dim : DEFAULT_DIM;
    file->width = file->format == FORMAT_RAW_I8 ? 1 : sizeof(float);
    if (file->format == FORMAT_FVECS) {
        if (read_bytes(file, header, 4, err) != 0) return -1;
        if (check_dim(file, little32(header), dim, err) != 0) return -1;
        file->dim = little32(header);
        file->prefix = 4;
    } else if (file->format == FORMAT_FBIN) {
        if (read_bytes(file, header, 8, err) != 0) return -1;
        if (check_dim(file, little32(header + 4), dim, err) != 0) return -1;
        file->dim = little32(header + 4);
        file->header = 8;
    }
    uint64_t record = file->prefix + file->dim * file->width;
    uint64_t body = file->size - file->header;
    if (body % record != 0)
        return fail(err, "%s has %llu bytes, which is no whole number of vectors of %llu bytes",
                    file->path, (unsigned long long)body, (unsigned long long)record);
    file->count = (size_t)(body / record);
    if (file->format == FORMAT_FBIN && little32(header) != file->count)
        return fail(err, "%s says that it has %u vectors, and has %zu", file->path,
                    little32(header), file->count);
    if (file->count == 0) return fail(err, "%s holds no vectors", file->path);
    if (fseek(file->stream, (long)file->header, SEEK_SET) != 0)
        return fail(err, "%s: %s", file->path, strerror(errno));
    return 0;
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static int decode(const struct file *file, size_t row, const uint8_t *record, float *out,
                  tk_error *err)
{
    if (file->prefix && little32(record) != file->dim)
        return fail(err, "%s: vector %zu has dimension %u, the ones before it %zu", file->path, row,
                    little32(record), file->dim);
    record += file->prefix;
    for (size_t i = 0; i < file->dim; i++) {
        if (file->width == 1) {
            out[i] = (float)(int8_t)record[i];
        } else {
            uint32_t bits = little32(record + 4 * i);
            memcpy(out + i, &bits, sizeof(bits));
        }
    }
    switch (vector_normalise(out, file->dim)) {
    case -1:
        return fail(err, "%s: vector %zu has a component that is NaN or infinite", file->path, row);
    case -2:
        return fail(err, "%s: vector %zu has length zero, so no direction", file->path, row);
    default:
        return 0;
    }
}

static int read_vectors(struct file *file, struct vectors *vectors, tk_error *err)
{
    size_t record = file->prefix + file->dim * file->width;
    uint8_t *bytes = malloc(record);
    if (!bytes) return fail(err, "memory ran out");
    int result = vectors_allocate(file->count, file->dim, vectors, err);
    for (size_t row = 0; result == 0 && row < file->count; row++) {
        result = read_bytes(file, bytes, record, err);
        if (result == 0) result = decode(file, row, bytes, vectors_row(vectors, row), err);
    }
    free(bytes);
    if (result != 0) vectors_free(vectors);
    return result;
}

int dataset_read(const char *path, enum format format, size_t dim, struct vectors *vectors,
                 tk_error *err)
{
    struct file file = {.path = path, .format = format};
    int result = -1;
    *vectors = (struct vectors){0};
    if (format == FORMAT_BY_NAME && format_of_name(path, &file.format, err) != 0) return -1;
    if (open_file(&file, err) != 0) goto out;
    if (read_layout(&file, dim, err) != 0) goto out;
    result = read_vectors(&file, vectors, err);
out:
    if (file.stream) fclose(file.stream);
    return result;
}
