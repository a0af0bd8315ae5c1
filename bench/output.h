/*
 * output.h: a file that is there whole or not at all.
 *
 * It is opened before the measuring begins, so that a name that cannot be written is refused before
 * the long wait and not after it, and takes its name only when it is complete.
 */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include "bench/failure.h"

#include <limits.h>
#include <stdio.h>

/* The path that stands for standard output. */
#define OUTPUT_STANDARD "-"

struct output {
    const char *path; /* NULL: not wanted */
    FILE *stream;
    char temporary[PATH_MAX]; /* empty where path is no regular file and is written directly */
};

/* path may be NULL, and stays the caller's. */
int output_open(struct output *output, const char *path, tk_error *err);

/* Completes the file and puts it in its place. */
int output_commit(struct output *output, tk_error *err);

/* Drops what was not committed. */
void output_discard(struct output *output);

#endif
