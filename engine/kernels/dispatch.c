/*
 * dispatch.c: which kernels this machine runs.
 */
#include "engine/kernels/kernels.h"

/* Best first; the last one runs everywhere. */
static const struct kernels *const tables[] = {
#if defined(__x86_64__)
    &tk_kernels_avx512, &tk_kernels_avx2,
#elif defined(__aarch64__)
    &tk_kernels_neon,
#endif
    &tk_kernels_portable, NULL};

const struct kernels *tk_kernels_usable(size_t i)
{
    const struct kernels *const *table = tables;
    for (; *table; table++)
        if ((*table)->usable() && i-- == 0) break;
    return *table;
}

const struct kernels *tk_kernels_best(void)
{
    return tk_kernels_usable(0);
}
