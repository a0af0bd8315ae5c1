#include "storage/cuid.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 8, EACH = 20000 };

struct job {
    struct cuid_generator *generator;
    char (*out)[CUID_SIZE];
};

static void *generate(void *arg)
{
    const struct job *job = arg;
    for (int i = 0; i < EACH; i++) cuid_generate(job->generator, job->out[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, CUID_SIZE);
}

static uint64_t from_base36(const char *digits, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value * 36 + (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    return value;
}

Test(cuid, has_the_form_of_prismas_and_tells_its_time)
{
    struct cuid_generator generator;
    char id[CUID_SIZE];
    struct timespec before, after;
    cuid_generator_init(&generator);
    clock_gettime(CLOCK_REALTIME, &before);
    cuid_generate(&generator, id);
    clock_gettime(CLOCK_REALTIME, &after);
    cr_expect_eq(strlen(id), 25);
    cr_expect_eq(id[0], 'c');
    cr_expect_eq(strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz"), 25, "%s", id);
    const uint64_t ms = from_base36(id + 1, 8);
    cr_expect_geq(ms, (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000);
    cr_expect_leq(ms, (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);
    cr_expect_eq(memcmp(id + 13, generator.fingerprint, 4), 0, "the process and host stand there");
}

Test(cuid, counts_up_within_a_process)
{
    struct cuid_generator generator;
    char first[CUID_SIZE], second[CUID_SIZE];
    cuid_generator_init(&generator);
    cuid_generate(&generator, first);
    cuid_generate(&generator, second);
    const uint64_t a = from_base36(first + 9, 4), b = from_base36(second + 9, 4);
    cr_expect_eq(b, (a + 1) % (36 * 36 * 36 * 36));
    cr_expect_neq(memcmp(first + 17, second + 17, 8), 0, "the random digits differ");
}

/* Two generators of one process differ in nothing but their counter's start and the random digits,
 * as two processes of one number on two machines of one name do. */
Test(cuid, never_repeats_over_threads_and_generators)
{
    struct cuid_generator generators[2];
    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    char(*ids)[CUID_SIZE] = calloc((size_t)THREADS * EACH, CUID_SIZE);
    cr_assert_not_null(ids);
    for (int i = 0; i < 2; i++) cuid_generator_init(&generators[i]);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){&generators[i % 2], ids + (size_t)i * EACH};
        cr_assert_eq(pthread_create(&threads[i], NULL, generate, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    qsort(ids, (size_t)THREADS * EACH, CUID_SIZE, compare);
    for (int i = 1; i < THREADS * EACH; i++)
        cr_assert_neq(memcmp(ids[i - 1], ids[i], CUID_SIZE), 0, "%s twice", ids[i]);
    free(ids);
}
