/*
 * search.h: one search, from what was asked for to its hits.
 *
 * By the vectors a search asks the mirror, or pgvector with search.backend = postgres; by the words
 * it asks PostgreSQL. A hybrid search does both and fuses the two orders by reciprocal rank. Which
 * texts the hits have is fetched later (api_search.c).
 */
#ifndef TEKUPD_SEARCH_H
#define TEKUPD_SEARCH_H

#include "storage/vault/vault_search.h"
#include "tools/tekupd/mirror/catalog.h"
#include "tools/tekupd/search/search_request.h"
#include "tools/tekupd/search/text_query.h"

struct daemon;
struct replica;

struct search_highlights {
    struct text_range *ranges;
    size_t count;
};

struct search {
    struct search_request wanted;
    struct text_query text; /* of the query, where its words are asked for */
    char **matching;        /* ids of the documents that match the metadata filter */
    size_t match_count;
    struct catalog_hits found;
    struct {
        struct vault_hit *hits;
        size_t count;
    } stored[2]; /* what the hits point into where the database found them: by vector, by words */
    struct passage *passages; /* one for each that was found; NULL where they were not fetched */
    struct search_highlights
        *highlights;       /* one for each that was found; NULL where nothing is known */
    struct error missing;  /* why not */
    struct error wordless; /* why a hybrid search went by the vectors alone */
    bool words_lack;       /* the words of some passages were not there yet */
    struct error err;      /* why the search failed */
};

/* What it points to, not itself. */
void search_free(struct search *search);

/* What was fetched for the hits. */
void search_drop_passages(struct search *search);

/* Settles the mode (by_hash: an unsaid one of a text is hybrid) and reads the query. On failure err
 * of the search is set. */
void search_prepare(struct search *search, bool by_hash);

/* Whether it needs its query embedded, and whether it asks for words. */
bool search_has_vector(const struct search *search);
bool search_has_words(const struct search *search);

/* Finds the hits, once the query is embedded. replica may be NULL (ERR_UNAVAILABLE, but for a
 * search by words); where the daemon has no mirror, model is whose embeddings pgvector compares
 * with, and the search may fail with ERR_CONFLICT (model_differs), to be embedded and run again. By
 * the words it may wait for PostgreSQL, unless wordless is set. Errors are the search's. */
void search_run(struct daemon *daemon, struct replica *replica, const char *model,
                struct search *search);

#endif
