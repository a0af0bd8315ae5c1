#include "tools/tekupd/heap.h"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAPS_LEAST = 2,
    HEAPS_MOST = 16,
    LARGE = 256 << 10,     /* what is larger has pages of its own, which go back when it is freed */
    TOP_SPARE = 512 << 10, /* what may stay free at the end of the heap */
    REST_S = 60
};

void heap_begin(void)
{
#ifdef M_ARENA_MAX
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const long heaps = processors < HEAPS_MOST ? processors : HEAPS_MOST;
    mallopt(M_ARENA_MAX, heaps > HEAPS_LEAST ? (int)heaps : HEAPS_LEAST);
    mallopt(M_MMAP_THRESHOLD, LARGE); /* else it rises to the largest block that was ever freed */
    mallopt(M_TRIM_THRESHOLD, TOP_SPARE);
#endif
}

void heap_tend(void)
{
#ifdef __GLIBC__
    static time_t last;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - last < REST_S) return;
    last = now.tv_sec;
    malloc_trim(0);
#endif
}
