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

/* Begins and ends an object ('{', '}') or an array ('[', ']'). */
void json_put_open(struct buffer *out, char bracket);
void json_put_close(struct buffer *out, char bracket);

/* The name of the next value of an object. */
void json_put_key(struct buffer *out, const char *name);

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

/* A key and its value. */
void json_field_text(struct buffer *out, const char *name, const char *text);
void json_field_integer(struct buffer *out, const char *name, int64_t value);
void json_field_boolean(struct buffer *out, const char *name, bool value);
void json_field_number(struct buffer *out, const char *name, double value, int digits);
/* Seconds since 1970 as ISO 8601 in UTC with milliseconds; null for 0. */
void json_field_time(struct buffer *out, const char *name, double seconds);
void json_field_raw(struct buffer *out, const char *name, const char *json);

#endif
