/*
 * code.h: how a vector is kept.
 *
 * A vector of length 1 is first rotated by a fixed random rotation, after which its components are
 * alike: about normally distributed with variance 1 / n, whatever the vector was. Then each becomes
 * an integer of 12 bits in units of the vector's own `scale`: a coarse code of 8 bits, with which
 * the graph is built and walked, and a fine one of 4 bits, which is read only for the final order
 * of the few best. Similarities from both are within 0.0001 of the exact ones (the error of a
 * component is below scale / 32, and errors of different components cancel).
 *
 * The rotation is a product of random sign flips and Walsh-Hadamard transforms over overlapping
 * halves, four times each (Ailon and Chazelle, "The Fast Johnson-Lindenstrauss Transform", 2009;
 * the overlap for lengths that are no power of two is that of RaBitQ's library), so it takes n log
 * n steps and no matrix. It preserves inner products, so nothing but code_decode needs to undo it.
 *
 * A query is kept in three forms: as floats, in 16 bits for inner products with codes, and as
 * tables for the signs of neighbours (links.h).
 */
#ifndef ENGINE_CODE_H
#define ENGINE_CODE_H

#include "engine/kernels/kernels.h"

/* Components of a rotated vector: the dimension, padded with zeros to a multiple of 64, and to
 * 1,024 at least, since the errors of fewer components would not cancel well enough. */
#define CODE_LEAST 1024
#define CODE_STEP 64

struct coder {
    const struct kernels *kernels;
    uint32_t dim;
    uint32_t n;      /* components of a rotated vector */
    uint32_t half;   /* the largest power of two not above n: what is transformed at once */
    uint64_t *flips; /* 4 x n bits: which components change their sign */
};

/* A vector in codes, handed about by value: where its codes are, n coarse ones and n / 2 bytes of
 * fine ones, and the scale of a coarse unit. */
struct row {
    const int8_t *coarse;
    float scale;
};

/* The room for a query; it has no pointers to anything else. */
struct query {
    float *rotated;   /* n */
    int16_t *rounded; /* n, in units of `unit` */
    uint8_t *tables;  /* 4 n */
    float unit;
    float step, base; /* of the tables */
};

/* False when memory ran out. The rotation depends on dim alone. */
bool tk_coder_init(struct coder *coder, uint32_t dim, const struct kernels *kernels);
void tk_coder_destroy(struct coder *coder);

/* Bytes of a row's codes. */
static inline size_t tk_row_size(const struct coder *coder)
{
    return coder->n + coder->n / 2;
}

static inline const uint8_t *tk_row_fine(const struct coder *coder, struct row row)
{
    return (const uint8_t *)(row.coarse + coder->n);
}

/* Rotates a vector of dim floats into n. `from` and `to` may not overlap. */
void tk_code_rotate(const struct coder *coder, const float *from, float *to);

/* Turns a rotated vector into codes, which go to tk_row_size bytes; returns the row of them. */
struct row tk_code_encode(const struct coder *coder, const float *rotated, int8_t *codes);

/* The rotated vector that a row stands for, n floats. */
void tk_code_decode(const struct coder *coder, struct row row, float *rotated);

/* Undoes the rotation in place; the first dim floats are the vector. */
void tk_code_unrotate(const struct coder *coder, float *rotated);

/* Whether two rows are of one vector, apart from what normalising it twice can change. Such rows
 * are at least SAME_SIMILARITY similar, which is less to find out. */
#define SAME_SIMILARITY 0.999f
bool tk_code_same(const struct coder *coder, struct row a, struct row b);

/* Bytes that a query's arrays need. */
size_t tk_query_size(const struct coder *coder);
/* Lays the arrays out in memory of that size, aligned to 64. */
void tk_query_place(const struct coder *coder, struct query *query, void *memory);
/* Fills in the other forms of query->rotated. */
void tk_query_prepare(const struct coder *coder, struct query *query);

/* Similarities of two rows, and of a query and a row, by coarse codes: within about 0.001. */
static inline float tk_rows_similarity(const struct coder *coder, struct row a, struct row b)
{
    return (float)coder->kernels->dot_codes(a.coarse, b.coarse, coder->n) * a.scale * b.scale;
}

/* `ahead` are coarse codes that will be compared next. */
static inline float tk_coarse_similarity_ahead(const struct coder *coder, const struct query *query,
                                               struct row row, const int8_t *ahead)
{
    return (float)coder->kernels->dot_query(query->rounded, row.coarse, coder->n, ahead) *
           query->unit * row.scale;
}

static inline float tk_coarse_similarity(const struct coder *coder, const struct query *query,
                                         struct row row)
{
    return tk_coarse_similarity_ahead(coder, query, row, row.coarse);
}

/* Asks for the first of the codes that will be read at once; the processor brings the rest. */
static inline void tk_codes_prefetch(const int8_t *codes)
{
    for (size_t line = 0; line < 12; line++) __builtin_prefetch(codes + 64 * line);
}

/* The similarity of a query and a row by all their bits. It is the same whichever kernels compute
 * it, since all sums before the end are of integers. */
static inline float tk_fine_similarity(const struct coder *coder, const struct query *query,
                                       struct row row)
{
    const uint8_t *nibbles = tk_row_fine(coder, row);
    const int64_t coarse =
        coder->kernels->dot_query(query->rounded, row.coarse, coder->n, row.coarse);
    const int64_t fine = coder->kernels->dot_nibbles(query->rounded, nibbles, coder->n);
    return (float)((double)(16 * coarse + fine) * ((double)query->unit * row.scale / 16));
}

#endif
