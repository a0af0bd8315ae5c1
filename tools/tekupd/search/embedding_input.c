#include "tools/tekupd/search/embedding_input.h"

#include <endian.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char field[] = "embedding";

/* The least number that rounds to an infinite float32. */
#define FLOAT_END 0x1.ffffffp127

enum { INFINITE = 0x7f800000 }; /* the bits of that float32; those of NaN are more */
enum { OCTETS = EMBEDDING_DIM * 4, BASE64_LENGTH = OCTETS / 3 * 4 };

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number's digits, as far as a uint64_t holds them, and the power of ten they are to be
 * multiplied with. */
struct decimal {
    bool negative;
    uint64_t digits;
    int exponent;
};

/*
 * Eight characters at once, the first one in the lowest byte (D. Lemire, "Quickly parsing eight
 * digits"): an embedding in JSON is 1,536 numbers of up to twenty digits. Where a number ends cannot
 * be foretold, so that to branch on it takes longer than the digits; what can be is done without.
 */

/* How many of the characters, from the first one on, are digits. */
static unsigned count_digits(uint64_t eight)
{
    const uint64_t high = 0xf0f0f0f0f0f0f0f0;
    /* A digit's high half is 3, with 6 added to it, too. No carry goes from one to the next byte, and
     * what is behind the first that is none does not count. */
    const uint64_t other = ((eight & high) ^ 0x3030303030303030) |
                           (((eight + 0x0606060606060606) & high) ^ 0x3030303030303030);
    return ((unsigned)__builtin_ctzll(other >> 4 | 1ULL << 60) + 4) / 8;
}

/* The first ones of the characters, so many, behind zeros. */
static uint64_t pad(uint64_t eight, unsigned count)
{
    const unsigned half = 32 - 4 * count; /* of the bits: no shift may be by 64 */
    return eight << half << half | 0x3030303030303030 >> 4 * count >> 4 * count;
}

static uint64_t eight_digits(uint64_t eight)
{
    const uint64_t mask = 0x000000ff000000ff;
    eight -= 0x3030303030303030;
    eight = eight * 10 + (eight >> 8); /* pairs */
    return ((eight & mask) * (100 + (1000000ULL << 32)) +
            ((eight >> 16) & mask) * (1 + (10000ULL << 32))) >>
           32;
}

static const char *scan_digits(const char *at, const char *end, struct decimal *decimal,
                               bool fraction)
{
    static const uint64_t tens[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    static const uint64_t room[] = {UINT64_MAX,           UINT64_MAX / 10,      UINT64_MAX / 100,
                                    UINT64_MAX / 1000,    UINT64_MAX / 10000,   UINT64_MAX / 100000,
                                    UINT64_MAX / 1000000, UINT64_MAX / 10000000};
    while (end - at >= 16) {
        uint64_t first, second;
        memcpy(&first, at, 8);
        memcpy(&second, at + 8, 8);
        first = le64toh(first);
        second = le64toh(second);
        const unsigned count = count_digits(first);
        unsigned more = 0;
        if (decimal->digits < 100) { /* there is room for sixteen */
            more = count_digits(second) & -(unsigned)(count == 8);
            decimal->digits = decimal->digits * tens[count] + eight_digits(pad(first, count));
            decimal->digits = decimal->digits * tens[more] + eight_digits(pad(second, more));
        } else if (count < 8 && decimal->digits < room[count]) {
            decimal->digits = decimal->digits * tens[count] + eight_digits(pad(first, count));
        } else {
            break;
        }
        decimal->exponent -= fraction ? (int)(count + more) : 0;
        at += count + more;
        if (count + more < 16) return at;
    }
    for (; at < end && is_digit(*at); at++) {
        if (decimal->digits < UINT64_MAX / 10 - 1) {
            decimal->digits = decimal->digits * 10 + (uint64_t)(*at - '0');
            decimal->exponent -= fraction;
        } else {
            decimal->exponent += !fraction; /* a digit too many: only its place counts */
        }
    }
    return at;
}

static const char *scan_exponent(const char *at, const char *end, struct decimal *decimal)
{
    enum { ENOUGH = 100000 }; /* infinite or zero, whatever the digits */
    bool negative = false;
    int exponent = 0;
    if (at < end && (*at == '+' || *at == '-')) negative = *at++ == '-';
    if (at >= end || !is_digit(*at)) return NULL;
    for (; at < end && is_digit(*at); at++) {
        if (exponent < ENOUGH) exponent = exponent * 10 + (*at - '0');
    }
    decimal->exponent += negative ? -exponent : exponent;
    return at;
}

/* Reads a number as RFC 8259 has it; returns the place after it, or NULL where there is none. */
static const char *scan_decimal(const char *at, const char *end, struct decimal *decimal)
{
    *decimal = (struct decimal){0};
    /* One way for both signs: which one comes cannot be foretold. */
    decimal->negative = at < end && *at == '-';
    at += decimal->negative;
    if (at >= end || !is_digit(*at)) return NULL;
    if (*at == '0')
        at++;
    else
        at = scan_digits(at, end, decimal, false);
    if (at < end && is_digit(*at)) return NULL; /* 01 */
    if (at < end && *at == '.') {
        at++;
        if (at >= end || !is_digit(*at)) return NULL;
        at = scan_digits(at, end, decimal, true);
    }
    if (at < end && (*at == 'e' || *at == 'E')) at = scan_exponent(at + 1, end, decimal);
    return at;
}

/* text begins the number and is followed by something that strtod stops at. */
static double decimal_value(const struct decimal *decimal, const char *text)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
                                  1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29,
                                  1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39};
    enum { TENS = sizeof(tens) / sizeof(*tens) };
    double value = (double)decimal->digits;
    if (decimal->exponent >= 0 && decimal->exponent < TENS)
        value *= tens[decimal->exponent];
    else if (decimal->exponent < 0 && decimal->exponent > -TENS)
        value /= tens[-decimal->exponent];
    else
        return strtod(text, NULL);
    return copysign(value, decimal->negative ? -1.0 : 1.0);
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static int scan_array(const char *text, size_t length, float out[EMBEDDING_DIM], struct error *err)
{
    const char *at = text + 1;
    const char *end = text + length;
    size_t count = 0;
    bool more = true; /* an element may follow */
    for (;;) {
        at = skip_space(at, end);
        if (at < end && !more && *at == ',') {
            at = skip_space(at + 1, end);
            more = true;
        }
        if (at >= end) return error_set(err, ERR_INVALID, field, "embedding: the array has no end");
        if (*at == ']' && (!more || count == 0)) break;
        if (!more)
            return error_set(err, ERR_INVALID, field,
                             "embedding: a comma is missing after element %zu", count - 1);
        struct decimal decimal;
        const char *begin = at;
        at = scan_decimal(at, end, &decimal);
        if (at == NULL || at >= end)
            return error_set(err, ERR_INVALID, field, "embedding[%zu] is not a number", count);
        if (count < EMBEDDING_DIM) {
            const double value = decimal_value(&decimal, begin);
            if (fabs(value) >= FLOAT_END)
                return error_set(err, ERR_INVALID, field,
                                 "embedding[%zu] is not finite as a 32-bit number", count);
            out[count] = (float)value;
        }
        count++;
        more = false;
    }
    if (at + 1 != end)
        return error_set(err, ERR_INVALID, field, "embedding: more follows behind the array");
    if (count != EMBEDDING_DIM)
        return error_set(err, ERR_INVALID, field, "embedding must have %d numbers, not %zu",
                         EMBEDDING_DIM, count);
    return 0;
}

/* ---- Base64 ---------------------------------------------------------------------------------- */

/* What each character stands for, plus one; 0 for those that do not belong there. */
#define RANGE26(c, v)                                                                              \
    [c] = v, [c + 1] = v + 1, [c + 2] = v + 2, [c + 3] = v + 3, [c + 4] = v + 4, [c + 5] = v + 5,  \
    [c + 6] = v + 6, [c + 7] = v + 7, [c + 8] = v + 8, [c + 9] = v + 9, [c + 10] = v + 10,         \
    [c + 11] = v + 11, [c + 12] = v + 12, [c + 13] = v + 13, [c + 14] = v + 14, [c + 15] = v + 15, \
    [c + 16] = v + 16, [c + 17] = v + 17, [c + 18] = v + 18, [c + 19] = v + 19, [c + 20] = v + 20, \
    [c + 21] = v + 21, [c + 22] = v + 22, [c + 23] = v + 23, [c + 24] = v + 24, [c + 25] = v + 25
static const unsigned char base64_values[256] = {
    RANGE26('A', 1), RANGE26('a', 27), ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57,
    ['5'] = 58,      ['6'] = 59,       ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};
#undef RANGE26

static int base64_value(char c)
{
    return (int)base64_values[(unsigned char)c] - 1;
}

static void put_group(uint32_t group, unsigned char bytes[3])
{
    bytes[0] = (unsigned char)(group >> 16);
    bytes[1] = (unsigned char)(group >> 8);
    bytes[2] = (unsigned char)group;
}

/* text is a JSON string, quotes and all. 6,144 bytes are a multiple of 3: there is no padding. */
static int scan_base64(const char *text, size_t length, unsigned char out[OCTETS],
                       struct error *err)
{
    size_t digits = 0, i = 1;
    uint32_t group = 0;
    for (; i + 4 < length && digits < BASE64_LENGTH; i += 4, digits += 4) { /* without escapes */
        int sum = 0;
        for (size_t j = 0; j < 4; j++) {
            const int value = base64_value(text[i + j]);
            group = group << 6 | (uint32_t)value;
            sum |= value; /* negative where one is */
        }
        if (sum < 0) break;
        put_group(group, out + digits / 4 * 3);
    }
    group = 0;
    for (; i + 1 < length; i++) {
        if (text[i] == '\\' && text[i + 1] == '/') continue; /* JSON may escape a slash */
        const int value = base64_value(text[i]);
        if (value < 0)
            return error_set(err, ERR_INVALID, field,
                             "embedding is not base64: character %zu does not belong there",
                             digits);
        group = group << 6 | (uint32_t)value;
        digits++;
        if (digits % 4 == 0 && digits <= BASE64_LENGTH)
            put_group(group, out + (digits / 4 - 1) * 3);
    }
    if (digits != BASE64_LENGTH)
        return error_set(err, ERR_INVALID, field,
                         "embedding must be the base64 of %d little-endian float32, which is %d "
                         "characters, not %zu",
                         EMBEDDING_DIM, BASE64_LENGTH, digits);
    return 0;
}

static int check_direction(const float vector[EMBEDDING_DIM], struct error *err)
{
    uint32_t most = 0; /* bits of the largest number; those of a float32 are in its order */
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], 4);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    for (int i = 0; i < EMBEDDING_DIM && most >= INFINITE; i++) {
        if (!isfinite(vector[i]))
            return error_set(err, ERR_INVALID, field, "embedding[%d] is %s", i,
                             isnan(vector[i]) ? "NaN" : "infinite");
    }
    if (most == 0)
        return error_set(err, ERR_INVALID, field,
                         "embedding is the zero vector, which has no direction to compare");
    return 0;
}

static int from_octets(const unsigned char *bytes, float out[EMBEDDING_DIM], struct error *err)
{
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + 4 * i, 4);
        bits = le32toh(bits);
        memcpy(&out[i], &bits, 4);
    }
    return check_direction(out, err);
}

/* ---- The two ways in ------------------------------------------------------------------------- */

int embedding_from_json(const char *text, size_t length, float out[EMBEDDING_DIM],
                        struct error *err)
{
    if (length >= 2 && text[0] == '[') {
        if (scan_array(text, length, out, err) != 0) return -1;
        return check_direction(out, err);
    }
    if (length >= 2 && text[0] == '"') {
        unsigned char bytes[OCTETS];
        if (scan_base64(text, length, bytes, err) != 0) return -1;
        return from_octets(bytes, out, err);
    }
    return error_set(err, ERR_INVALID, field,
                     "embedding must be an array of %d numbers, or a string with their base64",
                     EMBEDDING_DIM);
}

int embedding_from_octets(const char *bytes, size_t length, float out[EMBEDDING_DIM],
                          struct error *err)
{
    if (length != OCTETS)
        return error_set(err, ERR_INVALID, field,
                         "the body must be %d little-endian float32, which is %d bytes, not %zu",
                         EMBEDDING_DIM, OCTETS, length);
    return from_octets((const unsigned char *)bytes, out, err);
}
