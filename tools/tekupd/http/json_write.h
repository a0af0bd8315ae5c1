/*
 * json_write.h: writes JSON into a buffer, without a tree in between: answers hold whole documents,
 * and PostgreSQL's JSON goes through as it is.
 *
 *     json_put_open(&out, '{');
 *     json_put_key(&out, "id");
 *     json_put_text(&out, id);
 *     json_put_close(&out, '}');
 *
 * Commas are put where they belong by looking at what was written last.
 */
#ifndef TEKUPD_JSON_WRITE_H
#define TEKUPD_JSON_WRITE_H

#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Whether a key or a value that comes next takes a comma: behind another value it does. */
static inline bool json_follows(const struct buffer *out)
{
    if (out->length == 0) return false;
    const char last = out->data[out->length - 1];
    return last != '{' && last != '[' && last != ':' && last != ',';
}

/* Begins and ends an object ('{', '}') or an array ('[', ']'). */
void json_put_open(struct buffer *out, char bracket);
void json_put_close(struct buffer *out, char bracket);

/* The name of the next value of an object: one of the program's own, which stands for itself.
 * Inline, like all that takes one, since its length is known where it is compiled. */
static inline void json_put_key(struct buffer *out, const char *name)
{
    const size_t length = strlen(name);
    const bool comma = json_follows(out);
    char *room = buffer_room(out, length + 4);
    if (room == NULL) return;
    room[0] = ',';
    room += comma;
    room[0] = '"';
    memcpy(room + 1, name, length);
    memcpy(room + 1 + length, "\":", 2);
    buffer_grow(out, length + 3 + comma);
}

/* The same for any text, which is escaped. */
void json_put_any_key(struct buffer *out, const char *name);

/* Values. Text is escaped; bytes that are not UTF-8 become U+FFFD; NULL is null. */
void json_put_text(struct buffer *out, const char *text);
void json_put_text_of(struct buffer *out, const char *text, size_t length);
void json_put_integer(struct buffer *out, int64_t value);
void json_put_boolean(struct buffer *out, bool value);
void json_put_null(struct buffer *out);

/* At most `digits` significant digits; null where JSON has no number for it. */
void json_put_number(struct buffer *out, double value, int digits);

/* JSON text as it is; NULL is null. */
void json_put_raw(struct buffer *out, const char *json);

/* A key of the program's own and its value. */
static inline void json_field_text(struct buffer *out, const char *name, const char *text)
{
    json_put_key(out, name);
    json_put_text(out, text);
}

static inline void json_field_integer(struct buffer *out, const char *name, int64_t value)
{
    json_put_key(out, name);
    json_put_integer(out, value);
}

static inline void json_field_boolean(struct buffer *out, const char *name, bool value)
{
    json_put_key(out, name);
    json_put_boolean(out, value);
}

static inline void json_field_number(struct buffer *out, const char *name, double value, int digits)
{
    json_put_key(out, name);
    json_put_number(out, value, digits);
}

static inline void json_field_raw(struct buffer *out, const char *name, const char *json)
{
    json_put_key(out, name);
    json_put_raw(out, json);
}

/* Seconds since 1970 as ISO 8601 in UTC with milliseconds; null for 0. */
void json_field_time(struct buffer *out, const char *name, double seconds);

#endif
