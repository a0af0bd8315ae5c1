#include "tools/tekupd/http/json_write.h"

#include "storage/base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void separate(struct buffer *out)
{
    if (json_follows(out)) buffer_append(out, ",", 1);
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

void json_put_any_key(struct buffer *out, const char *name)
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

/* Whether all of eight bytes stand for themselves. */
static bool is_plain(const unsigned char *byte)
{
    const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    uint64_t eight;
    memcpy(&eight, byte, 8);
    /* The high bit is set of bytes that are not ASCII, DEL, control characters, '"' or '\\', and
     * perhaps of one behind such a byte. */
    const uint64_t quotes = eight ^ ones * '"', slashes = eight ^ ones * '\\';
    const uint64_t special =
        eight | (eight + ones) | (eight - ones * 0x20) | (quotes - ones) | (slashes - ones);
    return (special & highs) == 0;
}

/* The bytes, from the first one on, that stand for themselves. */
static size_t plain_length(const unsigned char *byte, size_t length)
{
    size_t at = 0;
    while (length - at >= 8 && is_plain(byte + at)) at += 8;
    /* What is left of eight is looked at together with some that were already. */
    if (length - at < 8 && length >= 8 && is_plain(byte + length - 8)) return length;
    while (at < length && byte[at] >= 0x20 && byte[at] < 0x7f && byte[at] != '"' &&
           byte[at] != '\\')
        at++;
    return at;
}

/* The text from `at` on, where something has to be escaped. */
static void put_rest(struct buffer *out, const char *text, size_t length, size_t at)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t begun = at; /* from here on nothing is written yet */
    while (at < length) {
        const size_t sequence = byte[at] >= 0x80 ? utf8_sequence(byte + at, length - at) : 0;
        if (sequence > 0) {
            at += sequence;
        } else {
            buffer_append(out, text + begun, at - begun);
            if (byte[at] >= 0x80)
                buffer_append(out, "\xef\xbf\xbd", 3);
            else
                escape(out, byte[at]);
            begun = ++at;
        }
        at += plain_length(byte + at, length - at);
    }
    buffer_append(out, text + begun, at - begun);
}

void json_put_text_of(struct buffer *out, const char *text, size_t length)
{
    const size_t plain = plain_length((const unsigned char *)text, length);
    const bool comma = json_follows(out);
    char *room = buffer_room(out, length + 3);
    if (room == NULL) return;
    room[0] = ',';
    room[comma] = '"';
    if (plain > 0) memcpy(room + comma + 1, text, plain);
    buffer_grow(out, comma + 1 + plain);
    if (plain < length) put_rest(out, text, length, plain);
    buffer_append(out, "\"", 1);
}

void json_put_text(struct buffer *out, const char *text)
{
    if (text == NULL)
        json_put_null(out);
    else
        json_put_text_of(out, text, strlen(text));
}

enum { DIGITS_ROOM = 24 };

/* A comma where one is due, a minus, and the digits. All of their room is copied, which takes less
 * than to copy so many. */
static void put_digits(struct buffer *out, bool negative, const char digits[DIGITS_ROOM],
                       size_t length)
{
    const bool comma = json_follows(out);
    char *room = buffer_room(out, DIGITS_ROOM + 2);
    if (room == NULL) return;
    room[0] = ',';
    room += comma;
    room[0] = '-';
    room += negative;
    memcpy(room, digits, DIGITS_ROOM);
    buffer_grow(out, length + negative + comma);
}

void json_put_integer(struct buffer *out, int64_t value)
{
    enum { MOST = 20 };
    char digits[MOST + DIGITS_ROOM] = {0};
    size_t at = MOST;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    put_digits(out, value < 0, digits + at, MOST - at);
}

void json_put_boolean(struct buffer *out, bool value)
{
    json_put_raw(out, value ? "true" : "false");
}

void json_put_null(struct buffer *out)
{
    json_put_raw(out, "null");
}

enum { MOST_DIGITS = 6, LEAST_POWER = -4 };

/* Similarities, of which an answer has many, and times without printf: from 0.0001 up to what has
 * all its digits before the point, as %.*g writes them. Returns false for another number, and for
 * one that may lie half way between two. */
static bool put_fixed(struct buffer *out, double value, int digits)
{
    static const double tens[] = {1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3,
                                  1e4,  1e5,  1e6,  1e7,  1e8, 1e9, 1e10};
    const double size = fabs(value);
    if (digits < 1 || digits > MOST_DIGITS ||
        !(size >= tens[0] && size < tens[digits - LEAST_POWER]))
        return false;
    int power = 0; /* of ten, of the first digit */
    while (size < tens[power - LEAST_POWER]) power--;
    while (size >= tens[power + 1 - LEAST_POWER]) power++;
    const double scaled = size * tens[digits - 1 - power - LEAST_POWER];
    const uint32_t rounded = (uint32_t)lrint(scaled);
    if (fabs(fabs(scaled - rounded) - 0.5) < 1e-6 || rounded >= tens[digits - LEAST_POWER])
        return false;

    char text[DIGITS_ROOM] = "0.0000000000";
    const int before = power < 0 ? 1 : power + 1; /* digits before the point */
    int end = power < 0 ? 1 + digits - power : digits + 1;
    uint32_t rest = rounded;
    for (int i = end - 1; i > before; i--, rest /= 10) text[i] = (char)('0' + rest % 10);
    text[before] = '.';
    for (int i = before - 1; i >= 0; i--, rest /= 10) text[i] = (char)('0' + rest % 10);
    while (text[end - 1] == '0') end--;
    if (text[end - 1] == '.') end--;
    put_digits(out, value < 0, text, (size_t)end);
    return true;
}

void json_put_number(struct buffer *out, double value, int digits)
{
    if (!isfinite(value)) {
        json_put_null(out);
    } else if (!put_fixed(out, value, digits)) {
        separate(out);
        buffer_format(out, "%.*g", digits, value);
    }
}

void json_put_raw(struct buffer *out, const char *json)
{
    if (json == NULL) json = "null";
    separate(out);
    buffer_append(out, json, strlen(json));
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
