/*
 * avx2.c: kernels for x86-64 with AVX2 and FMA (Haswell, Zen and later).
 */
#include "engine/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

static bool usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("sse4.2");
}

/* An FMA takes four cycles and two start per cycle, so eight sums are needed to keep them busy;
 * with four the loop is bound by its eight loads all the same. */
KERNEL __attribute__((target("avx2,fma"))) static float dot(const float *a, const float *b,
                                                            size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
    }
    for (; i + 8 <= n; i += 8)
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    __m256 sum = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    half = _mm_add_ss(half, _mm_shuffle_ps(half, half, 1));
    float total = _mm_cvtss_f32(half);
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

KERNEL __attribute__((target("sse4.2"))) uint32_t tk_crc32c_sse42(uint32_t crc, const void *data,
                                                                  size_t size)
{
    const unsigned char *byte = data;
    uint64_t state = (uint32_t)~crc;
    for (; size >= 8; byte += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, byte, sizeof(word));
        state = _mm_crc32_u64(state, word);
    }
    uint32_t tail = (uint32_t)state;
    for (; size > 0; byte++, size--) tail = _mm_crc32_u8(tail, *byte);
    return ~tail;
}

/* ---- Codes ----------------------------------------------------------------------------------- */

#define TARGET KERNEL __attribute__((target("avx2,fma")))

TARGET static double squares(const float *x, size_t n)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(x + i));
        const __m256d b = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
        s0 = _mm256_fmadd_pd(a, a, s0);
        s1 = _mm256_fmadd_pd(b, b, s1);
    }
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(s0, s1));
    for (; i < n; i++) lanes[i % 4] += (double)x[i] * x[i];
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

TARGET static void scale(const float *x, float by, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = x[i] * by;
}

TARGET static float sum_floats(__m256 v)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

TARGET static int64_t sum_ints(__m256i v)
{
    int32_t lanes[8];
    int64_t total = 0;
    _mm256_storeu_si256((__m256i *)lanes, v);
    for (int i = 0; i < 8; i++) total += lanes[i];
    return total;
}

TARGET static void flip(float *x, const uint64_t *bits, size_t n)
{
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    for (size_t i = 0; i < n; i += 8) {
        const __m256i byte = _mm256_set1_epi32((int)(bits[i / 64] >> (i % 64) & 255));
        const __m256i marked = _mm256_cmpeq_epi32(_mm256_and_si256(byte, lanes), lanes);
        const __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(marked, 31));
        _mm256_storeu_ps(x + i, _mm256_xor_ps(_mm256_loadu_ps(x + i), sign));
    }
}

/* The last three rounds stay within a register. */
TARGET static void hadamard(float *x, size_t n)
{
    const __m256 norm = _mm256_set1_ps(1 / sqrtf((float)n));
    for (size_t half = n / 2; half >= 8; half /= 2)
        for (size_t start = 0; start < n; start += 2 * half)
            for (size_t i = start; i < start + half; i += 8) {
                const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
                _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
                _mm256_storeu_ps(x + i + half, _mm256_sub_ps(a, b));
            }
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        __m256 turned = _mm256_permute2f128_ps(v, v, 1);
        v = _mm256_blend_ps(_mm256_add_ps(v, turned), _mm256_sub_ps(turned, v), 0xf0);
        turned = _mm256_shuffle_ps(v, v, 0x4e);
        v = _mm256_blend_ps(_mm256_add_ps(v, turned), _mm256_sub_ps(turned, v), 0xcc);
        turned = _mm256_shuffle_ps(v, v, 0xb1);
        v = _mm256_blend_ps(_mm256_add_ps(v, turned), _mm256_sub_ps(turned, v), 0xaa);
        _mm256_storeu_ps(x + i, _mm256_mul_ps(v, norm));
    }
}

/* VPMADDUBSW would saturate, so both sides are widened first. */
TARGET static int32_t dot_codes(const int8_t *a, const int8_t *b, size_t n)
{
    __m256i s0 = _mm256_setzero_si256(), s1 = s0;
    for (size_t i = 0; i < n; i += 32) {
        const __m256i a0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(a + i)));
        const __m256i b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(b + i)));
        const __m256i a1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(a + i + 16)));
        const __m256i b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(b + i + 16)));
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(a0, b0));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(a1, b1));
    }
    return (int32_t)sum_ints(_mm256_add_epi32(s0, s1));
}

/* Products of 16 and 8 bits fit 512 to a lane of 32 bits. */
#define QUERY_RUN ((size_t)2048)

TARGET static int64_t dot_query(const int16_t *query, const int8_t *codes, size_t n,
                                const void *ahead)
{
    const char *next = ahead;
    int64_t total = 0;
    for (size_t run = 0; run < n; run += QUERY_RUN) {
        const size_t end = n - run < QUERY_RUN ? n : run + QUERY_RUN;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        for (size_t i = run; i < end; i += 32) {
            __builtin_prefetch(next + i, 0, 2);
            const __m256i c0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(codes + i)));
            const __m256i c1 =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(codes + i + 16)));
            const __m256i q0 = _mm256_loadu_si256((const void *)(query + i));
            const __m256i q1 = _mm256_loadu_si256((const void *)(query + i + 16));
            s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(q0, c0));
            s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(q1, c1));
        }
        total += sum_ints(s0) + sum_ints(s1);
    }
    return total;
}

TARGET static int64_t dot_nibbles(const int16_t *query, const uint8_t *nibbles, size_t n)
{
    const __m256i low = _mm256_set1_epi16(15), eight = _mm256_set1_epi16(8);
    int64_t total = 0;
    for (size_t run = 0; run < n; run += 4 * QUERY_RUN) {
        const size_t end = n - run < 4 * QUERY_RUN ? n : run + 4 * QUERY_RUN;
        __m256i sum = _mm256_setzero_si256();
        for (size_t i = run; i < end; i += 64)
            for (size_t half = 0; half < 32; half += 16) {
                const __m256i both =
                    _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(nibbles + i / 2 + half)));
                const __m256i left = _mm256_sub_epi16(_mm256_and_si256(both, low), eight);
                const __m256i right = _mm256_sub_epi16(_mm256_srli_epi16(both, 4), eight);
                const __m256i q0 = _mm256_loadu_si256((const void *)(query + i + half));
                const __m256i q1 = _mm256_loadu_si256((const void *)(query + i + 32 + half));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(q0, left));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(q1, right));
            }
        total += sum_ints(sum);
    }
    return total;
}

TARGET static __m256 magnitudes_of(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

TARGET static float most_of(__m256 v)
{
    float lanes[8], most = 0;
    _mm256_storeu_ps(lanes, v);
    for (int i = 0; i < 8; i++)
        if (lanes[i] > most) most = lanes[i];
    return most;
}

TARGET static float largest(const float *x, size_t n)
{
    __m256 most = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8)
        most = _mm256_max_ps(most, magnitudes_of(_mm256_loadu_ps(x + i)));
    return most_of(most);
}

TARGET static uint32_t above(const float x[32], float floor)
{
    const __m256 least = _mm256_set1_ps(floor);
    uint32_t mask = 0;
    for (int i = 0; i < 32; i += 8) {
        const __m256 greater = _mm256_cmp_ps(_mm256_loadu_ps(x + i), least, _CMP_GT_OQ);
        mask |= (uint32_t)_mm256_movemask_ps(greater) << i;
    }
    return mask;
}

TARGET static void round_to(const float *x, float by, size_t n, int16_t *out)
{
    const __m256 factor = _mm256_set1_ps(by);
    for (size_t i = 0; i < n; i += 16) {
        const __m256 a = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        const __m256 b = _mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor);
        const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_permute4x64_epi64(both, 0xd8));
    }
}

/* Four magnitudes next to each other, summed into each of their lanes. */
TARGET static __m256 sums_of_four(__m256 v)
{
    v = magnitudes_of(v);
    v = _mm256_add_ps(v, _mm256_shuffle_ps(v, v, 0xb1));
    return _mm256_add_ps(v, _mm256_shuffle_ps(v, v, 0x4e));
}

/* v with each component of q added where the lane's number has its bit, subtracted where not. lanes
 * 0 to 7 of a table differ from 8 to 15 in the sign of the fourth only. */
TARGET static __m256 with_signs(__m256 v, __m256 q)
{
    const __m256 q0 = _mm256_shuffle_ps(q, q, 0x00), q1 = _mm256_shuffle_ps(q, q, 0x55);
    const __m256 q2 = _mm256_shuffle_ps(q, q, 0xaa);
    v = _mm256_blend_ps(_mm256_sub_ps(v, q0), _mm256_add_ps(v, q0), 0xaa);
    v = _mm256_blend_ps(_mm256_sub_ps(v, q1), _mm256_add_ps(v, q1), 0xcc);
    return _mm256_blend_ps(_mm256_sub_ps(v, q2), _mm256_add_ps(v, q2), 0xf0);
}

TARGET static void tables(const float *query, size_t n, uint8_t *out, float *step, float *base)
{
    __m256 tops = _mm256_setzero_ps(), all = tops;
    for (size_t i = 0; i < n; i += 8) {
        const __m256 sums = sums_of_four(_mm256_loadu_ps(query + i));
        tops = _mm256_max_ps(tops, sums);
        all = _mm256_add_ps(all, sums);
    }
    const float most = most_of(tops);
    *step = most > 0 ? 2 * most / 255 : 1;
    *base = -sum_floats(all) / 4;
    const __m256 inverse = _mm256_set1_ps(1 / *step), zero = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 4, out += 16) {
        const __m256 q = _mm256_broadcast_ps((const __m128 *)(query + i));
        const __m256 v = with_signs(sums_of_four(q), q), q3 = _mm256_shuffle_ps(q, q, 0xff);
        const __m256 low = _mm256_max_ps(_mm256_sub_ps(v, q3), zero);
        const __m256 high = _mm256_max_ps(_mm256_add_ps(v, q3), zero);
        const __m256i first = _mm256_cvtps_epi32(_mm256_mul_ps(low, inverse));
        const __m256i second = _mm256_cvtps_epi32(_mm256_mul_ps(high, inverse));
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8);
        _mm_storeu_si128((__m128i *)out, _mm_packus_epi16(_mm256_castsi256_si128(words),
                                                          _mm256_extracti128_si256(words, 1)));
    }
}

/* Sums of bytes in 16 bits: even positions as they are, odd ones shifted down. 256 groups in two
 * lanes make 128 additions of at most 255, so 32 bits are needed only at the end of such a run. */
#define SCAN_RUN ((size_t)1024)

TARGET static void widen(__m256i even, __m256i odd, uint32_t sums[16])
{
    uint16_t e[16], o[16];
    _mm256_storeu_si256((__m256i *)e, even);
    _mm256_storeu_si256((__m256i *)o, odd);
    for (int i = 0; i < 8; i++) {
        sums[2 * i] += (uint32_t)e[i] + e[i + 8];
        sums[2 * i + 1] += (uint32_t)o[i] + o[i + 8];
    }
}

TARGET static void scan(const uint8_t *signs, const uint8_t *table, size_t n, uint32_t sums[32],
                        const void *ahead)
{
    const char *next = ahead;
    const __m256i nibble = _mm256_set1_epi8(15), even_bytes = _mm256_set1_epi16(255);
    for (unsigned i = 0; i < 32; i++) sums[i] = 0;
    for (size_t run = 0; run < n; run += SCAN_RUN) {
        const size_t end = n - run < SCAN_RUN ? n : run + SCAN_RUN;
        __m256i low_even = _mm256_setzero_si256(), low_odd = low_even;
        __m256i high_even = low_even, high_odd = low_even;
        for (size_t i = run; i < end; i += 8) {
            if (i % 32 == 0) __builtin_prefetch(next + 2 * i, 0, 2);
            const __m256i both = _mm256_loadu_si256((const void *)(signs + 4 * i));
            const __m256i sixteen = _mm256_loadu_si256((const void *)(table + 4 * i));
            const __m256i low = _mm256_shuffle_epi8(sixteen, _mm256_and_si256(both, nibble));
            const __m256i high =
                _mm256_shuffle_epi8(sixteen, _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble));
            low_even = _mm256_add_epi16(low_even, _mm256_and_si256(low, even_bytes));
            low_odd = _mm256_add_epi16(low_odd, _mm256_srli_epi16(low, 8));
            high_even = _mm256_add_epi16(high_even, _mm256_and_si256(high, even_bytes));
            high_odd = _mm256_add_epi16(high_odd, _mm256_srli_epi16(high, 8));
        }
        widen(low_even, low_odd, sums);
        widen(high_even, high_odd, sums + 16);
    }
}

TARGET static __m256 widened(const int8_t *codes, __m256 scale)
{
    const __m256i words = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)codes));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(words), scale);
}

TARGET static void difference(const int8_t *own, float own_scale, const int8_t *other,
                              float other_scale, size_t n, uint16_t *signs, float sums[3])
{
    const __m256 by_own = _mm256_set1_ps(own_scale), by_other = _mm256_set1_ps(other_scale);
    const __m256 minus = _mm256_set1_ps(-0.0f), zero = _mm256_setzero_ps();
    __m256 magnitudes = zero, squares = zero, signed_own = zero;
    for (size_t i = 0; i < n; i += 16) {
        unsigned bits = 0;
        for (size_t half = 0; half < 16; half += 8) {
            const __m256 from = widened(own + i + half, by_own);
            const __m256 r = _mm256_sub_ps(widened(other + i + half, by_other), from);
            const __m256 positive = _mm256_cmp_ps(r, zero, _CMP_GE_OQ);
            bits |= (unsigned)_mm256_movemask_ps(positive) << half;
            magnitudes = _mm256_add_ps(magnitudes, magnitudes_of(r));
            squares = _mm256_fmadd_ps(r, r, squares);
            signed_own =
                _mm256_add_ps(signed_own, _mm256_xor_ps(from, _mm256_andnot_ps(positive, minus)));
        }
        signs[i / 16] = (uint16_t)bits;
    }
    sums[0] = sum_floats(magnitudes);
    sums[1] = sum_floats(squares);
    sums[2] = sum_floats(signed_own);
}

const struct kernels tk_kernels_avx2 = {.name = "avx2",
                                        .usable = usable,
                                        .dot = dot,
                                        .squares = squares,
                                        .scale = scale,
                                        .flip = flip,
                                        .hadamard = hadamard,
                                        .largest = largest,
                                        .above = above,
                                        .round = round_to,
                                        .dot_codes = dot_codes,
                                        .dot_query = dot_query,
                                        .dot_nibbles = dot_nibbles,
                                        .tables = tables,
                                        .scan = scan,
                                        .interleaved = false,
                                        .difference = difference,
                                        .crc32c = tk_crc32c_sse42};
#else
typedef int engine_kernels_avx2_unused; /* an empty translation unit is not C */
#endif
