/*
 * embedding_input.h: reads the embeddings that clients send.
 *
 * Reading 1,536 numbers is most of the work of a search request, so that a scanner of our own does
 * it. Numbers come out within one unit in the last place of float32. All errors are ERR_INVALID
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
