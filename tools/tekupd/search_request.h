/*
 * search_request.h: what one search asks for, read from JSON, or from octets and parameters.
 */
#ifndef TEKUPD_SEARCH_REQUEST_H
#define TEKUPD_SEARCH_REQUEST_H

#include "ingest/embedding/embed.h"
#include "storage/base/error.h"
#include "storage/vault.h"

#include <stdbool.h>
#include <stddef.h>

enum { INCLUDE_CHUNK = 1, INCLUDE_CONTENT = 2, INCLUDE_METADATA = 4 };

struct search_request {
    char *query; /* the text that is still to be embedded; NULL where vector is there */
    float vector[EMBEDDING_DIM];
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

/* Embeds the query where there is one, which may take as long as the provider does. Errors: those
 * of embed_perform. */
int search_request_embed(struct search_request *request, struct embedder *embedder,
                         struct error *err);

/* The body is the embedding, the rest are parameters. */
int search_request_from_octets(const char *bytes, size_t length, const char *query,
                               struct search_request *out, struct error *err);

void search_request_free(struct search_request *request);

#endif
