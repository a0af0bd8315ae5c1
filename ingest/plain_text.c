/* plain_text.c: tells encodings of text apart, and makes UTF-8 of them. */
#include "ingest/plain_text.h"

#include "storage/base/buffer.h"
#include "storage/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { REPLACEMENT = 0xfffd, NO_CHARACTER = 0 };

/* Of text in a language of Latin letters far fewer bytes are no ASCII; of Cyrillic, Greek or
 * Japanese in an encoding of their own, and of what is compressed, more are. */
enum { ASCII_LEAST_PERCENT = 60 };

/* 0x80 to 0x9f of Windows-1252. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

static uint32_t windows_character(unsigned char byte)
{
    return byte >= 0x80 && byte < 0xa0 ? windows_1252[byte - 0x80] : byte;
}

static void append(struct buffer *out, uint32_t character)
{
    char bytes[4];
    buffer_append(out, bytes, utf8_encode(character, bytes));
}

/* ---- UTF-16 ---- */

static uint32_t unit_at(const unsigned char *bytes, bool little)
{
    return little ? (uint32_t)(bytes[0] | bytes[1] << 8) : (uint32_t)(bytes[0] << 8 | bytes[1]);
}

/* The text behind the mark. False where it is none: a NUL, half a pair or half a unit. */
static bool read_utf16(const unsigned char *bytes, size_t length, bool little, struct buffer *out)
{
    if (length % 2 != 0) return false;
    for (size_t i = 2; i < length; i += 2) {
        uint32_t character = unit_at(bytes + i, little);
        if (character >= 0xd800 && character < 0xdc00 && i + 2 < length) {
            const uint32_t low = unit_at(bytes + i + 2, little);
            if (low < 0xdc00 || low > 0xdfff) return false;
            character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        } else if (character == 0 || (character >= 0xd800 && character < 0xe000)) {
            return false;
        }
        append(out, character);
    }
    return true;
}

/* ---- Bytes ---- */

/* Control characters that texts do not have: other than white space, terminals' and DOS's. */
static bool has_odd_controls(const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = bytes[i];
        const bool is_usual = (byte >= '\a' && byte <= '\r') || byte == 0x1a || byte == 0x1b;
        if ((byte < 0x20 && !is_usual) || byte == 0x7f) return true;
    }
    return false;
}

static bool is_mostly_ascii(const unsigned char *bytes, size_t length)
{
    size_t ascii = 0;
    for (size_t i = 0; i < length; i++) ascii += bytes[i] < 0x80;
    return ascii * 100 >= length * ASCII_LEAST_PERCENT;
}

/* Whether characters of UTF-8 are no fewer than bytes that are not. In a text of Windows-1252 two
 * letters beside each other are hardly ever one. */
static bool is_damaged_utf8(const unsigned char *bytes, size_t length)
{
    size_t whole = 0, broken = 0;
    for (size_t i = 0; i < length;) {
        const size_t sequence = utf8_sequence(bytes + i, length - i);
        if (sequence == 0) broken++;
        if (sequence > 1) whole++;
        i += sequence > 0 ? sequence : 1;
    }
    return whole > 0 && whole >= broken;
}

static void mend_utf8(const unsigned char *bytes, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length;) {
        const size_t sequence = utf8_sequence(bytes + i, length - i);
        if (sequence > 0)
            buffer_append(out, (const char *)bytes + i, sequence);
        else
            append(out, REPLACEMENT);
        i += sequence > 0 ? sequence : 1;
    }
}

static bool read_windows(const unsigned char *bytes, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length; i++) {
        const uint32_t character = windows_character(bytes[i]);
        if (character == NO_CHARACTER) return false;
        append(out, character);
    }
    return true;
}

/* False where the bytes are no text that can be told. */
static bool read_other(const unsigned char *bytes, size_t length, struct buffer *out)
{
    if (length >= 2 && bytes[0] == 0xff && bytes[1] == 0xfe)
        return read_utf16(bytes, length, true, out);
    if (length >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff)
        return read_utf16(bytes, length, false, out);
    if (has_odd_controls(bytes, length)) return false;
    if (!is_damaged_utf8(bytes, length))
        return is_mostly_ascii(bytes, length) && read_windows(bytes, length, out);
    mend_utf8(bytes, length, out);
    return true;
}

int plain_text_read(char **text, size_t *length, enum skip_reason *reason)
{
    static const char mark[] = "\xef\xbb\xbf";
    *reason = skip_reason_of_text(*text, *length);
    if (*reason == SKIP_BINARY) {
        struct buffer out = {0};
        const bool is_text = read_other((const unsigned char *)*text, *length, &out);
        if (!is_text || out.failed) {
            buffer_free(&out);
            return is_text ? -1 : 1;
        }
        free(*text);
        *length = out.length;
        *text = buffer_take(&out);
        if (*text == NULL) return -1;
        *reason = skip_reason_of_text(*text, *length);
    }
    if (*reason == SKIP_NONE && *length >= sizeof(mark) - 1 &&
        memcmp(*text, mark, sizeof(mark) - 1) == 0) {
        *length -= sizeof(mark) - 1;
        memmove(*text, *text + sizeof(mark) - 1, *length + 1);
        *reason = skip_reason_of_text(*text, *length);
    }
    return *reason == SKIP_NONE ? 0 : 1;
}
