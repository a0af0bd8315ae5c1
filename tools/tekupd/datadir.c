#include "tools/tekupd/datadir.h"

#include "storage/base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Started by root, clients and the private cluster's user pass through; a person's directories are
 * the person's own. */
enum { RUN_MODE = 0755, DATA_MODE = 0711, PRIVATE_MODE = 0700 };

/* In a directory that everyone may write to, such as /tmp, someone else may have put a link where
 * RUN is to be, or may have left it open. */
static int check_run(const char *run, struct error *err)
{
    if (geteuid() == 0) return 0;
    struct stat found;
    if (lstat(run, &found) != 0)
        return error_set(err, ERR_IO, NULL, "%s: %s", run, strerror(errno));
    if (strncmp(run, "/tmp/", 5) != 0) return 0;
    if (S_ISLNK(found.st_mode))
        return error_set(err, ERR_IO, NULL,
                         "%s is a symbolic link in a directory that everyone may write to: remove "
                         "it, or set TEKUP_RUN",
                         run);
    if (found.st_uid == geteuid() && (found.st_mode & 0077) != 0 && chmod(run, PRIVATE_MODE) != 0)
        return error_set(err, ERR_IO, NULL, "chmod %s: %s", run, strerror(errno));
    return 0;
}

static long read_pid(int lock)
{
    char text[32];
    const ssize_t length = pread(lock, text, sizeof(text) - 1, 0);
    if (length <= 0) return 0;
    text[length] = '\0';
    return strtol(text, NULL, 10);
}

/* A process id that cannot be kept (disk full) is no reason not to start: the lock is what counts.
 */
static void write_pid(int lock)
{
    char text[32];
    const int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(lock, 0) == 0 && pwrite(lock, text, (size_t)length, 0) != length)
        (void)!ftruncate(lock, 0);
}

static int lock_data(const char *data, int *lock, struct error *err)
{
    char path[PATHS_SIZE + 16];
    snprintf(path, sizeof(path), "%s/tekupd.lock", data);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            error_set(err, ERR_CONFLICT, NULL, "another tekupd (process %ld) runs on %s",
                      read_pid(fd), data);
        else
            error_set(err, ERR_IO, NULL, "lock %s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    write_pid(fd);
    *lock = fd;
    return 0;
}

int datadir_open(const char *run, const char *data, struct datadir *datadir, struct error *err)
{
    const bool root = geteuid() == 0;
    datadir->lock = -1;
    if (paths_make(data, root ? DATA_MODE : PRIVATE_MODE, err) != 0) return -1;
    if (paths_make(run, root ? RUN_MODE : PRIVATE_MODE, err) != 0) return -1;
    if (check_run(run, err) != 0) return -1;
    return lock_data(data, &datadir->lock, err);
}

void datadir_close(struct datadir *datadir)
{
    if (datadir->lock < 0) return;
    /* The file stays: removing it would let two daemons lock two files of one name. */
    (void)!ftruncate(datadir->lock, 0);
    close(datadir->lock);
    datadir->lock = -1;
}
