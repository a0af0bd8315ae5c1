/*
 * program.h: pg_dump and pg_restore as streams: where they are, their pipes, what they complain of.
 */
#ifndef STORAGE_BACKUP_PROGRAM_H
#define STORAGE_BACKUP_PROGRAM_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <limits.h>
#include <sys/types.h>

/* Finds pg_dump and pg_restore of that major version, else the newest of a later one, since they
 * read and write what is older than they are. *found is its major version. Errors: ERR_NOT_FOUND,
 * with the package to install. */
int program_directory(int major, char directory[PATH_MAX], int *found, struct error *err);

struct program {
    const char *name; /* for messages */
    pid_t pid;
    int in, out; /* the caller's ends of its pipes; -1 where there is none */
    int said;    /* what it wrote to stderr */
};

/* Begins {.pid = 0}. Starts argv[0] with a pipe from its stdout and, with feeds, one to its stdin.
 * A password (may be NULL) goes by the environment, which others cannot read; list (or -1) is a
 * file that it finds as PROGRAM_LIST. */
#define PROGRAM_LIST "/proc/self/fd/3"
int program_start(struct program *program, const char *const *argv, const char *password,
                  bool feeds, int list, struct error *err);

/* Closes what is open and waits for its end. Errors: ERR_UNAVAILABLE with its own words where it
 * did not end well, ERR_IO where it was killed. */
int program_end(struct program *program, struct error *err);

/* The same for one whose end is of no interest any more. */
void program_drop(struct program *program);

#endif
