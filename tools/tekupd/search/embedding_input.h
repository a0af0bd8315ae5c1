/*
 * embedding_input.h: reads the embeddings that clients send.
 *
 * Numbers come out as the float32 nearest to them (embedding_numbers.h). All errors are ERR_INVALID
 * with field "embedding": not EMBEDDING_DIM numbers, not finite as float32, the zero vector.
 */
#ifndef TEKUPD_EMBEDDING_INPUT_H
#define TEKUPD_EMBEDDING_INPUT_H

#include "storage/base/error.h"
#include "storage/vault/vault.h"

#include <stddef.h>

/* A JSON value: an array of numbers, or a string with the base64 of little-endian float32. */
int embedding_from_json(const char *text, size_t length, float out[EMBEDDING_DIM],
                        struct error *err);

/* Little-endian float32. */
int embedding_from_octets(const char *bytes, size_t length, float out[EMBEDDING_DIM],
                          struct error *err);

#endif
