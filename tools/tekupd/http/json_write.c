#include "tools/tekupd/http/json_write.h"

#include "storage/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A value follows a bracket, a key's colon, or another value, which takes a comma. */
static void separate(struct buffer *out)
{
    if (out->length == 0) return;
    const char last = out->data[out->length - 1];
    if (last != '{' && last != '[' && last != ':' && last != ',') buffer_append(out, ",", 1);
}

void json_put_open(struct buffer *out, char bracket)
{
    separate(out);
    buffer_append(out, &bracket, 1);
}

void json_put_close(struct buffer *out, char bracket)
{
    buffer_append(out, &bracket, 1);
}

void json_put_key(struct buffer *out, const char *name)
{
    json_put_text(out, name);
    buffer_append(out, ":", 1);
}

/* What stands for a byte that may not stand for itself. */
static void escape(struct buffer *out, unsigned char byte)
{
    static const char names[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = byte != 0 ? strchr(names, byte) : NULL;
    if (found != NULL) {
        const char pair[2] = {'\\', letters[found - names]};
        buffer_append(out, pair, 2);
    } else {
        buffer_format(out, "\\u%04x", byte);
    }
}

/* The bytes, from the first one on, that stand for themselves; eight are looked at a time. */
static size_t plain_length(const unsigned char *byte, size_t length)
{
    const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, byte + at, 8);
        /* The high bit is set of bytes that are not ASCII, DEL, control characters, '"' or '\\',
         * and perhaps of one behind such a byte. */
        const uint64_t quotes = eight ^ ones * '"', slashes = eight ^ ones * '\\';
        const uint64_t special = eight | (eight + ones) | (eight - ones * 0x20) |
                                 (quotes - ones) | (slashes - ones);
        if ((special & highs) != 0) break;
    }
    while (at < length && byte[at] >= 0x20 && byte[at] < 0x7f && byte[at] != '"' &&
           byte[at] != '\\')
        at++;
    return at;
}

void json_put_text_of(struct buffer *out, const char *text, size_t length)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t begun = 0; /* from here on nothing is written yet */
    size_t at = 0;
    separate(out);
    buffer_append(out, "\"", 1);
    while (at < length) {
        at += plain_length(byte + at, length - at);
        if (at == length) break;
        const size_t sequence = byte[at] >= 0x80 ? utf8_sequence(byte + at, length - at) : 0;
        if (sequence > 0) {
            at += sequence;
            continue;
        }
        buffer_append(out, text + begun, at - begun);
        if (byte[at] >= 0x80)
            buffer_append(out, "\xef\xbf\xbd", 3);
        else
            escape(out, byte[at]);
        begun = ++at;
    }
    buffer_append(out, text + begun, at - begun);
    buffer_append(out, "\"", 1);
}

void json_put_text(struct buffer *out, const char *text)
{
    if (text == NULL)
        json_put_null(out);
    else
        json_put_text_of(out, text, strlen(text));
}

void json_put_integer(struct buffer *out, int64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    separate(out);
    if (value < 0) buffer_append(out, "-", 1);
    buffer_append(out, digits + at, sizeof(digits) - at);
}

void json_put_boolean(struct buffer *out, bool value)
{
    json_put_raw(out, value ? "true" : "false");
}

void json_put_null(struct buffer *out)
{
    json_put_raw(out, "null");
}

enum { SHARE_DIGITS = 6 };

/* Similarities, of which an answer has many, without printf: from 0.1 to 1, rounded as by %.6g.
 * Returns false for another number. */
static bool put_share(struct buffer *out, double value)
{
    if (!(fabs(value) >= 0.1 && fabs(value) < 1)) return false;
    uint32_t rest = (uint32_t)lrint(fabs(value) * 1e6);
    char text[2 + SHARE_DIGITS] = "0.";
    size_t length = sizeof(text);
    if (rest == 1000000) return false; /* rounded up to 1 */
    for (size_t i = length; i-- > 2; rest /= 10) text[i] = (char)('0' + rest % 10);
    while (text[length - 1] == '0') length--;
    if (value < 0) buffer_append(out, "-", 1);
    buffer_append(out, text, length);
    return true;
}

void json_put_number(struct buffer *out, double value, int digits)
{
    if (!isfinite(value)) {
        json_put_null(out);
        return;
    }
    separate(out);
    if (digits != SHARE_DIGITS || !put_share(out, value)) buffer_format(out, "%.*g", digits, value);
}

void json_put_raw(struct buffer *out, const char *json)
{
    if (json == NULL) json = "null";
    separate(out);
    buffer_append(out, json, strlen(json));
}

void json_field_text(struct buffer *out, const char *name, const char *text)
{
    json_put_key(out, name);
    json_put_text(out, text);
}

void json_field_integer(struct buffer *out, const char *name, int64_t value)
{
    json_put_key(out, name);
    json_put_integer(out, value);
}

void json_field_boolean(struct buffer *out, const char *name, bool value)
{
    json_put_key(out, name);
    json_put_boolean(out, value);
}

void json_field_number(struct buffer *out, const char *name, double value, int digits)
{
    json_put_key(out, name);
    json_put_number(out, value, digits);
}

void json_field_time(struct buffer *out, const char *name, double seconds)
{
    const time_t whole = (time_t)seconds;
    struct tm utc;
    char text[24], time[32];
    gmtime_r(&whole, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(time, sizeof(time), "%s.%03dZ", text, (int)((seconds - (double)whole) * 1e3));
    json_field_text(out, name, seconds > 0 ? time : NULL);
}

void json_field_raw(struct buffer *out, const char *name, const char *json)
{
    json_put_key(out, name);
    json_put_raw(out, json);
}
