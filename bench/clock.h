/* clock.h: time in nanoseconds. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* The processor time of the calling thread (CLOCK_THREAD_CPUTIME_ID), or of all threads of the
 * process (CLOCK_PROCESS_CPUTIME_ID). */
static inline uint64_t clock_processor(clockid_t whose)
{
    struct timespec now;
    clock_gettime(whose, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline double clock_seconds(uint64_t nanoseconds)
{
    return (double)nanoseconds / 1e9;
}

/* A latency as it is kept: whole nanoseconds, at most 4.29 s. */
static inline uint32_t clock_latency(uint64_t nanoseconds)
{
    return nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

#endif
