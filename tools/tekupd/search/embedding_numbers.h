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
#include <stdint.h>

/* The field that errors name. */
extern const char embedding_field[];

/* ---- Whole arrays ---------------------------------------------------------------------------- */

/*
 * Where a number ends cannot be foretold, and to branch on it takes longer than to read the number:
 * so readers do not. First all commas are found. A number is then looked at through a window of 32
 * bytes that ends at its comma, and which of them are digits, its point, its sign or spaces
 * before it become a word of 32 bits each, the byte before the comma the highest one. With these
 * words many numbers at a time are checked for their form. Then the digits before the point
 * are moved on by one place, which closes the gap, and the last 24 places become numbers, several
 * at a time. The few that do not fit (with an exponent, for example) are read by themselves, as
 * are the first ones, whose windows would begin before the text.
 */

/* The bytes of a window, the numbers that are read at a time, the bytes that are looked through for
 * commas at a time. */
enum { NUMBER_WINDOW = 32, NUMBER_GROUP = 64, NUMBER_BLOCK = 64 };

struct number_reader {
    const char *name;
    bool (*usable)(void); /* whether this machine can run it */

    /* Writes the places of the commas in the text, in their order; false where they are not just
     * those between EMBEDDING_DIM elements. ends has room for a NUMBER_BLOCK more. NULL, as is the
     * other function then: numbers are read one after the other. */
    bool (*find_commas)(const char *text, size_t length, uint32_t *ends);

    /* Reads a NUMBER_GROUP of numbers. Each ends before its ends[i] and begins behind ends[i - 1],
     * and no ends[i] is within the text's first NUMBER_WINDOW + 1 bytes. Bit i of what is returned
     * says that number i has to be read by itself, whether it is one or not. */
    uint64_t (*read_group)(const char *text, const uint32_t *ends, float *out);
};

/* What digits are to be multiplied with that have so many behind the point. The last one is 1: a
 * number without a point has no bit for it in its word, so that NUMBER_WINDOW zeros are counted. */
extern const double number_tenths[NUMBER_WINDOW + 1];

#if defined(__x86_64__)
extern const struct number_reader number_reader_avx512;
extern const struct number_reader number_reader_avx2;
#endif

/* The i-th reader that this machine can run, best first; NULL past the last. */
const struct number_reader *number_reader_usable(size_t i);

/* Reads an array with one of them. The text begins with a bracket. Errors are ERR_INVALID. */
int embedding_array(const struct number_reader *reader, const char *text, size_t length,
                    float out[EMBEDDING_DIM], struct error *err);

#endif
