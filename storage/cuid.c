#include "storage/cuid.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4, BLOCK_VALUES = 36 * 36 * 36 * 36, STAMP = 8 };

/* The last `digits` digits of value in base 36, with leading zeros. */
static void base36(uint64_t value, int digits, char *out)
{
    static const char digit[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = digit[value % 36];
        value /= 36;
    }
}

static void random_bytes(void *out, size_t size)
{
    /* Fails only on kernels without the call, and is never cut short below 256 bytes. An id that
     * may repeat would be worse than none. */
    if (getrandom(out, size, 0) != (ssize_t)size) {
        fputs("tekupdb: the kernel gives no random numbers\n", stderr);
        abort();
    }
}

void cuid_generator_init(struct cuid_generator *generator)
{
    char host[256] = "";
    unsigned start;
    gethostname(host, sizeof(host) - 1);
    uint64_t sum = strlen(host) + 36;
    for (const char *at = host; *at != '\0'; at++) sum += (unsigned char)*at;
    base36((uint64_t)getpid(), 2, generator->fingerprint);
    base36(sum, 2, generator->fingerprint + 2);
    generator->fingerprint[4] = '\0';
    random_bytes(&start, sizeof(start));
    atomic_init(&generator->counter, start % BLOCK_VALUES);
}

void cuid_generate(struct cuid_generator *generator, char out[CUID_SIZE])
{
    struct timespec now;
    uint64_t random;
    clock_gettime(CLOCK_REALTIME, &now);
    random_bytes(&random, sizeof(random));
    const unsigned count =
        atomic_fetch_add_explicit(&generator->counter, 1, memory_order_relaxed) % BLOCK_VALUES;
    char *at = out;
    *at++ = 'c';
    base36((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, STAMP, at);
    base36(count, BLOCK, at += STAMP);
    memcpy(at += BLOCK, generator->fingerprint, BLOCK);
    base36(random, 2 * BLOCK, at += BLOCK);
    at[2 * BLOCK] = '\0';
}
