#include "storage/base/utf8.h"

static int continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t utf8_sequence(const unsigned char *text, size_t length)
{
    if (length == 0) return 0;
    const unsigned char lead = text[0];
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0; /* a continuation byte, or an overlong form of ASCII */
    if (lead < 0xe0) return length >= 2 && continuation(text[1]) ? 2 : 0;
    if (lead < 0xf0) {
        if (length < 3 || !continuation(text[1]) || !continuation(text[2])) return 0;
        if (lead == 0xe0 && text[1] < 0xa0) return 0;  /* overlong */
        if (lead == 0xed && text[1] >= 0xa0) return 0; /* surrogate */
        return 3;
    }
    if (lead > 0xf4) return 0;
    if (length < 4 || !continuation(text[1]) || !continuation(text[2]) || !continuation(text[3]))
        return 0;
    if (lead == 0xf0 && text[1] < 0x90) return 0;  /* overlong */
    if (lead == 0xf4 && text[1] >= 0x90) return 0; /* above U+10FFFF */
    return 4;
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        const size_t step = utf8_sequence((const unsigned char *)text + at, length - at);
        if (step == 0) break;
        at += step;
    }
    return at;
}

size_t utf8_whole(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t lead = length;
    while (lead > 0 && length - lead < 4 && continuation(bytes[lead - 1])) lead--;
    if (lead == 0 || bytes[lead - 1] < 0xc2) return length; /* ends with ASCII, or with no UTF-8 */
    lead--;
    const size_t wanted = bytes[lead] < 0xe0 ? 2 : bytes[lead] < 0xf0 ? 3 : 4;
    return length - lead < wanted ? lead : length;
}

size_t utf8_encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

void utf8_copy_line(char *out, size_t size, const char *text)
{
    size_t length = 0;
    for (; text != NULL && *text != '\0' && length + 1 < size; text++)
        out[length++] = (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text;
    out[utf8_whole(out, length)] = '\0';
}
