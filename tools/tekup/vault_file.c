#include "tools/tekup/vault_file.h"

#include "tools/tekup/figures.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 2 * sizeof(uint32_t), DIM_MOST = 65536 };

struct vault_file {
    int fd;
    const char *directory;
    uint32_t dim; /* 0: not known yet */
    size_t count;
};

/* ---- The file ---- */

static int failed(const struct vault_file *file, const char *doing, struct error *err)
{
    return error_set(err, ERR_IO, NULL,
                     "cannot %s a temporary file in %s: %s; TMPDIR may name another directory",
                     doing, file->directory, strerror(errno));
}

static int open_nameless(struct vault_file *file, struct error *err)
{
    const char *chosen = getenv("TMPDIR");
    file->directory = chosen != NULL && *chosen != '\0' ? chosen : "/tmp";
    file->fd = open(file->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* Not every file system has files without a name. */
    if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        struct buffer name = {0};
        buffer_format(&name, "%s/tekup-vault-XXXXXX", file->directory);
        if (!name.failed) file->fd = mkostemp(name.data, O_CLOEXEC);
        if (file->fd >= 0) unlink(name.data);
        buffer_free(&name);
    }
    return file->fd >= 0 ? 0 : failed(file, "make", err);
}

static int write_at(const struct vault_file *file, const char *bytes, size_t length, off_t offset,
                    struct error *err)
{
    while (length > 0) {
        const ssize_t written = pwrite(file->fd, bytes, length, offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return failed(file, "write", err);
        bytes += written;
        offset += written;
        length -= (size_t)written;
    }
    return 0;
}

/* ---- Pages ---- */

static uint32_t little32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void put_little32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (char)(value >> (8 * i));
}

/* Checks a page's head against its length, and what came before. */
static int read_head(struct vault_file *file, const struct response *page, size_t *count,
                     struct error *err)
{
    const size_t length = page->length;
    const uint32_t dim = length >= HEAD ? little32(page->body + sizeof(uint32_t)) : 0;
    *count = length >= HEAD ? little32(page->body) : 0;
    if (dim < 1 || dim > DIM_MOST || (file->dim != 0 && dim != file->dim) ||
        length - HEAD != *count * dim * sizeof(float) || file->count + *count > UINT32_MAX)
        return error_set(err, ERR_INTERNAL, NULL,
                         "tekupd's answer to GET /v1/embeddings is not a page of vectors: is it of "
                         "another version than tekup?");
    file->dim = dim;
    return 0;
}

static int append(struct vault_file *file, const struct response *page, struct error *err)
{
    size_t count;
    if (read_head(file, page, &count, err) != 0) return -1;
    const size_t row = file->dim * sizeof(float);
    if (write_at(file, page->body + HEAD, count * row, (off_t)(HEAD + file->count * row), err) != 0)
        return -1;
    file->count += count;
    return 0;
}

static int finish(const struct vault_file *file, struct error *err)
{
    char head[HEAD];
    put_little32(head, (uint32_t)file->count);
    put_little32(head + sizeof(uint32_t), file->dim);
    return write_at(file, head, sizeof(head), 0, err);
}

static void show(struct progress *progress, size_t count, size_t most)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE];
    struct buffer text = {0};
    if (progress == NULL) return;
    buffer_format(&text, "%s of %s vectors", figure_count((long long)count, a),
                  figure_count((long long)most, b));
    const struct progress_row row = {"reading the vault",
                                     most > 0 ? (double)count / (double)most : -1,
                                     text.data != NULL ? text.data : ""};
    progress_show(progress, &row, 1);
    buffer_free(&text);
}

int vault_file_make(struct client *client, size_t most, struct progress *progress, size_t *count,
                    struct error *err)
{
    struct vault_file file = {.fd = -1};
    struct response page = {0};
    struct buffer target = {0};
    int result = open_nameless(&file, err);
    do {
        buffer_clear(&target);
        buffer_text(&target, "/v1/embeddings");
        target_add(&target, "after", *page.next != '\0' ? page.next : NULL);
        response_free(&page);
        if (target.failed) result = error_set(err, ERR_INTERNAL, NULL, "out of memory");
        if (result == 0) result = client_fetch(client, target.data, &page, err);
        if (result == 0) result = append(&file, &page, err);
        if (result == 0) show(progress, file.count, most);
    } while (result == 0 && *page.next != '\0');
    if (result == 0) result = finish(&file, err);
    response_free(&page);
    buffer_free(&target);
    if (result != 0 && file.fd >= 0) close(file.fd);
    *count = file.count;
    return result == 0 ? file.fd : -1;
}
