/*
 * letters.h: which characters make up words, and their lower case, the same on every machine and in
 * every locale.
 *
 * Covers the scripts in which European languages are written (Latin, Greek, Cyrillic, Armenian);
 * characters of any other script are letters without case. Punctuation, symbols and emoji are no
 * letters.
 */
#ifndef INGEST_LETTERS_H
#define INGEST_LETTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at text, of valid UTF-8; *step becomes its length in bytes. A byte that is not
 * part of valid UTF-8 is U+FFFD of length 1. */
uint32_t letter_decode(const char *text, size_t length, size_t *step);

/* Letters, digits and combining marks. */
bool letter_is(uint32_t point);

/* Of a script that is written without spaces between words, where each character is much of a word:
 * Chinese characters, Japanese kana. */
bool letter_is_ideograph(uint32_t point);

uint32_t letter_lower(uint32_t point);

#endif
