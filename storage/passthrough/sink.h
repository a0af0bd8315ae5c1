/*
 * sink.h: what is about to be written to one side: bytes that are still where they were read, in
 * one piece as long as nothing has to be changed, or put together in a buffer once something had
 * to.
 */
#ifndef STORAGE_PASSTHROUGH_SINK_H
#define STORAGE_PASSTHROUGH_SINK_H

#include "storage/base/buffer.h"
#include "storage/passthrough/channel.h"

struct sink {
    struct buffer *out; /* what has been put together */
    const char *run;    /* and, behind it, bytes that are still where they were read */
    size_t run_length;
};

/* The bytes stay where they are until sink_write or sink_settle. */
void sink_pass(struct sink *sink, const char *data, size_t length);

/* Everything is in out now, and more may be appended there. */
void sink_settle(struct sink *sink);

/* Writes all of it. */
void sink_write(struct sink *sink, struct channel *channel);

#endif
