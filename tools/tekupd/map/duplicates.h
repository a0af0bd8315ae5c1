/*
 * duplicates.h: passages of other documents that say nearly the same.
 */
#ifndef TEKUPD_DUPLICATES_H
#define TEKUPD_DUPLICATES_H

#include "tools/tekupd/mirror/replica.h"

/* From this similarity on. */
#define DUPLICATES_FROM 0.98f

/* The embeddings of other documents that are nearly the same as this one, whose vector is
 * `vector`, best first, at most `limit`; *found of them go to hits. */
int duplicates_find(struct replica *replica, int64_t embedding, const float *vector, size_t limit,
                    tk_hit *hits, size_t *found, struct error *err);

/* Whether there is any, and which one: *other. With less effort, for those who ask of all
 * embeddings: one in many may be missed. */
int duplicates_any(struct replica *replica, int64_t embedding, const float *vector, bool *any,
                   int64_t *other, struct error *err);

#endif
