/* letters.c: ranges of code points (Unicode 15). */
#include "ingest/embedding/letters.h"

#include "storage/base/utf8.h"

struct range {
    uint32_t first, last;
};

/* Code points above U+007F that are no part of a word, in order. */
static const struct range separators[] = {
    {0x80, 0xa9},       {0xab, 0xb1},        {0xb4, 0xb4},     {0xb6, 0xb8},     {0xbb, 0xbb},
    {0xbf, 0xbf},       {0xd7, 0xd7},        {0xf7, 0xf7},     {0x37e, 0x37e},   {0x387, 0x387},
    {0x55a, 0x55f},     {0x589, 0x58a},      {0x5be, 0x5be},   {0x5c0, 0x5c0},   {0x5c3, 0x5c3},
    {0x5f3, 0x5f4},     {0x600, 0x60f},      {0x61b, 0x61f},   {0x66a, 0x66d},   {0x6d4, 0x6d4},
    {0x964, 0x965},     {0xe4f, 0xe4f},      {0xe5a, 0xe5b},   {0x1680, 0x1680}, {0x2000, 0x206f},
    {0x207a, 0x207e},   {0x208a, 0x208e},    {0x20a0, 0x20cf}, {0x2190, 0x245f}, {0x2500, 0x2bff},
    {0x2e00, 0x2e7f},   {0x2ff0, 0x3004},    {0x3007, 0x3030}, {0x303d, 0x3040}, {0x30a0, 0x30a0},
    {0x30fb, 0x30fb},   {0xd800, 0xf8ff},    {0xfd3e, 0xfd3f}, {0xfe00, 0xfe1f}, {0xfe30, 0xfe6f},
    {0xfeff, 0xff0f},   {0xff1a, 0xff20},    {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0xffe0, 0xffff},
    {0x1f000, 0x1faff}, {0xe0000, 0x10ffff},
};

static const struct range ideographs[] = {
    {0x3005, 0x3006}, {0x3041, 0x30ff}, {0x31f0, 0x31ff}, {0x3400, 0x4dbf},
    {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0xff66, 0xff9f}, {0x20000, 0x3ffff},
};

/* Where the lower case letter is `shift` after the capital: for every code point of the range, or,
 * where `step` is 2, for every second, beginning with the first. */
static const struct {
    uint32_t first, last;
    uint32_t step, shift;
} capitals[] = {
    {'A', 'Z', 1, 32},     {0xc0, 0xd6, 1, 32},    {0xd8, 0xde, 1, 32},    {0x100, 0x12e, 2, 1},
    {0x132, 0x136, 2, 1},  {0x139, 0x147, 2, 1},   {0x14a, 0x176, 2, 1},   {0x179, 0x17d, 2, 1},
    {0x1cd, 0x1db, 2, 1},  {0x1de, 0x1ee, 2, 1},   {0x1f8, 0x21e, 2, 1},   {0x222, 0x232, 2, 1},
    {0x386, 0x386, 1, 38}, {0x388, 0x38a, 1, 37},  {0x38c, 0x38c, 1, 64},  {0x38e, 0x38f, 1, 63},
    {0x391, 0x3a1, 1, 32}, {0x3a3, 0x3ab, 1, 32},  {0x400, 0x40f, 1, 80},  {0x410, 0x42f, 1, 32},
    {0x460, 0x480, 2, 1},  {0x48a, 0x4be, 2, 1},   {0x4c1, 0x4cd, 2, 1},   {0x4d0, 0x52e, 2, 1},
    {0x531, 0x556, 1, 48}, {0x1e00, 0x1e94, 2, 1}, {0x1ea0, 0x1efe, 2, 1}, {0xff21, 0xff3a, 1, 32},
};

static bool in_ranges(uint32_t point, const struct range *ranges, size_t count)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else if (point < ranges[middle].first)
            high = middle;
        else
            return true;
    }
    return false;
}

uint32_t letter_decode(const char *text, size_t length, size_t *step)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const size_t sequence = utf8_sequence(bytes, length);
    *step = sequence == 0 ? 1 : sequence;
    switch (sequence) {
    case 1:
        return bytes[0];
    case 2:
        return (bytes[0] & 0x1fU) << 6 | (bytes[1] & 0x3fU);
    case 3:
        return (bytes[0] & 0x0fU) << 12 | (bytes[1] & 0x3fU) << 6 | (bytes[2] & 0x3fU);
    case 4:
        return (bytes[0] & 0x07U) << 18 | (bytes[1] & 0x3fU) << 12 | (bytes[2] & 0x3fU) << 6 |
               (bytes[3] & 0x3fU);
    default:
        return 0xfffd;
    }
}

bool letter_is(uint32_t point)
{
    if (point < 0x80)
        return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z') ||
               (point >= '0' && point <= '9');
    return !in_ranges(point, separators, sizeof(separators) / sizeof(*separators));
}

bool letter_is_ideograph(uint32_t point)
{
    return point >= 0x3005 &&
           in_ranges(point, ideographs, sizeof(ideographs) / sizeof(*ideographs));
}

uint32_t letter_lower(uint32_t point)
{
    if (point < 'A') return point;
    if (point <= 'Z') return point + 32;
    if (point < 0xc0) return point;
    for (size_t i = 0; i < sizeof(capitals) / sizeof(*capitals); i++) {
        if (point < capitals[i].first || point > capitals[i].last) continue;
        return (point - capitals[i].first) % capitals[i].step == 0 ? point + capitals[i].shift
                                                                   : point;
    }
    switch (point) {
    case 0x178: /* Y with diaeresis */
        return 0xff;
    case 0x3c2: /* final sigma */
        return 0x3c3;
    case 0x1e9e: /* capital sharp s */
        return 0xdf;
    default:
        return point;
    }
}
