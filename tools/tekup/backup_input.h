/*
 * backup_input.h: where a backup is read from: a file, or a pipe.
 *
 * To restore, a backup is read twice: nothing of it reaches the database before all of it is known
 * to be right. So what comes by a pipe is kept meanwhile in a file without a name, in DATA where
 * there is one, else in $TMPDIR or /var/tmp; it goes with the process, whatever ends that.
 */
#ifndef TEKUP_BACKUP_INPUT_H
#define TEKUP_BACKUP_INPUT_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct backup_input {
    const char *name; /* for people */
    int fd;           /* of it, or of what is kept of it */
    bool once;        /* it can be read only once */
    double size;      /* bytes; 0 where that is not known yet */
};

/* word is a path, or "-" for the standard input. Errors: ERR_NOT_FOUND, ERR_INVALID (no file),
 * ERR_IO. In any case the input is to be closed. */
int backup_input_open(const char *word, struct backup_input *input, struct error *err);

/* Keeps what can be read only once, so that it can be read again; nothing where it can. tick(arg,
 * bytes) (may be NULL) is called now and then. Errors: ERR_IO, which says so where the disk is
 * full.
 */
int backup_input_keep(struct backup_input *input, void (*tick)(void *arg, size_t bytes), void *arg,
                      struct error *err);

/* A descriptor that reads it from its beginning, -1 on failure. The caller's to close. */
int backup_input_read(const struct backup_input *input, struct error *err);

void backup_input_close(struct backup_input *input);

#endif
