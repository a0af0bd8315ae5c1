/*
 * embedding_avx2.c: reads arrays of numbers with AVX2, eight at a time where they are checked, four
 * where they are put together.
 */
#include "tools/tekupd/search/embedding_numbers.h"

#if defined(__x86_64__)
#include <float.h>
#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx2,fma,lzcnt,popcnt")))

enum { WINDOW = NUMBER_WINDOW, GROUP = NUMBER_GROUP, BLOCK = NUMBER_BLOCK, LANES = 8 };

struct group {
    _Alignas(32) uint32_t digits[GROUP];
    _Alignas(32) uint32_t zeros[GROUP];
    _Alignas(32) uint32_t points[GROUP]; /* of the number alone, once it is checked; so the signs */
    _Alignas(32) uint32_t signs[GROUP];
    _Alignas(32) uint32_t spaces[GROUP];
    _Alignas(32) uint32_t places[GROUP]; /* that are left when the point is gone */
};

static bool usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("lzcnt") && __builtin_cpu_supports("popcnt");
}

/* ---- Where numbers end ----------------------------------------------------------------------- */

TARGET static uint32_t which(__m256i bytes, char byte)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte)));
}

TARGET static bool find_commas(const char *text, size_t length, uint32_t *ends)
{
    enum { AT_ONCE = 8 };
    size_t count = 0, at = 0;
    for (; length - at >= BLOCK; at += BLOCK) {
        const uint32_t low = which(_mm256_loadu_si256((const void *)(text + at)), ',');
        const uint32_t high = which(_mm256_loadu_si256((const void *)(text + at + BLOCK / 2)), ',');
        uint64_t found = (uint64_t)high << BLOCK / 2 | low;
        const size_t more = (size_t)__builtin_popcountll(found);
        /* More than there are, rather than to branch on how many. */
        for (size_t i = 0; i == 0 || i < more; i += AT_ONCE) {
            for (size_t j = 0; j < AT_ONCE; j++, found &= found - 1)
                ends[count + i + j] =
                    (uint32_t)at + (uint32_t)__builtin_ctzll(found | 1ULL << (BLOCK - 1));
        }
        count += more;
        if (count >= EMBEDDING_DIM) return false;
    }
    for (; at < length; at++) {
        ends[count] = (uint32_t)at;
        count += text[at] == ',';
    }
    return count == EMBEDDING_DIM - 1;
}

/* ---- What they are made of ------------------------------------------------------------------- */

TARGET static __m256i window(const char *text, size_t from)
{
    return _mm256_loadu_si256((const void *)(text + from));
}

TARGET static void look(const char *text, const uint32_t *ends, struct group *group)
{
    for (size_t i = 0; i < GROUP; i++) {
        const __m256i bytes = window(text, ends[i] - WINDOW);
        const __m256i digits = _mm256_sub_epi8(bytes, _mm256_set1_epi8('0'));
        group->digits[i] = (uint32_t)_mm256_movemask_epi8(
            _mm256_cmpeq_epi8(_mm256_min_epu8(digits, _mm256_set1_epi8(9)), digits));
        group->zeros[i] = which(bytes, '0');
        group->points[i] = which(bytes, '.');
        group->signs[i] = which(bytes, '-');
        group->spaces[i] = which(bytes, ' ');
    }
}

TARGET static __m256i word(const uint32_t *words, size_t i)
{
    return _mm256_load_si256((const void *)(words + i));
}

/* Returns which have to be read by themselves. */
TARGET static uint64_t check(const uint32_t *ends, struct group *group)
{
    const __m256i none = _mm256_setzero_si256(), one = _mm256_set1_epi32(1);
    uint64_t all_bad = 0;
    for (size_t i = 0; i < GROUP; i += LANES) {
        /* What is between the commas, without the spaces. */
        const __m256i end = _mm256_loadu_si256((const void *)(ends + i));
        const __m256i begin =
            _mm256_add_epi32(_mm256_loadu_si256((const void *)(ends + i - 1)), one);
        const __m256i outside =
            _mm256_sub_epi32(_mm256_set1_epi32(WINDOW), _mm256_sub_epi32(end, begin));
        const __m256i between = _mm256_sllv_epi32(_mm256_set1_epi32(-1), outside);
        const __m256i text = _mm256_andnot_si256(word(group->spaces, i), between);
        const __m256i digits = _mm256_and_si256(word(group->digits, i), text);
        const __m256i point = _mm256_and_si256(word(group->points, i), text);
        const __m256i sign = _mm256_and_si256(word(group->signs, i), text);
        const __m256i whole = _mm256_cmpeq_epi32(point, none);

        /* Spaces are before it alone, where they leave no gap; a sign is the first of it; there is
         * one point at most, which is not the last of it; and all else are digits. */
        const __m256i first = _mm256_and_si256(text, _mm256_sub_epi32(none, text));
        const __m256i known = _mm256_or_si256(_mm256_or_si256(digits, point), sign);
        __m256i wrong = _mm256_add_epi32(text, first);
        wrong = _mm256_or_si256(wrong, _mm256_andnot_si256(first, sign));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(point, _mm256_sub_epi32(point, one)));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(point, _mm256_set1_epi32(INT32_MIN)));
        wrong = _mm256_or_si256(wrong, _mm256_andnot_si256(known, text));
        /* A digit comes first but for the sign, and if it is a zero then no other one is next. */
        const __m256i start = _mm256_add_epi32(first, sign);
        const __m256i zero = _mm256_and_si256(start, word(group->zeros, i));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(digits, _mm256_slli_epi32(zero, 1)));
        const __m256i no_digit = _mm256_cmpeq_epi32(_mm256_and_si256(start, digits), none);

        const __m256i lowest = _mm256_add_epi32(start, _mm256_andnot_si256(whole, start));
        const __m256i places = _mm256_sub_epi32(none, lowest);
        wrong = _mm256_or_si256(wrong,
                                _mm256_and_si256(places, _mm256_set1_epi32(0xff))); /* beyond 24 */
        const __m256i good = _mm256_andnot_si256(no_digit, _mm256_cmpeq_epi32(wrong, none));
        all_bad |= (uint64_t)(~_mm256_movemask_ps(_mm256_castsi256_ps(good)) & 0xff) << i;
        _mm256_store_si256((void *)(group->points + i), point);
        _mm256_store_si256((void *)(group->signs + i), sign);
        _mm256_store_si256((void *)(group->places + i), places);
    }
    return all_bad;
}

/* ---- What they come to ----------------------------------------------------------------------- */

/* From `behind` on, as many bytes as there are behind the point are no ones, and those up to it
 * are; from `left` on, the last so many are ones. */
#define EIGHT(byte) byte, byte, byte, byte, byte, byte, byte, byte
static const unsigned char ones_zeros_ones[3 * WINDOW] = {
    EIGHT(0xff), EIGHT(0xff), EIGHT(0xff), EIGHT(0xff), EIGHT(0),    EIGHT(0),
    EIGHT(0),    EIGHT(0),    EIGHT(0xff), EIGHT(0xff), EIGHT(0xff), EIGHT(0xff)};
#undef EIGHT

/* The places of a number, four to each 32 bits. */
TARGET static __m256i take_fours(const char *text, uint32_t end, uint32_t fraction, uint32_t places)
{
    const __m256i moved = _mm256_loadu_si256((const void *)(ones_zeros_ones + fraction));
    const __m256i left = _mm256_loadu_si256(
        (const void *)(ones_zeros_ones + WINDOW + (uint32_t)__builtin_popcount(places)));
    const __m256i bytes =
        _mm256_blendv_epi8(window(text, end - WINDOW), window(text, end - WINDOW - 1), moved);
    const __m256i digits = _mm256_and_si256(_mm256_sub_epi8(bytes, _mm256_set1_epi8('0')), left);
    const __m256i pairs = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(10 | 1 << 8));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi32(100 | 1 << 16));
}

/* The places of two numbers, eight to each 32 bits: the first two of the one, of the other, then
 * the last two of them. */
TARGET static __m256i take_eights(__m256i one, __m256i other)
{
    return _mm256_madd_epi16(_mm256_packus_epi32(one, other), _mm256_set1_epi32(10000 | 1 << 16));
}

/* Which of these a rounding to float32 may get wrong; see embedding_numbers.c, where the same is
 * asked of one. Here are four roundings, of two sums, the power of ten and the product. */
TARGET static int uncertain(__m256d values)
{
    enum { UNITS = 8 };
    const __m256i off =
        _mm256_add_epi64(_mm256_castpd_si256(values), _mm256_set1_epi64x(UNITS - (1LL << 28)));
    const __m256i apart = _mm256_cmpgt_epi64(
        _mm256_and_si256(off, _mm256_set1_epi64x((1LL << 29) - 1)), _mm256_set1_epi64x(2 * UNITS));
    const __m256d small =
        _mm256_and_pd(_mm256_cmp_pd(values, _mm256_set1_pd((double)FLT_MIN), _CMP_LT_OQ),
                      _mm256_cmp_pd(values, _mm256_setzero_pd(), _CMP_NEQ_OQ));
    return (~_mm256_movemask_pd(_mm256_castsi256_pd(apart)) & 0xf) | _mm256_movemask_pd(small);
}

/* Returns which have to be read by themselves for what they come to. */
TARGET static uint64_t evaluate(const char *text, const uint32_t *ends, const struct group *group,
                                float *out)
{
    const __m256d scale = _mm256_set1_pd(1e8);
    uint64_t bad = 0;
    for (size_t i = 0; i < GROUP; i += 4) {
        uint32_t fraction[4];
        __m256i fours[4];
        for (size_t j = 0; j < 4; j++) {
            fraction[j] = _lzcnt_u32(group->points[i + j]);
            fours[j] = take_fours(text, ends[i + j], fraction[j], group->places[i + j]);
        }
        const __m256 low = _mm256_castsi256_ps(take_eights(fours[0], fours[1]));
        const __m256 high = _mm256_castsi256_ps(take_eights(fours[2], fours[3]));
        const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
        const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
        const __m256d second = _mm256_cvtepi32_pd(_mm256_castsi256_si128(odd));
        const __m256d third = _mm256_cvtepi32_pd(_mm256_extracti128_si256(even, 1));
        const __m256d fourth = _mm256_cvtepi32_pd(_mm256_extracti128_si256(odd, 1));
        __m256d values = _mm256_fmadd_pd(second, scale, third);
        values = _mm256_fmadd_pd(values, scale, fourth);
        values = _mm256_mul_pd(
            values, _mm256_setr_pd(number_tenths[fraction[0]], number_tenths[fraction[1]],
                                   number_tenths[fraction[2]], number_tenths[fraction[3]]));
        bad |= (uint64_t)(unsigned)uncertain(values) << i;
        const __m128i sign = _mm_load_si128((const void *)(group->signs + i));
        const __m128i plus = _mm_cmpeq_epi32(sign, _mm_setzero_si128());
        const __m128i minus = _mm_andnot_si128(plus, _mm_set1_epi32(INT32_MIN));
        const __m128i bits = _mm_castps_si128(_mm256_cvtpd_ps(values));
        _mm_storeu_si128((void *)(out + i), _mm_xor_si128(bits, minus));
    }
    return bad;
}

TARGET static uint64_t read_group(const char *text, const uint32_t *ends, float *out)
{
    struct group group;
    look(text, ends, &group);
    const uint64_t bad = check(ends, &group);
    return bad | evaluate(text, ends, &group, out);
}

const struct number_reader number_reader_avx2 = {"avx2", usable, find_commas, read_group};
#endif
