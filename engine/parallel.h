/*
 * parallel.h: running one function on several threads.
 */
#ifndef ENGINE_PARALLEL_H
#define ENGINE_PARALLEL_H

#include <stddef.h>

/* Calls work(arg) on `threads` threads, the calling one among them, and returns when all have; on
 * fewer where the system gives no more. 0 means one per processor that this process may use, and
 * there are never more than `most`. */
void tk_parallel(unsigned threads, size_t most, void (*work)(void *arg), void *arg);

#endif
