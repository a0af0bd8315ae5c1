/*
 * catalog_file.c: the catalog in a file.
 *
 * The file is a head, a record for each document and a tail, in the byte order of the machine:
 *
 *     head      magic, order mark, version
 *     record    number of embeddings: uint32_t; id, source, repository and path, each with a NUL;
 *               for each embedding its id: int64_t, and the hash of its vector: uint64_t
 *     tail      UINT32_MAX; number of records: uint64_t
 *
 * It is written a piece at a time, so that the lock is held for moments only. What is changed
 * meanwhile may or may not be in it, and a document that is moved may be in it twice; whoever reads
 * it applies the changes since it was begun.
 */
#include "tools/tekupd/mirror/catalog_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, ORDER = 0x01020304, PIECE = 1024, BLOCK = 1 << 20 };

static const char magic[8] = "TEKUPCAT";

struct head {
    char magic[8];
    uint32_t order, version;
};

/* ---- The checksum ---------------------------------------------------------------------------- */

/* A hash of words, block after block; a last block that is no whole words counts with zeros. */
static uint64_t hash_block(uint64_t hash, const char *bytes, size_t length)
{
    static const uint64_t prime = 0x9e3779b97f4a7c15u;
    uint64_t word;
    for (; length >= sizeof(word); bytes += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        hash = (hash ^ word) * prime;
        hash ^= hash >> 32;
    }
    word = length;
    memcpy(&word, bytes, length);
    return (hash ^ word ^ length << 56) * prime;
}

/* ---- Writing --------------------------------------------------------------------------------- */

struct output {
    int fd;
    const char *path;
    struct buffer pending;
    struct catalog_file file;
};

static int write_out(struct output *output, const char *bytes, size_t length, struct error *err)
{
    output->file.checksum = hash_block(output->file.checksum, bytes, length);
    output->file.size += length;
    while (length > 0) {
        const ssize_t written = write(output->fd, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0)
            return error_set(err, ERR_IO, NULL, "cannot write %s: %s", output->path,
                             strerror(errno));
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* Whole blocks, and at the end the rest too. */
static int send_pending(struct output *output, bool all, struct error *err)
{
    size_t at = 0;
    if (output->pending.failed) return catalog_no_memory(err);
    while (output->pending.length - at >= BLOCK) {
        if (write_out(output, output->pending.data + at, BLOCK, err) != 0) return -1;
        at += BLOCK;
    }
    const size_t rest = output->pending.length - at;
    if (all) return rest > 0 ? write_out(output, output->pending.data + at, rest, err) : 0;
    if (at > 0 && rest > 0) memmove(output->pending.data, output->pending.data + at, rest);
    output->pending.length = rest;
    return 0;
}

static void put_document(struct buffer *out, const struct entry *document)
{
    const struct repository *repository = document->repository;
    buffer_append(out, &document->count, sizeof(document->count));
    buffer_append(out, document->id, strlen(document->id) + 1);
    buffer_append(out, repository->source, strlen(repository->source) + 1);
    buffer_append(out, repository->name, strlen(repository->name) + 1);
    buffer_append(out, document->path, strlen(document->path) + 1);
    for (uint32_t i = 0; i < document->count; i++) {
        buffer_append(out, &document->embeddings[i].embedding, sizeof(int64_t));
        buffer_append(out, &document->embeddings[i].hash, sizeof(uint64_t));
    }
}

/* The next buckets. A table that grows meanwhile puts the documents of a bucket into it and into
 * later ones, so that none is missed. */
static bool put_piece(const struct catalog *catalog, size_t *from, struct output *output)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    pthread_rwlock_rdlock(lock);
    const size_t end =
        catalog->bucket_count - *from > PIECE ? *from + PIECE : catalog->bucket_count;
    for (; *from < end; (*from)++) {
        for (const struct entry *document = catalog->buckets[*from]; document != NULL;
             document = document->next) {
            put_document(&output->pending, document);
            output->file.documents++;
        }
    }
    const bool more = *from < catalog->bucket_count;
    pthread_rwlock_unlock(lock);
    return more;
}

static int put_all(const struct catalog *catalog, struct output *output, struct error *err)
{
    struct head head = {.order = ORDER, .version = VERSION};
    const uint32_t end = UINT32_MAX;
    size_t from = 0;
    bool more = true;
    memcpy(head.magic, magic, sizeof(magic));
    buffer_append(&output->pending, &head, sizeof(head));
    while (more) {
        more = put_piece(catalog, &from, output);
        if (send_pending(output, false, err) != 0) return -1;
    }
    buffer_append(&output->pending, &end, sizeof(end));
    buffer_append(&output->pending, &output->file.documents, sizeof(output->file.documents));
    if (send_pending(output, true, err) != 0) return -1;
    if (fsync(output->fd) != 0)
        return error_set(err, ERR_IO, NULL, "cannot sync %s: %s", output->path, strerror(errno));
    return 0;
}

int catalog_save(const struct catalog *catalog, const char *path, struct catalog_file *file,
                 struct error *err)
{
    struct output output = {.path = path};
    output.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output.fd < 0)
        return error_set(err, ERR_IO, NULL, "cannot create %s: %s", path, strerror(errno));
    const int rc = put_all(catalog, &output, err);
    close(output.fd);
    buffer_free(&output.pending);
    if (rc != 0) unlink(path);
    *file = output.file;
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct input {
    const char *at, *end;
};

static bool take(struct input *input, void *out, size_t size)
{
    if ((size_t)(input->end - input->at) < size) return false;
    memcpy(out, input->at, size);
    input->at += size;
    return true;
}

static const char *take_text(struct input *input)
{
    const char *text = input->at;
    const char *nul = memchr(text, '\0', (size_t)(input->end - text));
    if (nul == NULL) return NULL;
    input->at = nul + 1;
    return text;
}

static int damaged(struct error *err)
{
    return error_set(err, ERR_INVALID, NULL, "the file of the catalog is damaged");
}

static int take_document(struct catalog *catalog, uint32_t count, struct input *input,
                         struct error *err)
{
    const char *id = take_text(input);
    const char *source = id != NULL ? take_text(input) : NULL;
    const char *repository = source != NULL ? take_text(input) : NULL;
    const char *path = repository != NULL ? take_text(input) : NULL;
    if (path == NULL || (size_t)(input->end - input->at) / sizeof(struct held) < count)
        return damaged(err);
    if (catalog_put_document(catalog, id, source, repository, path, err) != 0) return -1;
    for (uint32_t i = 0; i < count; i++) {
        enum catalog_had had;
        int64_t embedding = 0;
        uint64_t hash = 0;
        take(input, &embedding, sizeof(embedding));
        take(input, &hash, sizeof(hash));
        if (catalog_put_embedding(catalog, embedding, id, hash, &had, err) != 0) return -1;
    }
    return 0;
}

static int take_all(struct catalog *catalog, struct input *input, struct error *err)
{
    struct head head;
    uint64_t documents = 0, said;
    uint32_t count;
    if (!take(input, &head, sizeof(head)) || memcmp(head.magic, magic, sizeof(magic)) != 0)
        return damaged(err);
    if (head.order != ORDER || head.version != VERSION)
        return error_set(err, ERR_INVALID, NULL,
                         "the file of the catalog is of another version or another machine");
    for (;; documents++) {
        if (!take(input, &count, sizeof(count))) return damaged(err);
        if (count == UINT32_MAX) break;
        if (take_document(catalog, count, input, err) != 0) return -1;
    }
    return take(input, &said, sizeof(said)) && said == documents ? 0 : damaged(err);
}

static uint64_t hash_file(const char *bytes, size_t size)
{
    uint64_t hash = 0;
    for (size_t at = 0; at < size; at += BLOCK)
        hash = hash_block(hash, bytes + at, size - at < BLOCK ? size - at : BLOCK);
    return hash;
}

static struct catalog *load_bytes(const char *bytes, const struct catalog_file *file,
                                  struct error *err)
{
    struct input input = {bytes, bytes + file->size};
    struct catalog *catalog;
    if (hash_file(bytes, file->size) != file->checksum) {
        damaged(err);
        return NULL;
    }
    catalog = catalog_create();
    if (catalog == NULL) {
        catalog_no_memory(err);
        return NULL;
    }
    if (take_all(catalog, &input, err) == 0) return catalog;
    catalog_free(catalog);
    return NULL;
}

struct catalog *catalog_load(const char *path, const struct catalog_file *file, struct error *err)
{
    struct catalog *catalog = NULL;
    struct stat found;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) != 0) {
        error_set(err, ERR_IO, NULL, "cannot read %s: %s", path, strerror(errno));
        goto out;
    }
    if ((uint64_t)found.st_size != file->size || file->size == 0) {
        error_set(err, ERR_INVALID, NULL, "%s has %lld bytes, not %llu", path,
                  (long long)found.st_size, (unsigned long long)file->size);
        goto out;
    }
    void *bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        error_set(err, ERR_IO, NULL, "cannot map %s: %s", path, strerror(errno));
        goto out;
    }
    madvise(bytes, file->size, MADV_SEQUENTIAL);
    catalog = load_bytes(bytes, file, err);
    munmap(bytes, file->size);
out:
    if (fd >= 0) close(fd);
    return catalog;
}
