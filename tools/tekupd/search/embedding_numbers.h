/*
 * embedding_numbers.h: reads arrays of numbers, the form in which most clients send an embedding.
 *
 * Reading 1,536 numbers is most of the work of a search request, so that a scanner of our own does
 * it: one that takes a number after the other and knows every form and every error, and beside it
 * readers for whole arrays, once per instruction set, which are chosen at run time. Each number
 * comes out as the float32 that is nearest to it, as strtof has it, by whichever way it is read. No
 * byte outside the text is read. All functions may be called by several threads at once.
 */
#ifndef TEKUPD_EMBEDDING_NUMBERS_H
#define TEKUPD_EMBEDDING_NUMBERS_H

#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <stdbool.h>
#include <stddef.h>

/* The field that errors name. */
extern const char embedding_field[];

/* ---- One number after the other -------------------------------------------------------------- */

enum number_read { NUMBER_READ, NUMBER_NONE, NUMBER_INFINITE };

/* Reads the number that begins at *at, without white space, and moves *at behind it. Something that
 * is not part of it must follow before the end: without that it is NUMBER_NONE. */
enum number_read embedding_number(const char **at, const char *end, float *out);

/* The first place from `at` on that is not white space, or end. */
const char *embedding_skip_space(const char *at, const char *end);

/* ---- Whole arrays ---------------------------------------------------------------------------- */

struct number_reader {
    const char *name;
    bool (*usable)(void); /* whether this machine can run it */

    /* Reads an array of EMBEDDING_DIM finite numbers. False where the text, which begins with a
     * bracket, is anything else; what is in out then is of no use. NULL: there is no such function,
     * and the numbers are read one after the other. */
    bool (*read)(const char *text, size_t length, float out[EMBEDDING_DIM]);
};

#if defined(__x86_64__)
extern const struct number_reader number_reader_avx512;
#endif

/* The i-th reader that this machine can run, best first; NULL past the last. */
const struct number_reader *number_reader_usable(size_t i);

/* Reads an array with one of them. The text begins with a bracket. Errors are ERR_INVALID. */
int embedding_array(const struct number_reader *reader, const char *text, size_t length,
                    float out[EMBEDDING_DIM], struct error *err);

#endif
