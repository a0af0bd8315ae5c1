/* growth.h: searching while an index grows. */
#ifndef BENCH_GROWTH_H
#define BENCH_GROWTH_H

#include "bench/exchange.h"
#include "bench/peer.h"

/* Adds the base's vectors from row `first` on to an index that holds the ones before, one by one
 * from one thread, while another searches without a pause. The latencies of the searches are left
 * in exchange->latencies (of the first LATENCIES; *searches says how many), *seconds is what the
 * adding took. */
int growth_run(const struct peer *peer, void *index, const struct exchange *exchange, size_t first,
               size_t *searches, double *seconds, tk_error *err);

#endif
