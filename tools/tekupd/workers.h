/*
 * workers.h: threads for work that may block.
 *
 * The event loops never wait: what asks PostgreSQL or computes for long is given to a pool of
 * workers. The queue is bounded, so that a server that cannot keep up says so instead of growing.
 */
#ifndef TEKUPD_WORKERS_H
#define TEKUPD_WORKERS_H

#include "storage/base/error.h"

#include <stddef.h>

struct workers;

typedef void (*work_fn)(void *arg);

/* name (at most 15 bytes) is what the threads are called in ps and gdb. */
struct workers *workers_create(const char *name, int threads, size_t queue_limit,
                               struct error *err);

/* Has fn(arg) called by one of the threads, in order of submission. Returns -1 when the queue is
 * full; fn is then not called. From any thread. */
int workers_submit(struct workers *workers, work_fn fn, void *arg);

/* Runs what is queued, joins the threads and releases everything. NULL is allowed. Nothing may be
 * submitted any more but by the work itself. */
void workers_free(struct workers *workers);

#endif
