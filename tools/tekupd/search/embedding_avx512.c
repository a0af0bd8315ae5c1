/*
 * embedding_avx512.c: reads arrays of numbers with AVX-512 and its VBMI2 part (Ice Lake, Zen 4 and
 * later), sixteen at a time where they are checked, eight where they are put together.
 */
#include "tools/tekupd/search/embedding_numbers.h"

#if defined(__x86_64__)
#include <float.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define TARGET                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi2,fma")))

enum { WINDOW = NUMBER_WINDOW, GROUP = NUMBER_GROUP, BLOCK = NUMBER_BLOCK, LANES = 16 };

/* Two windows are a vector, and two words one of 64 bits. */
struct group {
    _Alignas(64) uint64_t digits[GROUP / 2];
    _Alignas(64) uint64_t zeros[GROUP / 2];
    _Alignas(64) uint64_t points[GROUP / 2];
    _Alignas(64) uint64_t signs[GROUP / 2];
    _Alignas(64) uint64_t spaces[GROUP / 2];
    /* What comes of them: the places that are moved, those that are left then, the sign, and how
     * many places there are behind the point, or WINDOW where there is none. */
    _Alignas(64) uint64_t moved[GROUP / 2];
    _Alignas(64) uint64_t places[GROUP / 2];
    _Alignas(64) uint32_t sign[GROUP];
    _Alignas(64) uint32_t fraction[GROUP];
};

static bool usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("fma");
}

/* ---- Where numbers end ----------------------------------------------------------------------- */

TARGET static bool find_commas(const char *text, size_t length, uint32_t *ends)
{
    static const unsigned char numbered[BLOCK] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i places = _mm512_loadu_si512(numbered), comma = _mm512_set1_epi8(',');
    size_t count = 0;
    for (size_t at = 0; at < length; at += BLOCK) {
        const size_t left = length - at;
        const __mmask64 there = left >= BLOCK ? ~0ULL : (1ULL << left) - 1;
        const __m512i block = _mm512_maskz_loadu_epi8(there, text + at);
        const __mmask64 found = _mm512_mask_cmpeq_epi8_mask(there, block, comma);
        const __m512i base = _mm512_set1_epi32((int)at);
        __m512i which = _mm512_maskz_compress_epi8(found, places);
        size_t more = (size_t)__builtin_popcountll(found);
        for (size_t i = 0; i == 0 || i < more; i += LANES) {
            const __m512i sixteen = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(which));
            _mm512_storeu_si512(ends + count + i, _mm512_add_epi32(sixteen, base));
            which = _mm512_shuffle_i32x4(which, which, 0x39); /* the next 128 bits */
        }
        count += more;
        if (count >= EMBEDDING_DIM) return false;
    }
    return count == EMBEDDING_DIM - 1;
}

/* ---- What they are made of ------------------------------------------------------------------- */

TARGET static __m512i two_windows(const char *text, const uint32_t *ends, size_t before)
{
    const void *first = text + ends[0] - before, *second = text + ends[1] - before;
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(first)),
                              _mm256_loadu_si256(second), 1);
}

TARGET static void look(const char *text, const uint32_t *ends, struct group *group)
{
    for (size_t i = 0; i < GROUP / 2; i++) {
        const __m512i bytes = two_windows(text, ends + 2 * i, WINDOW);
        const __m512i digits = _mm512_sub_epi8(bytes, _mm512_set1_epi8('0'));
        group->digits[i] = _mm512_cmple_epu8_mask(digits, _mm512_set1_epi8(9));
        group->zeros[i] = _mm512_testn_epi8_mask(digits, digits);
        group->points[i] = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('.'));
        group->signs[i] = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('-'));
        group->spaces[i] = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));
    }
}

/* Returns which have to be read by themselves. */
TARGET static uint64_t check(const uint32_t *ends, struct group *group)
{
    const __m512i none = _mm512_setzero_si512(), one = _mm512_set1_epi32(1);
    uint64_t all_bad = 0;
    for (size_t i = 0; i < GROUP; i += LANES) {
        /* What is between the commas, without the spaces. */
        const __m512i length = _mm512_sub_epi32(
            _mm512_sub_epi32(_mm512_loadu_si512(ends + i), _mm512_loadu_si512(ends + i - 1)), one);
        const __m512i between = _mm512_sllv_epi32(
            _mm512_set1_epi32(-1), _mm512_sub_epi32(_mm512_set1_epi32(WINDOW), length));
        const __m512i text = _mm512_andnot_si512(_mm512_load_si512(group->spaces + i / 2), between);
        const __m512i digits = _mm512_and_si512(_mm512_load_si512(group->digits + i / 2), text);
        const __m512i point = _mm512_and_si512(_mm512_load_si512(group->points + i / 2), text);
        const __m512i sign = _mm512_and_si512(_mm512_load_si512(group->signs + i / 2), text);
        const __m512i zeros = _mm512_load_si512(group->zeros + i / 2);
        const __mmask16 pointed = _mm512_test_epi32_mask(point, point);

        /* Spaces are before it alone, where they leave no gap; a sign is the first of it; there is
         * one point at most, which is not the last of it; and all else are digits. */
        const __m512i first = _mm512_and_si512(text, _mm512_sub_epi32(none, text));
        const __m512i below_point = _mm512_sub_epi32(point, one);
        __m512i wrong = _mm512_add_epi32(text, first);
        wrong = _mm512_or_si512(wrong, _mm512_andnot_si512(first, sign));
        wrong = _mm512_or_si512(wrong, _mm512_and_si512(point, below_point));
        wrong = _mm512_or_si512(wrong, _mm512_and_si512(point, _mm512_set1_epi32(INT32_MIN)));
        wrong = _mm512_or_si512(
            wrong,
            _mm512_andnot_si512(_mm512_or_si512(_mm512_or_si512(digits, point), sign), text));
        /* A digit comes first but for the sign, and if it is a zero then no other one is next. */
        const __m512i start = _mm512_add_epi32(first, sign);
        wrong = _mm512_or_si512(
            wrong, _mm512_and_si512(digits, _mm512_slli_epi32(_mm512_and_si512(start, zeros), 1)));
        __mmask16 bad = _mm512_test_epi32_mask(wrong, wrong);
        bad |= _mm512_testn_epi32_mask(start, digits);

        const __m512i moved =
            _mm512_maskz_or_epi32(pointed, point, below_point); /* up to the point */
        const __m512i lowest = _mm512_mask_add_epi32(start, pointed, start, start);
        const __m512i places = _mm512_sub_epi32(none, lowest);
        bad |= _mm512_test_epi32_mask(places, _mm512_set1_epi32(0xff)); /* beyond 24 */
        all_bad |= (uint64_t)bad << i;
        _mm512_store_si512(group->moved + i / 2, moved);
        _mm512_store_si512(group->places + i / 2, places);
        _mm512_store_si512(group->sign + i,
                           _mm512_maskz_set1_epi32(_mm512_test_epi32_mask(sign, sign), INT32_MIN));
        _mm512_store_si512(group->fraction + i, _mm512_lzcnt_epi32(point));
    }
    return all_bad;
}

/* ---- What they come to ----------------------------------------------------------------------- */

/* The places of two numbers, four to each 32 bits. */
TARGET static __m512i take_fours(const char *text, const uint32_t *ends, __mmask64 moved,
                                 __mmask64 places)
{
    const __m512i bytes = _mm512_mask_mov_epi8(two_windows(text, ends, WINDOW), moved,
                                               two_windows(text, ends, WINDOW + 1));
    const __m512i digits = _mm512_maskz_sub_epi8(places, bytes, _mm512_set1_epi8('0'));
    const __m512i pairs = _mm512_maddubs_epi16(digits, _mm512_set1_epi16(10 | 1 << 8));
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32(100 | 1 << 16));
}

/* The places of four numbers, eight to each 32 bits. In every 128 bits are first two of a number
 * from the one half, then two of one from the other half. */
TARGET static __m512i take_eights(const char *text, const uint32_t *ends, const uint64_t *moved,
                                  const uint64_t *places)
{
    const __m512i fours = _mm512_packus_epi32(take_fours(text, ends, moved[0], places[0]),
                                              take_fours(text, ends + 2, moved[1], places[1]));
    return _mm512_madd_epi16(fours, _mm512_set1_epi32(10000 | 1 << 16));
}

TARGET static __m512d to_double(__m512i low, __m512i which, __m512i high)
{
    return _mm512_cvtepi32_pd(_mm512_castsi512_si256(_mm512_permutex2var_epi32(low, which, high)));
}

/* Which of these a rounding to float32 may get wrong; see embedding_numbers.c, where the same is
 * asked of one. Here are four roundings, of two sums, the power of ten and the product. */
TARGET static __mmask8 uncertain(__m512d values)
{
    enum { UNITS = 8 };
    const __m512i off =
        _mm512_add_epi64(_mm512_castpd_si512(values), _mm512_set1_epi64(UNITS - (1LL << 28)));
    const __mmask8 between = _mm512_cmple_epu64_mask(
        _mm512_and_si512(off, _mm512_set1_epi64((1LL << 29) - 1)), _mm512_set1_epi64(2 * UNITS));
    const __mmask8 small = _mm512_cmp_pd_mask(values, _mm512_set1_pd((double)FLT_MIN), _CMP_LT_OQ);
    return between | _mm512_mask_cmp_pd_mask(small, values, _mm512_setzero_pd(), _CMP_NEQ_OQ);
}

/* Returns which have to be read by themselves for what they come to. */
TARGET static uint64_t evaluate(const char *text, const uint32_t *ends, const struct group *group,
                                float *out)
{
    const __m512i second = _mm512_setr_epi32(1, 9, 3, 11, 17, 25, 19, 27, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i third = _mm512_setr_epi32(4, 12, 6, 14, 20, 28, 22, 30, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i fourth = _mm512_setr_epi32(5, 13, 7, 15, 21, 29, 23, 31, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512d scale = _mm512_set1_pd(1e8);
    uint64_t bad = 0;
    for (size_t i = 0; i < GROUP; i += 8) {
        const __m512i low =
            take_eights(text, ends + i, group->moved + i / 2, group->places + i / 2);
        const __m512i high =
            take_eights(text, ends + i + 4, group->moved + i / 2 + 2, group->places + i / 2 + 2);
        __m512d values =
            _mm512_fmadd_pd(to_double(low, second, high), scale, to_double(low, third, high));
        values = _mm512_fmadd_pd(values, scale, to_double(low, fourth, high));
        const __m256i fraction = _mm256_load_si256((const void *)(group->fraction + i));
        values = _mm512_mul_pd(values, _mm512_i32gather_pd(fraction, number_tenths, 8));
        bad |= (uint64_t)uncertain(values) << i;
        const __m256i sign = _mm256_load_si256((const void *)(group->sign + i));
        const __m256i bits = _mm256_castps_si256(_mm512_cvtpd_ps(values));
        _mm256_storeu_si256((void *)(out + i), _mm256_xor_si256(bits, sign));
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

const struct number_reader number_reader_avx512 = {"avx512", usable, find_commas, read_group};
#endif
