/*
 * http_chunks.h: a body in chunks (RFC 9112, 7.1), put together where it lies.
 *
 * A line of theirs ends with a return and a line feed, no less: a proxy that takes another end for
 * none would see other requests in the same bytes.
 */
#ifndef TEKUPD_HTTP_CHUNKS_H
#define TEKUPD_HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

/* Starts as {.end = where the first chunk begins}. */
struct http_chunks {
    size_t end;    /* of what has been put together */
    uint64_t left; /* of the chunk */
    size_t trailer;
    enum { CHUNK_SIZE, CHUNK_BYTES, CHUNK_END, CHUNK_TRAILER } at;
};

enum http_chunks_result { CHUNKS_GO_ON, CHUNKS_ARE_WHOLE, CHUNKS_ARE_WRONG, CHUNKS_ARE_LARGE };

/*
 * The buffer's bytes from `end` on are as they came. Moves those of the chunks together, and what
 * is behind them along, by which the buffer's length shrinks. When the body is whole it ends at
 * `end`, and the next request begins there. No body ends behind `limit`.
 */
enum http_chunks_result http_chunks_read(struct http_chunks *chunks, char *bytes, size_t *length,
                                         size_t limit);

#endif
