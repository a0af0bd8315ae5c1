/* exchange.h: what all measured processes have in common: the data, and the memory answers go to.
 */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include "bench/exact.h"

/* Only one process works at a time; the one that asked it reads what it left here. */
struct exchange {
    struct vectors base, queries;
    size_t k;
    struct neighbours truth; /* without a filter, TRUTH_EXTRA deeper than k */
    uint8_t *keep;           /* per id, a bit for each filter that it passes */
    tk_hit *hits;            /* queries x k */
    size_t *found;           /* per query */
    uint32_t *latencies;     /* in nanoseconds, of the searches of the last request in order */
    void *memory;            /* that the arrays are cut from */
    size_t bytes;
};

enum { LATENCIES = 1 << 20, TRUTH_EXTRA = 54 };

/* Takes over base and queries, makes the arrays. */
int exchange_create(struct vectors *base, struct vectors *queries, size_t k,
                    struct exchange *exchange, tk_error *err);
void exchange_free(struct exchange *exchange);

#endif
