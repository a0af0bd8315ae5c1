/* buffer.h: a growing run of bytes, always NUL-terminated, for building text. */
#ifndef STORAGE_BASE_BUFFER_H
#define STORAGE_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

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

/* What buffer_room does where there is not enough yet. */
char *buffer_more_room(struct buffer *buffer, size_t more);

/* Room for so many bytes more and a NUL, NULL when memory ran out: for text in small pieces that is
 * written there and then counted by buffer_grow. Inline, as most of what is appended is short, of a
 * length known where it is compiled, and finds room. */
static inline char *buffer_room(struct buffer *buffer, size_t more)
{
    return !buffer->failed && more < buffer->capacity - buffer->length
               ? buffer->data + buffer->length
               : buffer_more_room(buffer, more);
}

static inline void buffer_grow(struct buffer *buffer, size_t length)
{
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

static inline void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    char *room = buffer_room(buffer, length);
    if (room == NULL) return;
    if (length > 0) memcpy(room, bytes, length);
    buffer_grow(buffer, length);
}

static inline void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties it and keeps its memory. */
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

/* Hands the text to the caller, who frees it; the buffer is empty afterwards. NULL if an append
 * failed; "" if nothing was appended. */
char *buffer_take(struct buffer *buffer);

#endif
