/*
 * vector.h: checking and normalising what the caller gives.
 */
#ifndef ENGINE_VECTOR_H
#define ENGINE_VECTOR_H

#include "engine/kernels/kernels.h"
#include "engine/status.h"

/* What is wrong with a vector, in the engine's terms: TK_OK, TK_ENONFINITE or TK_EZERO. The message
 * begins with `what`, e.g. "vector" or "vector 17". */
tk_status tk_vector_check(const struct kernels *kernels, const float *vector, uint32_t dim,
                          const char *what, tk_error *error);

/* Writes the vector with length 1 to out; checks it first. */
tk_status tk_vector_normalise(const struct kernels *kernels, const float *vector, uint32_t dim,
                              const char *what, float *out, tk_error *error);

#endif
