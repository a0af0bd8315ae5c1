#include "tools/tekup/text.h"

#include "storage/base/utf8.h"

#include <locale.h>
#include <wchar.h>
#include <wctype.h>

#define REPLACEMENT "\xef\xbf\xbd"
enum { REPLACEMENT_CODE = 0xfffd };

void text_init(void)
{
    /* The tables for width and case. The output is UTF-8 whatever the user's locale says. */
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) setlocale(LC_CTYPE, "");
}

unsigned text_decode(const char *text, size_t length, size_t *size)
{
    const unsigned char *byte = (const unsigned char *)text;
    *size = utf8_sequence(byte, length);
    switch (*size) {
    case 1:
        return byte[0];
    case 2:
        return (byte[0] & 0x1fu) << 6 | (byte[1] & 0x3fu);
    case 3:
        return (byte[0] & 0x0fu) << 12 | (byte[1] & 0x3fu) << 6 | (byte[2] & 0x3fu);
    case 4:
        return (byte[0] & 0x07u) << 18 | (byte[1] & 0x3fu) << 12 | (byte[2] & 0x3fu) << 6 |
               (byte[3] & 0x3fu);
    default:
        *size = 1;
        return REPLACEMENT_CODE;
    }
}

unsigned text_lower(unsigned code)
{
    return (unsigned)towlower((wint_t)code);
}

int text_is_word(unsigned code)
{
    return iswalnum((wint_t)code) || code == '_';
}

/* What a terminal may act on instead of showing it. */
static int is_control(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void text_clean(struct buffer *out, const char *text, size_t length, enum text_lines lines)
{
    for (size_t at = 0, size; at < length; at += size) {
        const unsigned code = text_decode(text + at, length - at, &size);
        const int is_space = code == '\n' || code == '\t' || code == '\r';
        if (is_space && lines == TEXT_LINES && code != '\r') {
            buffer_append(out, text + at, 1);
        } else if (is_space) {
            /* The '\r' of a Windows line end is not worth a space of its own. */
            if (code != '\r') buffer_text(out, " ");
        } else if (is_control(code) || code == REPLACEMENT_CODE) {
            buffer_text(out, REPLACEMENT);
        } else {
            buffer_append(out, text + at, size);
        }
    }
}

static int width_of(unsigned code)
{
    const int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : width;
}

int text_width(const char *text, size_t length)
{
    int width = 0;
    for (size_t at = 0, size; at < length; at += size)
        width += width_of(text_decode(text + at, length - at, &size));
    return width;
}

size_t text_fit(const char *text, size_t length, int columns)
{
    size_t at = 0, size;
    for (int width = 0; at < length; at += size) {
        width += width_of(text_decode(text + at, length - at, &size));
        if (width > columns) break;
    }
    return at;
}

void text_json(struct buffer *out, const char *json, size_t length)
{
    for (size_t at = 0, size; at < length; at += size) {
        const unsigned code = text_decode(json + at, length - at, &size);
        /* White space between JSON's tokens is the only control character it can hold raw. */
        if (code >= 0x7f && is_control(code))
            buffer_format(out, "\\u%04x", code);
        else if (code < 0x20 && code != '\n' && code != '\t')
            buffer_text(out, " ");
        else if (code == REPLACEMENT_CODE)
            buffer_text(out, REPLACEMENT);
        else
            buffer_append(out, json + at, size);
    }
}
