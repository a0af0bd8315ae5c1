#include "tools/tekup/backup_input.h"

#include "storage/base/paths.h"
#include "tools/tekup/write_whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

int backup_input_open(const char *word, struct backup_input *input, struct error *err)
{
    struct stat found;
    const bool piped = strcmp(word, "-") == 0;
    *input = (struct backup_input){.name = piped ? "the standard input" : word, .once = piped};
    input->fd = piped ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                      : open(word, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (input->fd < 0 || fstat(input->fd, &found) != 0)
        return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, NULL, "%s: %s", input->name,
                         strerror(errno));
    if (!piped && !S_ISREG(found.st_mode))
        return error_set(err, ERR_INVALID, NULL, "%s is no file", input->name);
    if (!piped) input->size = (double)found.st_size;
    return 0;
}

/* ---- Keeping --------------------------------------------------------------------------------- */

/* Not every file system has files without a name. */
static int make_file(const char *directory)
{
    char path[PATHS_SIZE + 32];
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
    snprintf(path, sizeof(path), "%s/restore-XXXXXX", directory);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

static int open_kept(char directory[PATHS_SIZE], struct error *err)
{
    const char *temporary = getenv("TMPDIR");
    int fd = paths_data(NULL, NULL, directory, NULL) == 0 ? make_file(directory) : -1;
    if (fd >= 0) return fd;
    snprintf(directory, PATHS_SIZE, "%s",
             temporary != NULL && *temporary == '/' ? temporary : "/var/tmp");
    fd = make_file(directory);
    if (fd < 0) error_set(err, ERR_IO, NULL, "cannot write in %s: %s", directory, strerror(errno));
    return fd;
}

int backup_input_keep(struct backup_input *input, void (*tick)(void *arg, size_t bytes), void *arg,
                      struct error *err)
{
    char directory[PATHS_SIZE];
    if (!input->once) return 0;
    const int kept = open_kept(directory, err);
    if (kept < 0) return -1;
    char *piece = malloc(PIECE);
    int rc = piece != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    ssize_t got = 0;
    while (rc == 0 && (got = read(input->fd, piece, PIECE)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            rc = error_set(err, ERR_IO, NULL, "cannot read %s: %s", input->name, strerror(errno));
        else if (write_whole(kept, piece, (size_t)got) != 0)
            rc = error_set(err, ERR_IO, NULL, "cannot keep %s in %s: %s", input->name, directory,
                           write_failure(errno));
        else
            input->size += (double)got;
        if (rc == 0 && tick != NULL) tick(arg, (size_t)got);
    }
    free(piece);
    if (rc != 0) {
        close(kept);
        return -1;
    }
    close(input->fd);
    input->fd = kept;
    input->once = false;
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Opened anew, so that each reader has a place of its own in it. */
int backup_input_read(const struct backup_input *input, struct error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", input->fd);
    const int fd = input->once ? fcntl(input->fd, F_DUPFD_CLOEXEC, 3)
                               : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) error_set(err, ERR_IO, NULL, "%s: %s", input->name, strerror(errno));
    return fd;
}

void backup_input_close(struct backup_input *input)
{
    if (input->fd > STDERR_FILENO) close(input->fd);
    input->fd = -1;
}
