/*
 * text_query.h: what somebody typed, as full-text search takes it.
 *
 *     words          each of them
 *     "some words"   these words one after another
 *     wor*           words that begin so
 *     -word          no passage with it; -"some words" likewise
 *
 * There is no wrong query: what cannot be read so is read as words, and what has no letters or
 * digits in it counts for nothing. A word with punctuation inside (snake_case, a path) stands for
 * its parts one after another.
 *
 * Which stems the words have is PostgreSQL's to say (storage/vault/vault_text.h): a query is
 * parsed, then looked up, then used. Not locked.
 */
#ifndef TEKUPD_TEXT_QUERY_H
#define TEKUPD_TEXT_QUERY_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/vault/vault_text.h"

#include <stdbool.h>
#include <stddef.h>

struct text_term {
    char *text;
    bool phrase, prefix, without;
    bool common;  /* holds sentences together; asked for only where there is nothing else */
    float weight; /* how much it tells */
    struct vault_words words; /* once looked up, at least one */
};

struct text_query {
    struct text_term *terms;
    size_t count;
    bool marked; /* something of it is a phrase, a prefix or not wanted */
    bool looked_up;
};

/* At most so many terms are read, and by so many of them what is found is ranked. */
enum { TEXT_TERMS = 256, TEXT_PARTS = 16 };

/* text_query_free is called in any case. Errors: ERR_INTERNAL (memory). */
int text_query_parse(const char *text, struct text_query *query, struct error *err);
void text_query_free(struct text_query *query);

/* What is wanted, without the marks: what there is to embed. The caller frees it; NULL when memory
 * ran out, "" where there is nothing. */
char *text_query_plain(const struct text_query *query);

/* Asks for the stems, once. Errors: those of vault_list_words. */
int text_query_look_up(struct text_query *query, struct pool *pool, struct error *err);

/* The same with words that are there already, a list for each term, which are taken over: terms
 * without any, and those that are there twice, are left out. */
void text_query_take(struct text_query *query, struct vault_words *lists);

/* ---- As PostgreSQL's tsquery; these return false where nothing is asked for ---- */

/* Everything that is wanted, and nothing that is not. */
bool text_query_all(const struct text_query *query, struct buffer *out);
/* All phrases; where there is none, any of the terms that tell most. Nothing that is not wanted. */
bool text_query_any(const struct text_query *query, struct buffer *out);
/* What every result has to match, however it was found: phrases, and what is not wanted. */
bool text_query_strict(const struct text_query *query, struct buffer *out);

/* The terms to rank by, at most TEXT_PARTS, those that tell most first; returns how many. */
size_t text_query_parts(const struct text_query *query, const struct text_term **parts);
void text_query_part(const struct text_term *term, struct buffer *out);

/* ---- Highlighting ---- */

/* Which words of a text it takes to know what to highlight. The lists are the caller's to free, the
 * words in them the query's. */
int text_query_wanted(const struct text_query *query, struct vault_wanted *wanted,
                      struct error *err);

struct text_range {
    size_t start, end; /* bytes, end exclusive */
};

/* Where a text has what is wanted: ranges in their order, which do not touch. words are those of
 * text_query_wanted. The caller frees *ranges. */
int text_query_find(const struct text_query *query, const struct vault_words *words,
                    struct text_range **ranges, size_t *count, struct error *err);

#endif
