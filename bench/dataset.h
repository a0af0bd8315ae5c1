/*
 * dataset.h: reading files of vectors.
 *
 *     raw-i8   one signed byte per component, no header; the dimension is told
 *     raw-f32  one little-endian float32 per component, no header; the dimension is told
 *     fvecs    per vector its dimension as int32, then that many float32 (TEXMEX)
 *     fbin     the count and the dimension as uint32, then the float32 (Big-ANN)
 *
 * Vectors come out with length 1. A file that is empty, truncated or longer than it says, and a
 * vector that is not finite or has no direction, are refused with the position.
 */
#ifndef BENCH_DATASET_H
#define BENCH_DATASET_H

#include "bench/vectors.h"

enum format { FORMAT_BY_NAME, FORMAT_RAW_I8, FORMAT_RAW_F32, FORMAT_FVECS, FORMAT_FBIN };

/* Parses "raw-i8", "raw-f32", "fvecs" or "fbin"; returns -1 for another word. */
int format_parse(const char *word, enum format *format);

/* The dimension of raw files where none is told. */
enum { DEFAULT_DIM = 1536, MOST_DIM = 65536 };

/* Reads a file whole. FORMAT_BY_NAME goes by the name's end: .i8, .f32, .fvecs, .fbin. dim is the
 * dimension to expect, or 0: for raw files DEFAULT_DIM, for the others what the file says. */
int dataset_read(const char *path, enum format format, size_t dim, struct vectors *vectors,
                 tk_error *err);

#endif
