/*
 * cuid.h: row ids in the form of Prisma's cuid(), the first version of
 * https://github.com/paralleldrive/cuid: "c", milliseconds since 1970, a counter, the machine and
 * process, and eight random digits, all in base 36. Ids that are made later sort later.
 */
#ifndef STORAGE_CUID_H
#define STORAGE_CUID_H

#include <stdatomic.h>

enum { CUID_SIZE = 26 }; /* 25 characters and the NUL */

struct cuid_generator {
    _Atomic unsigned counter;
    char fingerprint[5]; /* process and host, so that two of them differ in the same millisecond */
};

void cuid_generator_init(struct cuid_generator *generator);

/* May be called from any thread. */
void cuid_generate(struct cuid_generator *generator, char out[CUID_SIZE]);

#endif
