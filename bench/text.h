/* text.h: numbers and names as reports show them. */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <stddef.h>

enum { NUMBER_SIZE = 40 };

/* Three or more digits that matter: 12,345  123  12.3  1.23  0.0123; "-" for NaN. Returns out. */
const char *text_number(double value, char out[NUMBER_SIZE]);

/* A whole number with commas: 50,000. Returns out. */
const char *text_count(size_t value, char out[NUMBER_SIZE]);

/* Replaces control characters and bytes that are not UTF-8 by '?', in place, so that the text can
 * stand in JSON and XML. */
void text_clean(char *text);

/* Shortens UTF-8 text to `most` characters, in place, three dots standing for what is
 * cut off; most is 4 or more. */
void text_cut(char *text, size_t most);

/* The number of characters of UTF-8 text. */
size_t text_width(const char *text);

#endif
