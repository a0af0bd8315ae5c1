#include "tools/tekupd/search/embedding_numbers.h"

#include <endian.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char embedding_field[] = "embedding";

/* For what is called for each number, from two places: a call is a tenth of its time. */
#define INLINED static inline __attribute__((always_inline))

/* The least number that rounds to an infinite float32. */
#define FLOAT_END 0x1.ffffffp127

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
 * digits"): an embedding in JSON is 1,536 numbers of up to twenty digits. Where a number ends
 * cannot be foretold, so that to branch on it takes longer than the digits; what can be is done
 * without.
 */

/* How many of the characters, from the first one on, are digits. */
static unsigned count_digits(uint64_t eight)
{
    const uint64_t high = 0xf0f0f0f0f0f0f0f0;
    /* A digit's high half is 3, with 6 added to it, too. No carry goes from one to the next byte,
     * and what is behind the first that is none does not count. */
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
INLINED const char *scan_decimal(const char *at, const char *end, struct decimal *decimal)
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

/*
 * A number is put together as a double, with at most three roundings: of its digits, of the power
 * of ten and of what they come to, which is at most four units in the last place away. From there
 * to the float32 is one rounding more, and that can go wrong only within so many units of the
 * middle between two of them. Those, one in tens of millions, and what is too small for all the
 * bits of a float32 are for strtof.
 */
static bool is_uncertain(double value)
{
    enum { UNITS = 8 };
    const uint64_t middle = 1ULL << 28, between = (1ULL << 29) - 1;
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return ((bits + UNITS - middle) & between) <= 2ULL * UNITS || (value < FLT_MIN && value > 0);
}

/* The float32 that is nearest to the number whose text begins here and is followed by something
 * that strtof stops at; it may be infinite. */
INLINED float decimal_value(const struct decimal *decimal, const char *text)
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
        return strtof(text, NULL);
    if (is_uncertain(value)) return strtof(text, NULL);
    if (value >= FLOAT_END) value = (double)INFINITY;
    return (float)copysign(value, decimal->negative ? -1.0 : 1.0);
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

enum number_read { NUMBER_READ, NUMBER_NONE, NUMBER_INFINITE };

/* Reads the number that begins at *at, without white space, and moves *at behind it. Something that
 * is not part of it must follow before the end: without that it is NUMBER_NONE. */
INLINED enum number_read read_number(const char **at, const char *end, float *out)
{
    struct decimal decimal;
    const char *begin = *at;
    const char *behind = scan_decimal(begin, end, &decimal);
    if (behind == NULL || behind >= end) return NUMBER_NONE;
    *at = behind;
    *out = decimal_value(&decimal, begin);
    return isinf(*out) ? NUMBER_INFINITE : NUMBER_READ;
}

/* ---- One number after the other -------------------------------------------------------------- */

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
        if (at >= end)
            return error_set(err, ERR_INVALID, embedding_field, "embedding: the array has no end");
        if (*at == ']' && (!more || count == 0)) break;
        if (!more)
            return error_set(err, ERR_INVALID, embedding_field,
                             "embedding: a comma is missing after element %zu", count - 1);
        float number = 0;
        const enum number_read read = read_number(&at, end, &number);
        if (read == NUMBER_NONE)
            return error_set(err, ERR_INVALID, embedding_field, "embedding[%zu] is not a number",
                             count);
        if (count < EMBEDDING_DIM) {
            if (read == NUMBER_INFINITE)
                return error_set(err, ERR_INVALID, embedding_field,
                                 "embedding[%zu] is not finite as a 32-bit number", count);
            out[count] = number;
        }
        count++;
        more = false;
    }
    if (at + 1 != end)
        return error_set(err, ERR_INVALID, embedding_field,
                         "embedding: more follows behind the array");
    if (count != EMBEDDING_DIM)
        return error_set(err, ERR_INVALID, embedding_field,
                         "embedding must have %d numbers, not %zu", EMBEDDING_DIM, count);
    return 0;
}

/* ---- Whole arrays ---------------------------------------------------------------------------- */

_Static_assert(EMBEDDING_DIM >= NUMBER_GROUP + NUMBER_WINDOW, "a last group is far from the start");

const double number_tenths[NUMBER_WINDOW + 1] = {
    1,     1e-1,  1e-2,  1e-3,  1e-4,  1e-5,  1e-6,  1e-7,  1e-8,  1e-9,  1e-10,
    1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16, 1e-17, 1e-18, 1e-19, 1e-20, 1e-21,
    1e-22, 1e-23, 1e-24, 1e-25, 1e-26, 1e-27, 1e-28, 1e-29, 1e-30, 1e-31, [NUMBER_WINDOW] = 1};

/* What is between two commas, if it is a number and nothing else. */
static bool read_alone(const char *text, size_t length, const uint32_t *ends, float *out)
{
    const char *end = text + length;
    const char *at = skip_space(text + ends[-1] + 1, end);
    return read_number(&at, end, out) == NUMBER_READ && skip_space(at, end) == text + ends[0];
}

/* Reads an array of EMBEDDING_DIM finite numbers; false where the text is anything else. */
static bool read_array(const struct number_reader *reader, const char *text, size_t length,
                       float out[EMBEDDING_DIM])
{
    uint32_t places[1 + EMBEDDING_DIM + NUMBER_BLOCK];
    uint32_t *ends = places + 1;
    size_t i = 0;
    if (length > INT32_MAX || text[length - 1] != ']' || !reader->find_commas(text, length, ends))
        return false;
    places[0] = 0; /* the bracket */
    ends[EMBEDDING_DIM - 1] = (uint32_t)length - 1;
    for (; i < EMBEDDING_DIM && ends[i] <= NUMBER_WINDOW; i++) {
        if (!read_alone(text, length, ends + i, out + i)) return false;
    }
    while (i < EMBEDDING_DIM) {
        /* The last group begins early enough to be whole. */
        if (i > EMBEDDING_DIM - NUMBER_GROUP) i = EMBEDDING_DIM - NUMBER_GROUP;
        for (uint64_t bad = reader->read_group(text, ends + i, out + i); bad != 0; bad &= bad - 1) {
            const size_t alone = i + (size_t)__builtin_ctzll(bad);
            if (!read_alone(text, length, ends + alone, out + alone)) return false;
        }
        i += NUMBER_GROUP;
    }
    return true;
}

static bool always(void)
{
    return true;
}

static const struct number_reader number_reader_portable = {"portable", always, NULL, NULL};

/* Best first; the last one runs everywhere. */
static const struct number_reader *const readers[] = {
#if defined(__x86_64__)
    &number_reader_avx512, &number_reader_avx2,
#endif
    &number_reader_portable, NULL};

const struct number_reader *number_reader_usable(size_t i)
{
    const struct number_reader *const *reader = readers;
    for (; *reader; reader++)
        if ((*reader)->usable() && i-- == 0) break;
    return *reader;
}

int embedding_array(const struct number_reader *reader, const char *text, size_t length,
                    float out[EMBEDDING_DIM], struct error *err)
{
    if (reader->find_commas != NULL && read_array(reader, text, length, out)) return 0;
    return scan_array(text, length, out, err); /* which says what is wrong */
}
