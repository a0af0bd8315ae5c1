#include "tools/tekupd/search/embedding_input.h"

#include "tools/tekupd/search/embedding_numbers.h"

#include <endian.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char *const field = embedding_field;

enum { INFINITE = 0x7f800000 }; /* the bits of that float32; those of NaN are more */
enum { OCTETS = EMBEDDING_DIM * 4, BASE64_LENGTH = OCTETS / 3 * 4 };

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

/* ---- What may be searched for ---------------------------------------------------------------- */

/* Of all numbers' bits without their signs, put together: they are 0 for zeros, and with this added
 * reach into the sign for what is not finite. */
struct seen {
    uint32_t bits, carried;
};

static inline void see(struct seen *seen, uint32_t bits)
{
    bits &= 0x7fffffff;
    seen->bits |= bits;
    seen->carried |= bits + (0x80000000 - INFINITE);
}

static int judge(struct seen seen, const float vector[EMBEDDING_DIM], struct error *err)
{
    for (int i = 0; i < EMBEDDING_DIM && seen.carried >= 0x80000000; i++) {
        if (!isfinite(vector[i]))
            return error_set(err, ERR_INVALID, field, "embedding[%d] is %s", i,
                             isnan(vector[i]) ? "NaN" : "infinite");
    }
    if (seen.bits == 0)
        return error_set(err, ERR_INVALID, field,
                         "embedding is the zero vector, which has no direction to compare");
    return 0;
}

static int check_direction(const float vector[EMBEDDING_DIM], struct error *err)
{
    struct seen seen = {0};
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], 4);
        see(&seen, bits);
    }
    return judge(seen, vector, err);
}

static int from_octets(const unsigned char *bytes, float out[EMBEDDING_DIM], struct error *err)
{
    struct seen seen = {0};
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + 4 * i, 4);
        bits = le32toh(bits);
        see(&seen, bits);
        memcpy(&out[i], &bits, 4);
    }
    return judge(seen, out, err);
}

/* ---- The two ways in ------------------------------------------------------------------------- */

int embedding_from_json(const char *text, size_t length, float out[EMBEDDING_DIM],
                        struct error *err)
{
    if (length >= 2 && text[0] == '[') {
        if (embedding_array(number_reader_usable(0), text, length, out, err) != 0) return -1;
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
