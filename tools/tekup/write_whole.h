/* write_whole.h: writing all bytes to a descriptor, and what went wrong where it failed. */
#ifndef TEKUP_WRITE_WHOLE_H
#define TEKUP_WRITE_WHOLE_H

#include <stddef.h>

/* Returns 0, or -1 with errno where not all could be written. */
int write_whole(int fd, const void *bytes, size_t length);

/* What an errno of it means to people: "the disk is full". It lives as strerror's does. */
const char *write_failure(int number);

#endif
