#include "bench/exchange.h"

int exchange_create(struct vectors *base, struct vectors *queries, size_t k,
                    struct exchange *exchange, tk_error *err)
{
    *exchange = (struct exchange){.base = *base, .queries = *queries, .k = k};
    *base = *queries = (struct vectors){0};
    const size_t asked = exchange->queries.count;
    const size_t hits = asked * k * sizeof(tk_hit), found = asked * sizeof(size_t);
    const size_t latencies = LATENCIES * sizeof(uint32_t);
    exchange->bytes = hits + found + latencies + exchange->base.count;
    exchange->memory = shared_allocate(exchange->bytes);
    if (!exchange->memory) return fail(err, "memory ran out");
    char *memory = exchange->memory;
    exchange->hits = (tk_hit *)memory;
    exchange->found = (size_t *)(memory + hits);
    exchange->latencies = (uint32_t *)(memory + hits + found);
    exchange->keep = (uint8_t *)(memory + hits + found + latencies);
    return neighbours_allocate(asked, k + TRUTH_EXTRA, &exchange->truth, err);
}

void exchange_free(struct exchange *exchange)
{
    neighbours_free(&exchange->truth);
    shared_free(exchange->memory, exchange->bytes);
    vectors_free(&exchange->base);
    vectors_free(&exchange->queries);
    *exchange = (struct exchange){0};
}
