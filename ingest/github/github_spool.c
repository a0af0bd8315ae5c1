/* github_spool.c: see github_spool.h. */
#include "ingest/github/github_spool.h"

#include "storage/base/digest.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What an archive may come to; past that it is no repository of texts, or a bomb. */
#define ARCHIVE_MOST ((int64_t)32 << 30)
#define TARBALL_MOST ((size_t)8 << 30)
enum { TARBALL_TIMEOUT_S = 4 * 3600, TARBALL_TRIES = 3, BLOCK = 64 << 10 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- The file ---- */

static int open_spool(struct github_spool *spool, struct error *err)
{
    const char *directory = getenv("TMPDIR");
    if (directory == NULL || *directory == '\0') directory = "/var/tmp";
    if (spool->fd >= 0) return 0;
    spool->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->fd < 0) { /* a file system that cannot do that */
        char path[4096];
        snprintf(path, sizeof(path), "%s/tekupd-XXXXXX", directory);
        spool->fd = mkostemp(path, O_CLOEXEC);
        if (spool->fd >= 0) unlink(path);
    }
    if (spool->fd >= 0) return 0;
    return error_set(err, ERR_IO, NULL, "no file for the tarball can be made in %s: %s", directory,
                     strerror(errno));
}

static int write_all(int fd, const char *bytes, size_t length, off_t at)
{
    while (length > 0) {
        const ssize_t written = pwrite(fd, bytes, length, at);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        bytes += written;
        length -= (size_t)written;
        at += written;
    }
    return 0;
}

static int keep(struct github_spool *spool, const char *sha, const char *bytes, size_t length,
                struct error *err)
{
    if (spool->count == spool->room) {
        const size_t room = spool->room == 0 ? 256 : 2 * spool->room;
        struct github_spooled *grown = realloc(spool->list, room * sizeof(*grown));
        if (grown == NULL) return out_of_memory(err);
        spool->list = grown;
        spool->room = room;
    }
    if (write_all(spool->fd, bytes, length, spool->end) != 0)
        return error_set(err, ERR_IO, NULL, "the tarball cannot be kept on the disk: %s",
                         strerror(errno));
    struct github_spooled *kept = &spool->list[spool->count++];
    *kept = (struct github_spooled){.offset = spool->end, .length = length};
    memcpy(kept->sha, sha, sizeof(kept->sha));
    spool->end += (off_t)length;
    return 0;
}

static int compare_shas(const void *a, const void *b)
{
    return strcmp(a, b);
}

char *github_spool_get(const struct github_spool *spool, const char *sha, size_t *length)
{
    if (spool->count == 0) return NULL;
    const struct github_spooled *found =
        bsearch(sha, spool->list, spool->count, sizeof(*spool->list), compare_shas);
    char *text = found != NULL ? malloc(found->length + 1) : NULL;
    if (text == NULL) return NULL;
    for (size_t got = 0; got < found->length;) {
        const ssize_t more =
            pread(spool->fd, text + got, found->length - got, found->offset + (off_t)got);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) {
            free(text);
            return NULL;
        }
        got += (size_t)more;
    }
    text[found->length] = '\0';
    *length = found->length;
    return text;
}

void github_spool_free(struct github_spool *spool)
{
    if (spool->fd >= 0) close(spool->fd);
    free(spool->list);
    *spool = (struct github_spool){.fd = -1};
}

/* ---- The archive ---- */

/* What is wanted, sorted. What has come is not kept a second time. */
struct wanted_blob {
    char sha[GITHUB_SHA_SIZE];
    bool came;
};

struct wanted {
    struct wanted_blob *list;
    size_t count;
};

bool github_spool_has(const struct github_spool *spool, const char *sha)
{
    return spool->count > 0 &&
           bsearch(sha, spool->list, spool->count, sizeof(*spool->list), compare_shas) != NULL;
}

static int make_wanted(const struct github_spool *spool, const struct github_files *files,
                       struct wanted *wanted)
{
    size_t kept = 0;
    wanted->list = calloc(files->count + 1, sizeof(*wanted->list));
    if (wanted->list == NULL) return -1;
    for (size_t i = 0; i < files->count; i++)
        if (!files->list[i].known && !github_spool_has(spool, files->list[i].sha))
            memcpy(wanted->list[wanted->count++].sha, files->list[i].sha, GITHUB_SHA_SIZE);
    qsort(wanted->list, wanted->count, sizeof(*wanted->list), compare_shas);
    for (size_t i = 0; i < wanted->count; i++)
        if (kept == 0 || compare_shas(&wanted->list[i], &wanted->list[kept - 1]) != 0)
            wanted->list[kept++] = wanted->list[i];
    wanted->count = kept;
    return 0;
}

/* Reads a file's content, of `size` bytes as the archive says. Returns 1 where it is another size.
 */
static int read_entry(struct archive *archive, char *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        const la_ssize_t more = archive_read_data(archive, bytes + got, size - got);
        if (more < 0) return -1;
        if (more == 0) return 1;
        got += (size_t)more;
    }
    return 0;
}

static int too_large(struct error *err)
{
    return error_set(err, ERR_TOO_LARGE, NULL, "the tarball unpacks to over 32 GB");
}

static int take_entry(struct github_spool *spool, struct archive *archive,
                      struct archive_entry *entry, struct wanted *wanted, char *room,
                      size_t max_bytes, struct error *err)
{
    char sha[GIT_SHA_HEX];
    if (!archive_entry_size_is_set(entry)) return 0;
    const la_int64_t size = archive_entry_size(entry);
    /* Before what it is said to hold is unpacked to get past it. */
    if (size > ARCHIVE_MOST - archive_filter_bytes(archive, 0)) return too_large(err);
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != NULL)
        return 0;
    if (size <= 0 || (uint64_t)size > max_bytes) return 0;
    const int got = read_entry(archive, room, (size_t)size);
    if (got != 0) return got < 0 ? 1 : 0;
    digest_git_blob(room, (size_t)size, sha);
    struct wanted_blob *found =
        bsearch(sha, wanted->list, wanted->count, sizeof(*wanted->list), compare_shas);
    if (found == NULL || found->came) return 0;
    found->came = true;
    return keep(spool, sha, room, (size_t)size, err);
}

static int read_archive(struct github_spool *spool, struct archive *archive, struct wanted *wanted,
                        char *room, size_t max_bytes, struct error *err)
{
    struct archive_entry *entry;
    for (;;) {
        const int step = archive_read_next_header(archive, &entry);
        if (step == ARCHIVE_EOF) return 0;
        if (step == ARCHIVE_WARN || step == ARCHIVE_OK) {
            const int status = take_entry(spool, archive, entry, wanted, room, max_bytes, err);
            if (status < 0) return -1;
            if (status == 0 && archive_filter_bytes(archive, 0) <= ARCHIVE_MOST) continue;
            if (status == 0) return too_large(err);
        }
        const char *why = archive_error_string(archive);
        return error_set(err, ERR_UNAVAILABLE, NULL, "the tarball cannot be read: %s",
                         why != NULL ? why : "it is damaged");
    }
}

int github_spool_read(struct github_spool *spool, int fd, const struct github_files *files,
                      size_t max_bytes, struct error *err)
{
    struct wanted wanted = {0};
    struct archive *archive = archive_read_new();
    char *room = malloc(max_bytes + 1);
    int status = -1;
    if (archive == NULL || room == NULL || make_wanted(spool, files, &wanted) != 0) {
        out_of_memory(err);
    } else if (open_spool(spool, err) == 0) {
        archive_read_support_filter_gzip(archive);
        archive_read_support_format_tar(archive);
        if (archive_read_open_fd(archive, fd, BLOCK) == ARCHIVE_OK)
            status = read_archive(spool, archive, &wanted, room, max_bytes, err);
        else
            error_set(err, ERR_UNAVAILABLE, NULL, "the tarball cannot be read: %s",
                      archive_error_string(archive));
    }
    if (spool->count > 0) qsort(spool->list, spool->count, sizeof(*spool->list), compare_shas);
    archive_read_free(archive);
    free(room);
    free(wanted.list);
    return status;
}

/* ---- The download, in a thread of its own ---- */

struct download {
    const struct github_api *api;
    const char *commit;
    int to;     /* what is read at the other end */
    bool began; /* some of it has come */
    int status;
    struct error err;
};

static int pass_on(void *arg, const void *bytes, size_t length, struct error *err)
{
    struct download *download = arg;
    const char *from = bytes;
    download->began = true;
    while (length > 0) {
        const ssize_t sent = send(download->to, from, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return error_set(err, ERR_IO, NULL, "the tarball is not read to its end");
        from += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static void *run_download(void *arg)
{
    struct download *download = arg;
    struct http_response response = {0};
    char path[96];
    snprintf(path, sizeof(path), ":/tarball/%s", download->commit);
    const struct github_call call = {.path = path,
                                     .response_most = TARBALL_MOST,
                                     .timeout_s = TARBALL_TIMEOUT_S,
                                     .sink = pass_on,
                                     .arg = download};
    download->status = github_get(download->api, "the tarball", &call, &response, &download->err);
    http_response_free(&response);
    shutdown(download->to, SHUT_WR);
    return NULL;
}

static int fill_once(struct github_spool *spool, const struct github_api *api, const char *commit,
                     const struct github_files *files, bool *again, struct error *err)
{
    int ends[2];
    pthread_t thread;
    struct error own = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "no socket can be made: %s", strerror(errno));
    struct download download = {.api = api, .commit = commit, .to = ends[1]};
    if (pthread_create(&thread, NULL, run_download, &download) != 0) {
        close(ends[0]);
        close(ends[1]);
        return error_set(err, ERR_INTERNAL, NULL, "no thread can be started");
    }
    const int status = github_spool_read(spool, ends[0], files, api->config->max_bytes, &own);
    close(ends[0]);
    pthread_join(thread, NULL);
    close(ends[1]);
    *again = false;
    /* What went wrong with the download is the reason, unless it only was not read to its end. */
    if (download.status != 0 && (status == 0 || download.err.code != ERR_IO)) own = download.err;
    if (status == 0 && download.status == 0) return 0;
    *again = download.began && own.code == ERR_UNAVAILABLE;
    if (err != NULL) *err = own;
    return -1;
}

/* Returns whether it is to go on. */
static bool rest(const struct github_api *api, int seconds)
{
    const atomic_bool *stop = api->context->stop;
    const struct timespec moment = {.tv_nsec = 100 * 1000 * 1000};
    for (int i = 0; i < 10 * seconds; i++) {
        if (stop != NULL && atomic_load(stop)) return false;
        nanosleep(&moment, NULL);
    }
    return true;
}

/* What came of a download that broke off is kept, and the next one adds the rest. */
int github_spool_fill(struct github_spool *spool, const struct github_api *api, const char *commit,
                      const struct github_files *files, struct error *err)
{
    for (int tries = 1;; tries++) {
        bool again;
        if (fill_once(spool, api, commit, files, &again, err) == 0) return 0;
        if (!again || tries == TARBALL_TRIES || !rest(api, tries)) return -1;
    }
}
