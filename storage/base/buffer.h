/* buffer.h: a growing run of bytes, always NUL-terminated, for building text. */
#ifndef STORAGE_BASE_BUFFER_H
#define STORAGE_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* Starts as {0}. When memory runs out `failed` is set, later appends do nothing, and the caller
 * checks once at the end. */
struct buffer {
    char *data; /* NULL until the first append */
    size_t length;
    size_t capacity;
    bool failed;
};

/* Makes room for so many bytes more, where the caller knows better than doubling does. */
void buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties it and keeps its memory. */
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

/* Hands the text to the caller, who frees it; the buffer is empty afterwards. NULL if an append
 * failed; "" if nothing was appended. */
char *buffer_take(struct buffer *buffer);

#endif
