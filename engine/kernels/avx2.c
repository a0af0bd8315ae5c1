/*
 * avx2.c: kernels for x86-64 with AVX2 and FMA (Haswell, Zen and later).
 */
#include "engine/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static bool usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("sse4.2");
}

/* An FMA takes four cycles and two start per cycle, so eight sums are needed to keep them busy;
 * with four the loop is bound by its eight loads all the same. */
__attribute__((target("avx2,fma"))) static float dot(const float *a, const float *b, size_t n)
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

__attribute__((target("sse4.2"))) uint32_t tk_crc32c_sse42(uint32_t crc, const void *data,
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

const struct kernels tk_kernels_avx2 = {
    .name = "avx2", .usable = usable, .dot = dot, .crc32c = tk_crc32c_sse42};
#else
typedef int engine_kernels_avx2_unused; /* an empty translation unit is not C */
#endif
