/*
 * parallel.c: see parallel.h.
 */
#include "engine/parallel.h"

#include <pthread.h>
#include <sched.h>

#define THREADS_MAX 256

struct job {
    void (*work)(void *arg);
    void *arg;
};

static void *run(void *arg)
{
    const struct job *job = arg;
    job->work(job->arg);
    return NULL;
}

static size_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (size_t)count : 1;
}

void tk_parallel(unsigned threads, size_t most, void (*work)(void *arg), void *arg)
{
    pthread_t others[THREADS_MAX];
    struct job job = {work, arg};
    size_t wanted = threads ? threads : processors();
    size_t started = 0;
    if (wanted > most) wanted = most;
    while (started + 1 < wanted && started < THREADS_MAX &&
           pthread_create(&others[started], NULL, run, &job) == 0)
        started++;
    work(arg);
    for (size_t i = 0; i < started; i++) pthread_join(others[i], NULL);
}
