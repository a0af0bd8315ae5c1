#include "tools/tekupd/http/json_scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* { and } are [ and ] with one more bit, which this takes away. */
enum { ROUND = 0xdf };

static size_t next_portable(const char *text, size_t at, size_t length)
{
    enum { BLOCK = 64 };
    for (; length - at >= BLOCK; at += BLOCK) {
        unsigned char found = 0; /* without a way out, so that it becomes vector code */
        for (size_t i = 0; i < BLOCK; i++) {
            const unsigned char byte = (unsigned char)text[at + i];
            const unsigned char round = byte & ROUND;
            found |= (unsigned char)((byte == '"') | (round == '[') | (round == ']'));
        }
        if (found) break;
    }
    for (; at < length; at++) {
        const char c = text[at];
        if (c == '"' || c == '[' || c == ']' || c == '{' || c == '}') break;
    }
    return at;
}

static bool always(void)
{
    return true;
}

static const struct json_scanner portable = {"portable", always, next_portable};

#if defined(__x86_64__)

/* ---- AVX2 ------------------------------------------------------------------------------------ */

static bool usable_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static __m256i found_avx2(__m256i bytes)
{
    const __m256i round = _mm256_and_si256(bytes, _mm256_set1_epi8((char)ROUND));
    const __m256i brackets = _mm256_or_si256(_mm256_cmpeq_epi8(round, _mm256_set1_epi8('[')),
                                             _mm256_cmpeq_epi8(round, _mm256_set1_epi8(']')));
    return _mm256_or_si256(brackets, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')));
}

__attribute__((target("avx2"))) static size_t next_avx2(const char *text, size_t at, size_t length)
{
    enum { HALF = 32, BLOCK = 64 };
    for (; length - at >= BLOCK; at += BLOCK) {
        const __m256i low = found_avx2(_mm256_loadu_si256((const void *)(text + at)));
        const __m256i high = found_avx2(_mm256_loadu_si256((const void *)(text + at + HALF)));
        const __m256i either = _mm256_or_si256(low, high);
        if (_mm256_testz_si256(either, either)) continue;
        const unsigned first = (unsigned)_mm256_movemask_epi8(low);
        if (first != 0) return at + (size_t)__builtin_ctz(first);
        return at + HALF + (size_t)__builtin_ctz((unsigned)_mm256_movemask_epi8(high));
    }
    return next_portable(text, at, length);
}

static const struct json_scanner avx2 = {"avx2", usable_avx2, next_avx2};

/* ---- AVX-512 --------------------------------------------------------------------------------- */

static bool usable_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

__attribute__((target("avx512f,avx512bw"))) static size_t next_avx512(const char *text, size_t at,
                                                                      size_t length)
{
    enum { BLOCK = 64 };
    while (at < length) {
        const size_t left = length - at;
        const __mmask64 there = left >= BLOCK ? ~0ULL : (1ULL << left) - 1;
        const __m512i bytes = _mm512_maskz_loadu_epi8(there, text + at);
        const __m512i round = _mm512_and_si512(bytes, _mm512_set1_epi8((char)ROUND));
        const __mmask64 found = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
                                _mm512_cmpeq_epi8_mask(round, _mm512_set1_epi8('[')) |
                                _mm512_cmpeq_epi8_mask(round, _mm512_set1_epi8(']'));
        if (found != 0) return at + (size_t)__builtin_ctzll(found);
        at += left >= BLOCK ? BLOCK : left;
    }
    return length;
}

static const struct json_scanner avx512 = {"avx512", usable_avx512, next_avx512};
#endif

/* ---- Which one ------------------------------------------------------------------------------- */

/* Best first; the last one runs everywhere. */
static const struct json_scanner *const scanners[] = {
#if defined(__x86_64__)
    &avx512, &avx2,
#endif
    &portable, NULL};

const struct json_scanner *json_scanner_usable(size_t i)
{
    const struct json_scanner *const *scanner = scanners;
    for (; *scanner; scanner++)
        if ((*scanner)->usable() && i-- == 0) break;
    return *scanner;
}
