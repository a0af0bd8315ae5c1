#include "tools/tekup/write_whole.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int write_whole(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        const ssize_t wrote = write(fd, at, length);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return -1;
        at += wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

const char *write_failure(int number)
{
    if (number == ENOSPC || number == EDQUOT) return "the disk is full";
    if (number == EFBIG) return "it would be larger than a file may be here";
    return strerror(number);
}
