/*
 * http_head.h: the head of a request of HTTP/1.1 (RFC 9112), read in place.
 *
 * What two servers might understand in two ways is refused rather than guessed at: two lengths of
 * one body, a line that goes on in the next one, a control character, white space before a colon.
 */
#ifndef TEKUPD_HTTP_HEAD_H
#define TEKUPD_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_MAX_HEAD = 64 << 10, HTTP_MAX_FIELDS = 128 };

/* Texts lie in the head itself, NUL-terminated. */
struct http_head {
    const char *method;
    const char *path;  /* undecoded; "*" where the request is for the server as a whole */
    const char *query; /* undecoded; NULL without '?' */
    bool old_version;  /* HTTP/1.0 */
    bool keeps;        /* the connection, for another request */
    bool expects;      /* to be told to go on before it sends the body */
    bool chunked;
    uint64_t length;  /* of the body, where it is not chunked */
    const char *type; /* Content-Type; NULL: not given */
    size_t field_count;
    struct http_field {
        const char *name, *value;
    } fields[HTTP_MAX_FIELDS];
};

/* The length of the head that begins here, its empty line included; 0 where that has not come yet.
 * `seen` bytes were there the last time. */
size_t http_head_find_end(const char *bytes, size_t length, size_t seen);

/* Makes it one of which nothing is known. */
void http_head_clear(struct http_head *head);

/* Reads a head of so many bytes. Returns NULL, or why it is none, a static string; then of *head
 * only `path` is of use, "" where there is none. */
const char *http_head_read(char *bytes, size_t length, struct http_head *head);

/* The bytes have moved from one place to another. */
void http_head_move(struct http_head *head, const char *from, const char *to);

/* The first of this name, NULL where there is none. */
const char *http_head_field(const struct http_head *head, const char *name);

#endif
