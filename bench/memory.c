#include "bench/memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool overlaps(const struct range *ranges, size_t n, uintptr_t start, uintptr_t end)
{
    for (size_t i = 0; i < n; i++) {
        uintptr_t first = (uintptr_t)ranges[i].start;
        if (start < first + ranges[i].bytes && first < end) return true;
    }
    return false;
}

int memory_resident(const struct range *excluded, size_t ranges, size_t *bytes, tk_error *err)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    FILE *maps = fopen("/proc/self/smaps", "re");
    if (!maps) return fail(err, "/proc/self/smaps: %s", strerror(errno));
    char *line = NULL;
    size_t room = 0, kilobytes = 0;
    bool counts = false;
    while (getline(&line, &room, maps) > 0) {
        /* A mapping begins with "start-end"; its figures follow as "Name: N kB". The pages of
         * hugetlbfs are not part of Rss. */
        unsigned long start, end;
        size_t value;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            counts = !overlaps(excluded, ranges, start, end);
        else if (counts && (sscanf(line, "Rss: %zu kB", &value) == 1 ||
                            sscanf(line, "Private_Hugetlb: %zu kB", &value) == 1 ||
                            sscanf(line, "Shared_Hugetlb: %zu kB", &value) == 1))
            kilobytes += value;
    }
    int result = ferror(maps) ? fail(err, "/proc/self/smaps: %s", strerror(errno)) : 0;
    free(line);
    fclose(maps);
    *bytes = kilobytes * 1024;
    return result;
}
