/*
 * paid.h: embeddings that a server has given and whose documents are not written yet. Texts of many
 * documents are embedded in one call, and each document is written by itself: what has not been
 * when the daemon is killed is found here by the next sync. Same rules as vault.h.
 */
#ifndef STORAGE_PAID_H
#define STORAGE_PAID_H

#include "storage/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct paid_text {
    const uint8_t *hash;    /* SHA256_SIZE bytes */
    const float *embedding; /* EMBEDDING_DIM floats */
};

/* Keeps them, and lets those go that have been written for some seconds. */
int paid_keep(struct pool *pool, const char *model, const struct paid_text *texts, size_t count,
              struct error *err);

/* For each hash (SHA256_SIZE bytes each) that is not found yet and kept here: copies its embedding
 * to embeddings + i * EMBEDDING_DIM and sets found[i]. */
int paid_find(struct pool *pool, const char *model, const uint8_t *hashes, size_t count,
              float *embeddings, bool *found, struct error *err);

/* Lets everything go that has been written, and what nobody has asked for in a week. */
int paid_sweep(struct pool *pool, struct error *err);

#endif
