/*
 * embedding.h: embeddings as PostgreSQL's binary formats carry them. pgvector's vector is two int2
 * (dimensions, zero) and the floats; real[] is an array head and, for each number, its length and
 * itself. All big-endian.
 */
#ifndef STORAGE_EMBEDDING_H
#define STORAGE_EMBEDDING_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <libpq-fe.h>

enum embedding_form { EMBEDDING_REAL, EMBEDDING_VECTOR };

/* The statement that tells the form of vault."VaultEmbedding"."embedding", and its answer. */
extern const char embedding_form_query[];
enum embedding_form embedding_form_read(const PGresult *result);

void embedding_encode(struct buffer *buffer, enum embedding_form form, const float *vector);

/* Reads either form. Returns -1 when the bytes are neither, or not EMBEDDING_DIM numbers. */
int embedding_decode(const char *bytes, size_t length, float *vector);

/* Finite, and not all zero: what a cosine can be taken of. */
bool embedding_usable(const float *vector);

#endif
