/*
 * text.h: text from outside made fit for a terminal.
 *
 * Documents, paths and messages may hold anything. What a terminal would act on (control
 * characters, C1 controls, marks that turn the direction of writing) and what is not UTF-8 becomes
 * U+FFFD before it is shown, so that no document can move the cursor or rename the window.
 */
#ifndef TEKUP_TEXT_H
#define TEKUP_TEXT_H

#include "storage/base/buffer.h"

#include <stddef.h>

enum text_lines {
    TEXT_ONE_LINE, /* line ends and tabs become spaces */
    TEXT_LINES     /* '\n' and '\t' stay */
};

/* Chooses the character tables that the functions below use; called once at start. */
void text_init(void);

/* One character: its code point, U+FFFD for a byte that is not UTF-8; *size is the bytes used. */
unsigned text_decode(const char *text, size_t length, size_t *size);

/* Lower case, for comparing. */
unsigned text_lower(unsigned code);

/* Whether a character is part of a word. */
int text_is_word(unsigned code);

/* Appends the text as it may be shown. */
void text_clean(struct buffer *out, const char *text, size_t length, enum text_lines lines);

/* Columns that clean text takes on a terminal: two for wide characters, none for combining ones. */
int text_width(const char *text, size_t length);

/* Bytes of clean text that fit into so many columns. */
size_t text_fit(const char *text, size_t length, int columns);

/* Appends JSON with the characters that a terminal could act on escaped (\u009b). The document it
 * stands for is the same. */
void text_json(struct buffer *out, const char *json, size_t length);

#endif
