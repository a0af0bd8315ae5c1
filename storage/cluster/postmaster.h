/*
 * postmaster.h: the server process of a data directory, as its postmaster.pid and /proc tell.
 *
 * A number in postmaster.pid proves nothing: after a reboot it may be somebody else's. A process of
 * PostgreSQL has its data directory as its working directory, and that does.
 */
#ifndef STORAGE_POSTMASTER_H
#define STORAGE_POSTMASTER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct postmaster {
    pid_t pid;  /* 0 where there is no file */
    bool ours;  /* a process of this data directory has the number */
    bool alive; /* some process has the number, be it one that has ended and not been waited for */
    char socket_directory[PATH_MAX];
};

void postmaster_read(const char *data_directory, struct postmaster *postmaster);

/* Whether any process runs in the data directory: the server, or one that it left behind. */
bool postmaster_anyone(const char *data_directory);

/* Whether the lock file beside a socket belongs to a server that runs, of any data directory. */
bool postmaster_holds(const char *socket_lock);

#endif
