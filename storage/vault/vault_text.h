/*
 * vault_text.h: full-text search over the passages of the vault, by PostgreSQL.
 *
 * tekupdb."ChunkWords" has the words of every passage; triggers keep it for whoever writes
 * (migrations/0016_words.sql). Words are compared by their stems, as vault_list_words gives them;
 * queries are PostgreSQL's tsquery in its text form, of such stems. Same rules as vault.h.
 */
#ifndef STORAGE_VAULT_TEXT_H
#define STORAGE_VAULT_TEXT_H

#include "storage/vault/vault.h"
#include "storage/vault/vault_search.h"

struct vault_word {
    size_t place;         /* among the words of its text, from 1 */
    size_t start, length; /* bytes of the text */
    char *word;           /* in lower case */
    char *stem;
};

struct vault_words {
    struct vault_word *words;
    size_t count;
};
void vault_words_free(struct vault_words *list); /* what it points to, not itself */

/* Which words are wanted: those of these stems, and those that begin so. */
struct vault_wanted {
    const char *const *stems;
    size_t stem_count;
    const char *const *prefixes;
    size_t prefix_count;
};

/* The words of each text (valid UTF-8), of its first 128 KiB; `wanted` may be NULL: all. lists has
 * room for `count`. */
int vault_list_words(struct pool *pool, const char *const *texts, size_t count,
                     const struct vault_wanted *wanted, struct vault_words *lists,
                     struct error *err);

/* A part of a query, by which passages are ranked. */
struct vault_part {
    const char *query;
    float weight;
};

struct vault_text_search {
    const char *query; /* what a passage has to match */
    const struct vault_part *parts;
    size_t part_count;
    size_t limit; /* 1 to 2,000 */
    bool chunks;  /* every passage; otherwise the best one of each document */
    const char *source, *repository, *path_prefix; /* NULL: any */
    const char *metadata; /* JSON that the documents' metadata contains (@>); NULL: any */
};

/* Of a query that more passages match, so many are ranked. */
enum { VAULT_TEXT_RANKED = 10000 };

/* What matches, best first (equal ones by the embedding's id); `similarity` of a hit is its rank, a
 * number over 0. *hits is released by vault_hits_free. Errors: ERR_INVALID (field "metadata"). */
int vault_text_search(struct pool *pool, const struct vault_text_search *search,
                      struct vault_hit **hits, size_t *found, struct error *err);

/* Sets passes[i] where the passage of the i-th embedding matches the query. */
int vault_text_match(struct pool *pool, const char *query, const int64_t *embedding_ids,
                     size_t count, bool *passes, struct error *err);

/* Makes the words of the next few passages that were there before there were words. *complete: all
 * are made. */
int vault_text_fill(struct pool *pool, bool *complete, struct error *err);

#endif
