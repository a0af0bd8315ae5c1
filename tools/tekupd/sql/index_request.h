/*
 * index_request.h: what vault.match_documents asks of the index, in one line:
 *
 *   SEARCH secret limit threshold source repository embedding
 *
 * source and repository are '-' for any, or '=' and the hexadecimal digits of the text; embedding
 * is the base64 of the vector in PostgreSQL's binary format, that of real[] or that of pgvector.
 */
#ifndef TEKUPD_INDEX_REQUEST_H
#define TEKUPD_INDEX_REQUEST_H

#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <stddef.h>

enum { INDEX_LIMIT_MOST = 10000 };

struct index_request {
    char secret[64];
    size_t limit;    /* 1 to INDEX_LIMIT_MOST */
    float threshold; /* -1 to 1 */
    char *source, *repository;
    float vector[EMBEDDING_DIM];
};

/* index_request_free is called in any case. Errors: ERR_INVALID; with the field "embedding" where
 * the line is right and the vector cannot be searched for. */
int index_request_read(const char *text, struct index_request *out, struct error *err);
void index_request_free(struct index_request *request);

#endif
