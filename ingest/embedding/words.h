/*
 * words.h: the words of a text, in lower case.
 *
 * A word is a run of letters and digits; an apostrophe between two letters belongs to it, and an
 * English 's at its end is left out. Each ideograph is a word of its own. A run longer than
 * WORD_LETTERS (base64, hexadecimal) comes as several words.
 */
#ifndef INGEST_WORDS_H
#define INGEST_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { WORD_LETTERS = 40, WORD_BYTES = WORD_LETTERS * 4 };

struct word {
    char text[WORD_BYTES]; /* UTF-8, not NUL-terminated */
    size_t length;
    size_t letters;
    size_t digits; /* how many of the letters are ASCII digits */
    bool ideograph;
};

struct word_reader {
    const char *text;
    size_t length;
    size_t at;
};

/* Returns false at the end of the text. */
bool word_next(struct word_reader *reader, struct word *word);

/* How much a word tells, for want of a count of how many documents have it. */
enum word_rarity {
    WORD_FUNCTION, /* holds English or Danish sentences together: "the", "hvordan" */
    WORD_FREQUENT, /* stands in every other document about software: "file" */
    WORD_FAMILIAR, /* in every third: "buffer" */
    WORD_RARE      /* anything else */
};
enum word_rarity word_rarity(const struct word *word);

#endif
