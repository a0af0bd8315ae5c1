/* The file says name and inode; in a copy the latter is not its own. */
#include "tools/tekupd/mirror/follower_name.h"

#include "storage/base/paths.h"
#include "storage/cuid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long long inode_of(int fd)
{
    struct stat found;
    return fstat(fd, &found) == 0 ? (unsigned long long)found.st_ino : 0;
}

static int read_name(int fd, char name[FEED_FOLLOWER_SIZE])
{
    char text[128], word[33];
    unsigned long long inode;
    const ssize_t length = pread(fd, text, sizeof(text) - 1, 0);
    if (length <= 0) return -1;
    text[length] = '\0';
    if (sscanf(text, "%32s %llu", word, &inode) != 2 || inode != inode_of(fd)) return -1;
    snprintf(name, FEED_FOLLOWER_SIZE, "%s", word);
    return 0;
}

/* A name that cannot be kept (disk full) is another one at the next start, no more. */
static void make_name(int fd, char name[FEED_FOLLOWER_SIZE])
{
    struct cuid_generator generator;
    char text[128], cuid[CUID_SIZE];
    cuid_generator_init(&generator);
    cuid_generate(&generator, cuid);
    snprintf(name, FEED_FOLLOWER_SIZE, "%s", cuid);
    const int length = snprintf(text, sizeof(text), "%s %llu\n", cuid, inode_of(fd));
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length)
        (void)!ftruncate(fd, 0);
}

int follower_name(const char *data, char name[FEED_FOLLOWER_SIZE], struct error *err)
{
    char path[PATHS_SIZE + 16];
    snprintf(path, sizeof(path), "%s/follower", data);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "%s: %s", path, strerror(errno));
    if (read_name(fd, name) != 0) make_name(fd, name);
    close(fd);
    return 0;
}
