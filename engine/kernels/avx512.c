/*
 * avx512.c: kernels for x86-64 with AVX-512 and its VNNI and VBMI parts (Ice Lake, Zen 4 and
 * later). Machines that have AVX-512 without them run avx2.c.
 */
#include "engine/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#define TARGET KERNEL __attribute__((target("avx512f,avx512bw,avx512dq,avx512vbmi,avx512vnni")))

static bool usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("sse4.2");
}

/* Four sums hide the latency of an FMA; a masked load takes the tail without reading past it. */
TARGET static float dot(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i + 16 <= n; i += 16)
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    if (i < n) {
        __mmask16 tail = (__mmask16)((1u << (n - i)) - 1);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(tail, a + i), _mm512_maskz_loadu_ps(tail, b + i),
                             s1);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

TARGET static double squares(const float *x, size_t n)
{
    __m512d s0 = _mm512_setzero_pd(), s1 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512d a = _mm512_cvtps_pd(_mm256_loadu_ps(x + i));
        const __m512d b = _mm512_cvtps_pd(_mm256_loadu_ps(x + i + 8));
        s0 = _mm512_fmadd_pd(a, a, s0);
        s1 = _mm512_fmadd_pd(b, b, s1);
    }
    double rest = 0;
    for (; i < n; i++) rest += (double)x[i] * x[i];
    return _mm512_reduce_add_pd(_mm512_add_pd(s0, s1)) + rest;
}

TARGET static void scale(const float *x, float by, size_t n, float *out)
{
    const __m512 factor = _mm512_set1_ps(by);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
    for (; i < n; i++) out[i] = x[i] * by;
}

/* ---- Codes ----------------------------------------------------------------------------------- */

TARGET static void flip(float *x, const uint64_t *bits, size_t n)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    for (size_t i = 0; i < n; i += 64) {
        const uint64_t marked = bits[i / 64];
        for (size_t part = 0; part < 64; part += 16) {
            const __m512i v = _mm512_loadu_si512(x + i + part);
            _mm512_storeu_si512(x + i + part,
                                _mm512_mask_xor_epi32(v, (__mmask16)(marked >> part), v, sign));
        }
    }
}

/* One round for each run of 2 * half. */
TARGET static void hadamard_round(float *x, size_t n, size_t half)
{
    for (size_t start = 0; start < n; start += 2 * half)
        for (size_t i = start; i < start + half; i += 16) {
            const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + half);
            _mm512_storeu_ps(x + i, _mm512_add_ps(a, b));
            _mm512_storeu_ps(x + i + half, _mm512_sub_ps(a, b));
        }
}

/* Two rounds of four vectors, which the rounds are of in turn. */
TARGET static inline void two_rounds(__m512 v[4])
{
    const __m512 ac = _mm512_add_ps(v[0], v[2]), a_c = _mm512_sub_ps(v[0], v[2]);
    const __m512 bd = _mm512_add_ps(v[1], v[3]), b_d = _mm512_sub_ps(v[1], v[3]);
    v[0] = _mm512_add_ps(ac, bd);
    v[1] = _mm512_sub_ps(ac, bd);
    v[2] = _mm512_add_ps(a_c, b_d);
    v[3] = _mm512_sub_ps(a_c, b_d);
}

/* Two rounds, for each run of 4 * quarter, with a load and a store for both. */
TARGET static void hadamard_rounds(float *x, size_t n, size_t quarter)
{
    for (size_t start = 0; start < n; start += 4 * quarter)
        for (float *at = x + start; at < x + start + quarter; at += 16) {
            __m512 v[4];
            for (size_t i = 0; i < 4; i++) v[i] = _mm512_loadu_ps(at + i * quarter);
            two_rounds(v);
            for (size_t i = 0; i < 4; i++) _mm512_storeu_ps(at + i * quarter, v[i]);
        }
}

/* The last four rounds stay within a register: each adds what stands so many places away to every
 * component, or takes the component from it. */
TARGET static inline __m512 rounds_within(__m512 v)
{
    const __m512 one = _mm512_set1_ps(1), minus = _mm512_set1_ps(-1);
    const __m512 eights = _mm512_mask_blend_ps(0xff00, one, minus);
    const __m512 fours = _mm512_mask_blend_ps(0xf0f0, one, minus);
    const __m512 twos = _mm512_mask_blend_ps(0xcccc, one, minus);
    const __m512 ones = _mm512_mask_blend_ps(0xaaaa, one, minus);
    v = _mm512_fmadd_ps(v, eights, _mm512_shuffle_f32x4(v, v, 0x4e));
    v = _mm512_fmadd_ps(v, fours, _mm512_shuffle_f32x4(v, v, 0xb1));
    v = _mm512_fmadd_ps(v, twos, _mm512_shuffle_ps(v, v, 0x4e));
    return _mm512_fmadd_ps(v, ones, _mm512_shuffle_ps(v, v, 0xb1));
}

/* The last six rounds. */
TARGET static void hadamard_ends(float *x, size_t n)
{
    const __m512 norm = _mm512_set1_ps(1 / sqrtf((float)n));
    for (float *at = x; at < x + n; at += 64) {
        __m512 v[4];
        for (size_t i = 0; i < 4; i++) v[i] = _mm512_loadu_ps(at + 16 * i);
        two_rounds(v);
        for (size_t i = 0; i < 4; i++)
            _mm512_storeu_ps(at + 16 * i, _mm512_mul_ps(rounds_within(v[i]), norm));
    }
}

TARGET static void hadamard(float *x, size_t n)
{
    size_t run = n;
    for (; run >= 256; run /= 4) hadamard_rounds(x, n, run / 4);
    if (run == 128) hadamard_round(x, n, 64);
    hadamard_ends(x, n);
}

TARGET static float largest(const float *x, size_t n)
{
    __m512 most = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16)
        most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    return _mm512_reduce_max_ps(most);
}

TARGET static uint32_t above(const float x[32], float floor)
{
    const __m512 least = _mm512_set1_ps(floor);
    const uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(x), least, _CMP_GT_OQ);
    const uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + 16), least, _CMP_GT_OQ);
    return low | high << 16;
}

TARGET static void round_to(const float *x, float by, size_t n, int16_t *out)
{
    const __m512 factor = _mm512_set1_ps(by);
    for (size_t i = 0; i < n; i += 16) {
        const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
        _mm256_storeu_si256((void *)(out + i), _mm512_cvtsepi32_epi16(whole));
    }
}

/* VPDPBUSD takes one side unsigned: a + 128, which adds 128 times the sum of b. */
TARGET static int32_t dot_codes(const int8_t *a, const int8_t *b, size_t n)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512(), of_b = sum;
    for (size_t i = 0; i < n; i += 64) {
        const __m512i right = _mm512_loadu_si512(b + i);
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_loadu_si512(a + i), flip), right);
        of_b = _mm512_dpbusd_epi32(of_b, ones, right);
    }
    return _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, _mm512_slli_epi32(of_b, 7)));
}

/* Products of 16 and 8 bits fit 512 to a lane of 32 bits. */
#define QUERY_RUN ((size_t)4096)

TARGET static int64_t dot_query(const int16_t *query, const int8_t *codes, size_t n,
                                const void *ahead)
{
    const char *next = ahead;
    int64_t total = 0;
    for (size_t run = 0; run < n; run += QUERY_RUN) {
        const size_t end = n - run < QUERY_RUN ? n : run + QUERY_RUN;
        __m512i s0 = _mm512_setzero_si512(), s1 = s0;
        for (size_t i = run; i < end; i += 64) {
            __builtin_prefetch(next + i, 0, 2);
            const __m512i left =
                _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(codes + i)));
            const __m512i right =
                _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(codes + i + 32)));
            s0 = _mm512_dpwssd_epi32(s0, _mm512_loadu_si512(query + i), left);
            s1 = _mm512_dpwssd_epi32(s1, _mm512_loadu_si512(query + i + 32), right);
        }
        total += _mm512_reduce_add_epi64(
            _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(s0)),
                             _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(s0, 1))));
        total += _mm512_reduce_add_epi64(
            _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(s1)),
                             _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(s1, 1))));
    }
    return total;
}

TARGET static int64_t dot_nibbles(const int16_t *query, const uint8_t *nibbles, size_t n)
{
    const __m512i low = _mm512_set1_epi16(15), eight = _mm512_set1_epi16(8);
    int64_t total = 0;
    for (size_t run = 0; run < n; run += 8 * QUERY_RUN) {
        const size_t end = n - run < 8 * QUERY_RUN ? n : run + 8 * QUERY_RUN;
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = run; i < end; i += 64) {
            const __m512i both =
                _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(nibbles + i / 2)));
            const __m512i left = _mm512_sub_epi16(_mm512_and_si512(both, low), eight);
            const __m512i right = _mm512_sub_epi16(_mm512_srli_epi16(both, 4), eight);
            sum = _mm512_dpwssd_epi32(sum, _mm512_loadu_si512(query + i), left);
            sum = _mm512_dpwssd_epi32(sum, _mm512_loadu_si512(query + i + 32), right);
        }
        total += _mm512_reduce_add_epi64(
            _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum)),
                             _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum, 1))));
    }
    return total;
}

/* Four magnitudes next to each other, summed into each of their lanes. */
TARGET static __m512 sums_of_four(const float *query)
{
    __m512 v = _mm512_abs_ps(_mm512_loadu_ps(query));
    v = _mm512_add_ps(v, _mm512_shuffle_ps(v, v, 0xb1));
    return _mm512_add_ps(v, _mm512_shuffle_ps(v, v, 0x4e));
}

/* The tables of four groups. Of a group's four components the two lower ones make four sums, and
 * so do the two upper ones; each of the sixteen is one of those and one of these. A group has a
 * quarter of each register. */
TARGET static void four_tables(const float *query, __m512 inverse, uint8_t *out)
{
    const __m512i sum_lower =
        _mm512_setr_epi32(0, 16, 17, 1, 4, 20, 21, 5, 8, 24, 25, 9, 12, 28, 29, 13);
    const __m512i sum_upper = _mm512_add_epi32(sum_lower, _mm512_set1_epi32(2));
    const __m512 q = _mm512_loadu_ps(query), swapped = _mm512_shuffle_ps(q, q, 0xb1);
    /* q0 + q1 twice, q2 + q3 twice; q0 - q1, q1 - q0, q2 - q3, q3 - q2 */
    const __m512 sums = _mm512_add_ps(q, swapped), differences = _mm512_sub_ps(q, swapped);
    const __m512i sign = _mm512_maskz_set1_epi32(0x1111, INT32_MIN);
    __m512 lower = _mm512_permutex2var_ps(sums, sum_lower, differences);
    __m512 upper = _mm512_permutex2var_ps(sums, sum_upper, differences);
    lower = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(lower), sign));
    upper = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(upper), sign));
    lower = _mm512_add_ps(lower, sums_of_four(query));
    const __m512 with[4] = {_mm512_permute_ps(upper, 0x00), _mm512_permute_ps(upper, 0x55),
                            _mm512_permute_ps(upper, 0xaa), _mm512_permute_ps(upper, 0xff)};
    __m512i rounded[4];
    for (size_t i = 0; i < 4; i++)
        rounded[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_add_ps(lower, with[i]), inverse));
    /* What rounding has put below 0 becomes 0. */
    _mm512_storeu_si512(out, _mm512_packus_epi16(_mm512_packs_epi32(rounded[0], rounded[1]),
                                                 _mm512_packs_epi32(rounded[2], rounded[3])));
}

TARGET static void tables(const float *query, size_t n, uint8_t *out, float *step, float *base)
{
    __m512 tops = _mm512_setzero_ps(), all = tops;
    for (size_t i = 0; i < n; i += 16) {
        const __m512 sums = sums_of_four(query + i);
        tops = _mm512_max_ps(tops, sums);
        all = _mm512_add_ps(all, sums);
    }
    const float most = _mm512_reduce_max_ps(tops);
    *step = most > 0 ? 2 * most / 255 : 1;
    *base = -_mm512_reduce_add_ps(all) / 4;
    const __m512 inverse = _mm512_set1_ps(1 / *step);
    for (size_t i = 0; i < n; i += 16, out += 64) four_tables(query + i, inverse, out);
}

/* A byte of 64 holds the nibbles of two neighbours for one of four groups, so that VPERMB looks up
 * in the tables of four groups at once (the group is put into bits 4 and 5 of the index) and
 * VPDPBUSD sums the four. Seven instructions a line of 64 bytes: about 100 ns for 1,536 components,
 * while the 6 KB of signs take several times that from memory. */
TARGET static void scan(const uint8_t *signs, const uint8_t *table, size_t n, uint32_t sums[32],
                        const void *ahead)
{
    const char *next = ahead;
    const __m512i nibble = _mm512_set1_epi8(15), group = _mm512_set1_epi32(0x30201000);
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i low0 = _mm512_setzero_si512(), low1 = low0, high0 = low0, high1 = low0;
    size_t line = 0;
    for (; line + 2 <= n / 16; line += 2) {
        __builtin_prefetch(next + 32 * line, 0, 2);
        const __m512i s0 = _mm512_loadu_si512(signs + 64 * line);
        const __m512i s1 = _mm512_loadu_si512(signs + 64 * line + 64);
        const __m512i t0 = _mm512_loadu_si512(table + 64 * line);
        const __m512i t1 = _mm512_loadu_si512(table + 64 * line + 64);
        /* 0xea: (a & b) | c */
        const __m512i l0 = _mm512_ternarylogic_epi32(s0, nibble, group, 0xea);
        const __m512i h0 = _mm512_ternarylogic_epi32(_mm512_srli_epi32(s0, 4), nibble, group, 0xea);
        const __m512i l1 = _mm512_ternarylogic_epi32(s1, nibble, group, 0xea);
        const __m512i h1 = _mm512_ternarylogic_epi32(_mm512_srli_epi32(s1, 4), nibble, group, 0xea);
        low0 = _mm512_dpbusd_epi32(low0, _mm512_permutexvar_epi8(l0, t0), ones);
        high0 = _mm512_dpbusd_epi32(high0, _mm512_permutexvar_epi8(h0, t0), ones);
        low1 = _mm512_dpbusd_epi32(low1, _mm512_permutexvar_epi8(l1, t1), ones);
        high1 = _mm512_dpbusd_epi32(high1, _mm512_permutexvar_epi8(h1, t1), ones);
    }
    _mm512_storeu_si512(sums, _mm512_add_epi32(low0, low1));
    _mm512_storeu_si512(sums + 16, _mm512_add_epi32(high0, high1));
}

TARGET static void difference(const int8_t *own, float own_scale, const int8_t *other,
                              float other_scale, size_t n, uint16_t *signs, float sums[3])
{
    const __m512 zero = _mm512_setzero_ps();
    const __m512 by_own = _mm512_set1_ps(own_scale), by_other = _mm512_set1_ps(other_scale);
    __m512 magnitudes = zero, squares = zero, signed_own = zero;
    for (size_t i = 0; i < n; i += 16) {
        const __m512i a = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(own + i)));
        const __m512i b = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(other + i)));
        const __m512 from = _mm512_mul_ps(_mm512_cvtepi32_ps(a), by_own);
        const __m512 r = _mm512_sub_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(b), by_other), from);
        const __mmask16 positive = _mm512_cmp_ps_mask(r, zero, _CMP_GE_OQ);
        signs[i / 16] = (uint16_t)positive;
        magnitudes = _mm512_add_ps(magnitudes, _mm512_abs_ps(r));
        squares = _mm512_fmadd_ps(r, r, squares);
        signed_own =
            _mm512_add_ps(signed_own, _mm512_mask_sub_ps(from, (__mmask16)~positive, zero, from));
    }
    sums[0] = _mm512_reduce_add_ps(magnitudes);
    sums[1] = _mm512_reduce_add_ps(squares);
    sums[2] = _mm512_reduce_add_ps(signed_own);
}

const struct kernels tk_kernels_avx512 = {.name = "avx512",
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
                                          .interleaved = true,
                                          .difference = difference,
                                          .crc32c = tk_crc32c_sse42};
#else
typedef int engine_kernels_avx512_unused; /* an empty translation unit is not C */
#endif
