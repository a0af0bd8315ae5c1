/*
 * process.h: runs the programs of PostgreSQL's server package, as the user that the cluster belongs
 * to, and keeps what they say.
 */
#ifndef STORAGE_PROCESS_H
#define STORAGE_PROCESS_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct system_user {
    uid_t uid;
    gid_t gid;
    bool change; /* whether programs must change to it: this process is root */
    char name[64];
};

struct process {
    const struct system_user *user;
    const char *directory;   /* entered before the program is run */
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH. NULL: only enter */
    int keep_fd;             /* a file that the program keeps open too, or -1 */
};

/* Runs it in a process group of its own with a clean environment (PATH and little else), waits for
 * its end and appends what it wrote to output (may be NULL). *status is its exit status, 128 +
 * signal where one ended it. Errors: ERR_IO when it could not be run, which names the directory
 * that the user may not enter, or the program. */
int process_run(const struct process *process, int *status, struct buffer *output,
                struct error *err);

/* The first line of what a program of PostgreSQL wrote that tells why it failed. */
void process_complaint(const struct buffer *output, char *out, size_t size);

#endif
