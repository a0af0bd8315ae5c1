#include "tools/tekupd/heap.h"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

enum { HEAPS_LEAST = 2, HEAPS_MOST = 16, REST_S = 60 };

void heap_begin(void)
{
#ifdef M_ARENA_MAX
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const long heaps = processors < HEAPS_MOST ? processors : HEAPS_MOST;
    mallopt(M_ARENA_MAX, heaps > HEAPS_LEAST ? (int)heaps : HEAPS_LEAST);
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
