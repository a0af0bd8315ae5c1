#include "bench/bench.h"

struct peer_setup bench_setup(const struct bench *bench, size_t count)
{
    return (struct peer_setup){.vectors = bench->exchange.base.data,
                               .count = count,
                               .dim = bench->exchange.base.dim,
                               .threads = bench->options->threads,
                               .dsn = bench->options->pgvector_dsn};
}

int bench_working_point(struct bench *bench, struct contender *contender, const char *section,
                        struct known *point, bool *found, tk_error *err)
{
    if (curve_smallest(&contender->curve, WORKING_RECALL, point, found, err) != 0) return -1;
    if (!*found)
        results_note(&bench->results,
                     "%s: not measured for %s, since no setting of it reaches recall %.2f.",
                     section, contender->peer->name, WORKING_RECALL);
    return 0;
}

struct trial bench_trial(const struct bench *bench, struct contender *contender,
                         const struct known *point, double seconds)
{
    double pass = point->seconds * bench->options->threads;
    return (struct trial){.worker = &contender->worker,
                          .ef = point->ef,
                          .threads = 1,
                          .count = trial_count(bench->exchange.queries.count, pass, seconds),
                          .most_seconds = REPEAT_MOST_SECONDS,
                          .cpu_time = bench->options->cpu_time};
}
