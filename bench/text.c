#include "bench/text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

const char *text_count(size_t value, char out[NUMBER_SIZE])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%zu", value);
    char *at = out;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

const char *text_number(double value, char out[NUMBER_SIZE])
{
    if (!isfinite(value)) {
        snprintf(out, NUMBER_SIZE, "-");
        return out;
    }
    double size = fabs(value);
    if (value >= 999.5 && value < 1e15) return text_count((size_t)(value + 0.5), out);
    if (size >= 99.95 || size == 0)
        snprintf(out, NUMBER_SIZE, "%.0f", value);
    else if (size >= 9.995)
        snprintf(out, NUMBER_SIZE, "%.1f", value);
    else if (size >= 0.9995)
        snprintf(out, NUMBER_SIZE, "%.2f", value);
    else
        snprintf(out, NUMBER_SIZE, "%.3g", value);
    return out;
}

/* The length of the valid UTF-8 character that begins here (RFC 3629), or 0. */
static size_t character_length(const uint8_t *at)
{
    static const struct {
        uint8_t first, last, low, high; /* of the leading byte; of the second */
        size_t length;
    } forms[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
                 {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
                 {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                 {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
    if (*at < 0x80) return 1;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        if (*at < forms[i].first || *at > forms[i].last) continue;
        if (at[1] < forms[i].low || at[1] > forms[i].high) return 0;
        for (size_t byte = 2; byte < forms[i].length; byte++)
            if (at[byte] < 0x80 || at[byte] > 0xBF) return 0;
        return forms[i].length;
    }
    return 0;
}

void text_clean(char *text)
{
    for (char *at = text; *at;) {
        size_t length = character_length((const uint8_t *)at);
        if (length == 0 || (uint8_t)*at < 0x20 || *at == 0x7F) *at = '?';
        /* Noncharacters that XML forbids. */
        if (length == 3 && memcmp(at, "\xEF\xBF", 2) == 0 && (uint8_t)at[2] >= 0xBE)
            memset(at, '?', 3);
        at += length ? length : 1;
    }
}

size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++) width += ((uint8_t)*text & 0xC0) != 0x80;
    return width;
}

void text_cut(char *text, size_t most)
{
    if (text_width(text) <= most) return;
    size_t kept = 0;
    for (; *text; text++) {
        if (((uint8_t)*text & 0xC0) == 0x80) continue;
        if (kept++ == most - 3) break;
    }
    memcpy(text, "...", 4); /* at least four characters, so bytes, were left */
}
