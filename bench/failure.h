/*
 * failure.h: how a function of the benchmark says what went wrong.
 *
 * A function that can fail returns 0, or -1 after filling in the engine's own tk_error, so that the
 * message of the engine and the benchmark's travel the same way.
 */
#ifndef BENCH_FAILURE_H
#define BENCH_FAILURE_H

#include <tekup/index.h>

/* Fills *err in (NULL is allowed) and returns -1, so that a caller can `return fail(...)`. */
int fail(tk_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
