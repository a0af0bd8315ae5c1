#include "tools/tekup/backup_file.h"

#include "storage/base/digest.h"
#include "tools/tekup/write_whole.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PRIVATE = 0600, READ_BLOCK = 128 * 1024 };

static void put_sum(struct buffer *sums, const char *name, const void *bytes, size_t length)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    digest_sha256(bytes, length, digest);
    digest_hex(digest, sizeof(digest), hex);
    buffer_format(sums, "%s  %s\n", hex, name);
}

/* ---- Writing --------------------------------------------------------------------------------- */

struct backup_writer {
    struct archive *archive;
    struct buffer sums;
    char *path;    /* "-": stdout */
    char *partial; /* its name while it is written; NULL where it has none (O_TMPFILE) */
    int fd;
    unsigned long long bytes;
    bool finished;
};

static int write_error(const struct backup_writer *writer, int number, struct error *err)
{
    return error_set(err, ERR_IO, NULL, "cannot write %s: %s",
                     strcmp(writer->path, "-") == 0 ? "standard output" : writer->path,
                     write_failure(number));
}

static la_ssize_t on_write(struct archive *archive, void *arg, const void *bytes, size_t length)
{
    struct backup_writer *writer = arg;
    if (write_whole(writer->fd, bytes, length) != 0) {
        archive_set_error(archive, errno, "write");
        return -1;
    }
    writer->bytes += length;
    return (la_ssize_t)length;
}

/* A file without a name goes with a process that is killed; not every file system has them. */
static int open_file(struct backup_writer *writer, struct error *err)
{
    struct stat found;
    char directory[4096];
    if (stat(writer->path, &found) == 0 && !S_ISREG(found.st_mode))
        return error_set(err, ERR_INVALID, NULL, "%s is there, and no file", writer->path);
    snprintf(directory, sizeof(directory), "%s", writer->path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory] = '\0';
    writer->fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, PRIVATE);
    if (writer->fd >= 0) return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR)
        return error_set(err, ERR_IO, NULL, "cannot write in %s: %s", directory, strerror(errno));
    if (asprintf(&writer->partial, "%s.partial", writer->path) < 0) {
        writer->partial = NULL;
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    unlink(writer->partial);
    writer->fd = open(writer->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, PRIVATE);
    return writer->fd >= 0 ? 0 : write_error(writer, errno, err);
}

struct backup_writer *backup_writer_create(const char *path, struct error *err)
{
    struct backup_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL || (writer->path = strdup(path)) == NULL ||
        (writer->archive = archive_write_new()) == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        goto failed;
    }
    writer->fd = STDOUT_FILENO;
    if (strcmp(path, "-") != 0) {
        writer->fd = -1;
        if (open_file(writer, err) != 0) goto failed;
    } else if (isatty(STDOUT_FILENO)) {
        error_set(err, ERR_INVALID, NULL, "a backup is not written to a terminal");
        goto failed;
    }
    if (archive_write_set_format_ustar(writer->archive) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(writer->archive, 1) != ARCHIVE_OK ||
        archive_write_open(writer->archive, writer, NULL, on_write, NULL) != ARCHIVE_OK) {
        error_set(err, ERR_INTERNAL, NULL, "libarchive: %s", archive_error_string(writer->archive));
        goto failed;
    }
    return writer;
failed:
    backup_writer_free(writer);
    return NULL;
}

static int add(struct backup_writer *writer, const char *name, const void *bytes, size_t length,
               struct error *err)
{
    struct archive_entry *entry = archive_entry_new();
    if (entry == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)length);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, PRIVATE);
    archive_entry_set_mtime(entry, time(NULL), 0);
    const bool written = archive_write_header(writer->archive, entry) == ARCHIVE_OK &&
                         archive_write_data(writer->archive, bytes, length) == (la_ssize_t)length &&
                         archive_write_finish_entry(writer->archive) == ARCHIVE_OK;
    archive_entry_free(entry);
    return written ? 0 : write_error(writer, archive_errno(writer->archive), err);
}

int backup_writer_add(struct backup_writer *writer, const char *name, const void *bytes,
                      size_t length, struct error *err)
{
    put_sum(&writer->sums, name, bytes, length);
    if (writer->sums.failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    return add(writer, name, bytes, length, err);
}

/* The name appears at once and whole: a link cannot take a name that is there, a rename can. */
static int give_name(struct backup_writer *writer, struct error *err)
{
    char from[64];
    snprintf(from, sizeof(from), "/proc/self/fd/%d", writer->fd);
    if (writer->partial == NULL) {
        if (asprintf(&writer->partial, "%s.partial", writer->path) < 0) {
            writer->partial = NULL;
            return error_set(err, ERR_INTERNAL, NULL, "out of memory");
        }
        unlink(writer->partial);
        if (linkat(AT_FDCWD, from, AT_FDCWD, writer->partial, AT_SYMLINK_FOLLOW) != 0)
            return write_error(writer, errno, err);
    }
    if (rename(writer->partial, writer->path) != 0) return write_error(writer, errno, err);
    free(writer->partial);
    writer->partial = NULL;
    return 0;
}

static int sync_directory(const struct backup_writer *writer, struct error *err)
{
    char directory[4096];
    snprintf(directory, sizeof(directory), "%s", writer->path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory] = '\0';
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return write_error(writer, errno, err);
    const int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : write_error(writer, errno, err);
    close(fd);
    return rc;
}

int backup_writer_finish(struct backup_writer *writer, struct error *err)
{
    const bool file = strcmp(writer->path, "-") != 0;
    if (add(writer, BACKUP_SUMS, writer->sums.data, writer->sums.length, err) != 0) return -1;
    if (archive_write_close(writer->archive) != ARCHIVE_OK)
        return write_error(writer, archive_errno(writer->archive), err);
    if (!file) return 0;
    if (fsync(writer->fd) != 0) return write_error(writer, errno, err);
    if (give_name(writer, err) != 0 || sync_directory(writer, err) != 0) return -1;
    writer->finished = true;
    return 0;
}

unsigned long long backup_writer_bytes(const struct backup_writer *writer)
{
    return writer->bytes;
}

void backup_writer_free(struct backup_writer *writer)
{
    if (writer == NULL) return;
    if (writer->archive != NULL) {
        archive_write_fail(writer->archive); /* closing it would write its end */
        archive_write_free(writer->archive);
    }
    if (writer->partial != NULL) unlink(writer->partial);
    if (writer->fd > STDERR_FILENO) close(writer->fd);
    buffer_free(&writer->sums);
    free(writer->partial);
    free(writer->path);
    free(writer);
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct reader {
    const char *name;
    struct archive *archive;
    struct archive_entry *entry;
    int fd;
    char *bytes; /* of the entry */
    size_t length;
};

static int not_a_backup(const char *path, struct error *err)
{
    return error_set(err, ERR_INVALID, NULL, "%s is no backup of tekupdb", path);
}

static int cut_off(const char *path, struct error *err)
{
    return error_set(err, ERR_INVALID, NULL, "%s is not complete: it ends in the middle", path);
}

static int damaged(const char *path, const char *name, struct error *err)
{
    return error_set(err, ERR_INVALID, NULL, "%s is damaged: %s is not what was written", path,
                     name);
}

static int reader_open(struct reader *reader, const struct backup_input *input, struct error *err)
{
    *reader = (struct reader){.name = input->name, .fd = backup_input_read(input, err)};
    if (reader->fd < 0) return -1;
    reader->archive = archive_read_new();
    reader->bytes = malloc(BACKUP_PART);
    if (reader->archive == NULL || reader->bytes == NULL)
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    archive_read_support_format_tar(reader->archive);
    if (archive_read_open_fd(reader->archive, reader->fd, READ_BLOCK) == ARCHIVE_OK) return 0;
    /* It has been looked into, to see what it is. */
    if (archive_errno(reader->archive) == EIO)
        return error_set(err, ERR_IO, NULL, "%s: %s", reader->name, strerror(EIO));
    return not_a_backup(reader->name, err);
}

static void reader_close(struct reader *reader)
{
    if (reader->archive != NULL) archive_read_free(reader->archive);
    if (reader->fd >= 0) close(reader->fd);
    free(reader->bytes);
}

/* Returns 1 with the next entry, 0 at the end, -1. first: nothing has been read yet. */
static int reader_next(struct reader *reader, bool first, struct error *err)
{
    const int found = archive_read_next_header(reader->archive, &reader->entry);
    if (found == ARCHIVE_EOF) return first ? not_a_backup(reader->name, err) : 0;
    if (found != ARCHIVE_OK && first) return not_a_backup(reader->name, err);
    if (found != ARCHIVE_OK) {
        const char *why = archive_error_string(reader->archive);
        return why != NULL && strstr(why, "runcated") != NULL
                   ? cut_off(reader->name, err)
                   : damaged(reader->name, "a name", err);
    }
    return 1;
}

static const char *reader_name(const struct reader *reader)
{
    const char *name = archive_entry_pathname(reader->entry);
    return name != NULL ? name : "";
}

/* Reads the entry's content. */
static int reader_content(struct reader *reader, struct error *err)
{
    const la_int64_t size = archive_entry_size(reader->entry);
    if (archive_entry_filetype(reader->entry) != AE_IFREG || size < 0 || size > BACKUP_ENTRY_MOST)
        return damaged(reader->name, reader_name(reader), err);
    if (size > BACKUP_PART) {
        char *grown = realloc(reader->bytes, (size_t)size);
        if (grown == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
        reader->bytes = grown;
    }
    reader->length = 0;
    while (reader->length < (size_t)size) {
        const la_ssize_t got = archive_read_data(reader->archive, reader->bytes + reader->length,
                                                 (size_t)size - reader->length);
        if (got <= 0) return cut_off(reader->name, err);
        reader->length += (size_t)got;
    }
    return 0;
}

static bool is_part(const char *name)
{
    return strncmp(name, BACKUP_DUMP, strlen(BACKUP_DUMP)) == 0;
}

/* Names the first entry whose line is another one. */
static int compare(const struct reader *reader, const struct buffer *sums, struct error *err)
{
    if (sums->data == NULL) return damaged(reader->name, BACKUP_SUMS, err);
    if (reader->length == sums->length && memcmp(reader->bytes, sums->data, sums->length) == 0)
        return 0;
    const char *line = sums->data;
    size_t at = 0;
    while (*line != '\0') {
        const size_t length = strcspn(line, "\n") + 1;
        if (at + length > reader->length || memcmp(line, reader->bytes + at, length) != 0) {
            char name[128];
            const char *word = strstr(line, "  ");
            const size_t begin = word != NULL ? (size_t)(word - line) + 2 : 0;
            snprintf(name, sizeof(name), "%.*s", (int)(length - 1 - begin), line + begin);
            return damaged(reader->name, name, err);
        }
        at += length;
        line += length;
    }
    return damaged(reader->name, BACKUP_SUMS, err);
}

int backup_check(const struct backup_input *input, backup_entry_fn entry,
                 void (*tick)(void *arg, size_t bytes), void *arg, struct error *err)
{
    struct reader reader;
    struct buffer sums = {0};
    bool first = true, ended = false;
    int rc = reader_open(&reader, input, err), found = 0;
    while (rc == 0 && (found = reader_next(&reader, first, err)) > 0) {
        const char *name = reader_name(&reader);
        if (first && strcmp(name, BACKUP_MANIFEST) != 0) rc = not_a_backup(input->name, err);
        if (rc == 0 && ended) rc = damaged(input->name, name, err);
        if (rc == 0) rc = reader_content(&reader, err);
        if (rc == 0 && strcmp(name, BACKUP_SUMS) == 0) {
            ended = true;
            rc = compare(&reader, &sums, err);
        } else if (rc == 0) {
            put_sum(&sums, name, reader.bytes, reader.length);
            if (sums.failed) rc = error_set(err, ERR_INTERNAL, NULL, "out of memory");
            if (rc == 0 && entry != NULL && !is_part(name))
                rc = entry(arg, name, reader.bytes, reader.length, err);
        }
        if (rc == 0 && tick != NULL) tick(arg, reader.length);
        first = false;
    }
    if (found < 0) rc = -1;
    if (rc == 0 && !ended) rc = cut_off(input->name, err);
    reader_close(&reader);
    buffer_free(&sums);
    return rc;
}

int backup_feed(const struct backup_input *input, int fd, atomic_ullong *fed, struct error *err)
{
    struct reader reader;
    bool first = true;
    int rc = reader_open(&reader, input, err), found = 0;
    while (rc == 0 && (found = reader_next(&reader, first, err)) > 0) {
        first = false;
        if (!is_part(reader_name(&reader))) continue;
        rc = reader_content(&reader, err);
        if (rc == 0 && write_whole(fd, reader.bytes, reader.length) != 0) {
            if (errno == EPIPE) break;
            rc = error_set(err, ERR_IO, NULL, "cannot write to pg_restore: %s", strerror(errno));
        }
        atomic_fetch_add(fed, reader.length);
    }
    if (found < 0) rc = -1;
    reader_close(&reader);
    return rc;
}
