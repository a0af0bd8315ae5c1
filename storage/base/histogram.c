#include "storage/base/histogram.h"

const struct histogram_scale histogram_calls = {
    16, {1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}};
const struct histogram_scale histogram_jobs = {
    15, {0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 14400, 43200}};

void histogram_init(struct histogram *histogram, const struct histogram_scale *scale)
{
    histogram->scale = scale;
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) atomic_init(&histogram->buckets[i], 0);
    atomic_init(&histogram->sum_ns, 0);
}

void histogram_observe(struct histogram *histogram, double seconds)
{
    const struct histogram_scale *scale = histogram->scale;
    size_t bucket = 0;
    if (!(seconds > 0)) seconds = 0;
    while (bucket < scale->count && seconds > scale->bounds[bucket]) bucket++;
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, (uint64_t)(seconds * 1e9), memory_order_relaxed);
}

void histogram_read(const struct histogram *histogram, struct histogram_values *values)
{
    *values = (struct histogram_values){.scale = histogram->scale};
    for (size_t i = 0; i <= histogram->scale->count; i++) {
        values->count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        values->buckets[i] = values->count;
    }
    values->sum = (double)atomic_load_explicit(&histogram->sum_ns, memory_order_relaxed) / 1e9;
}
