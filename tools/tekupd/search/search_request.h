/*
 * search_request.h: what one search asks for, read from JSON, or from octets and parameters.
 */
#ifndef TEKUPD_SEARCH_REQUEST_H
#define TEKUPD_SEARCH_REQUEST_H

#include "ingest/embedding/embed.h"
#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <stdbool.h>
#include <stddef.h>

enum { INCLUDE_CHUNK = 1, INCLUDE_CONTENT = 2, INCLUDE_METADATA = 4, INCLUDE_HIGHLIGHTS = 8 };

/* By the vectors, by the words, or by both. */
enum search_mode { MODE_UNSAID, MODE_VECTOR, MODE_TEXT, MODE_HYBRID };

struct search_request {
    enum search_mode mode;
    char *query; /* NULL where there is only a vector */
    char *plain; /* what of it is to be embedded; NULL: all */
    bool has_vector;
    float vector[EMBEDDING_DIM];
    bool chunks;      /* every chunk is a result; otherwise the best one of each document */
    double diversity; /* 0 to 1 */
    size_t limit;
    size_t ef;       /* 0: not given */
    float threshold; /* -infinity: not given */
    char *source, *repository, *path_prefix;
    char *metadata; /* JSON text of an object */
    int include;
};

/* text is the JSON body of a search. search_request_free is called in any case. Errors: ERR_INVALID
 * with the field. */
int search_request_from_json(const char *text, size_t length, struct search_request *out,
                             struct error *err);

/* Embeds the query where there is no vector yet, which may take as long as the provider does.
 * Errors: those of embed_perform. */
int search_request_embed(struct search_request *request, struct embedder *embedder,
                         struct error *err);

/* As requests and answers spell it. */
const char *search_mode_name(enum search_mode mode);

/* The body is the embedding, the rest are parameters. */
int search_request_from_octets(const char *bytes, size_t length, const char *query,
                               struct search_request *out, struct error *err);

void search_request_free(struct search_request *request);

#endif
