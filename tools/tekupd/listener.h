/*
 * listener.h: the UNIX sockets that the daemon listens on.
 *
 * The socket is made under another name and renamed, so that a client that finds it can connect,
 * and never finds it with the wrong mode. A socket file that a dead daemon left is replaced; one
 * that somebody answers on is an error.
 */
#ifndef TEKUPD_LISTENER_H
#define TEKUPD_LISTENER_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <sys/stat.h>

struct listener {
    int fd; /* listening, non-blocking; -1 where there is none */
    char path[108];
    dev_t device; /* of the socket file, to know it again */
    ino_t inode;
    bool given; /* it was opened by another program, to whom the file belongs */
};

/* Whether a socket could be made there now, so that a second daemon is told before it begins.
 * Errors: as listener_open. */
int listener_check(const char *directory, const char *name, struct error *err);

/* group may be empty: the daemon's own. Errors: ERR_CONFLICT (something alive answers there),
 * ERR_INVALID (no such group, a path that no socket can have), ERR_IO. */
int listener_open(const char *directory, const char *name, int mode, const char *group,
                  struct listener *listener, struct error *err);

/* Takes a socket that listens already (systemd.h); its mode and group are as they were made. */
void listener_take(int fd, struct listener *listener);

/* Closes it and removes the socket file if it is still this one, and was not given. */
void listener_close(struct listener *listener);

#endif
