/*
 * datadir.h: the directories RUN and DATA, held by one daemon at a time.
 *
 * DATA/tekupd.lock is locked (flock) as long as the daemon lives, however it ends, and holds its
 * process id for people to read.
 */
#ifndef TEKUPD_DATADIR_H
#define TEKUPD_DATADIR_H

#include "storage/base/error.h"

struct datadir {
    int lock; /* the locked file, -1 where there is none */
};

/* Makes both directories where they are missing and locks DATA. Errors: ERR_CONFLICT where another
 * daemon runs on DATA (the message has its process id), ERR_IO. */
int datadir_open(const char *run, const char *data, struct datadir *datadir, struct error *err);

void datadir_close(struct datadir *datadir);

#endif
