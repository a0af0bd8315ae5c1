#include "bench/trial.h"
#include "bench/progress.h"
#include "bench/statistics.h"

#include <stdlib.h>

enum sample { SAMPLE_QPS, SAMPLE_P50, SAMPLE_P95, SAMPLE_P99, SAMPLE_RATE, SAMPLES };

size_t trial_count(size_t queries, double pass_seconds, double seconds)
{
    double passes = pass_seconds > 0 ? seconds / pass_seconds : 1;
    size_t whole = passes < 1 ? 1 : passes > (double)LATENCIES ? LATENCIES : (size_t)passes;
    size_t most = LATENCIES / queries ? LATENCIES / queries : 1;
    size_t count = queries * (whole < most ? whole : most);
    return count < LATENCIES ? count : LATENCIES;
}

static int begin_churn(const struct trial *trial, tk_error *err)
{
    struct request request = {.task = TASK_CHURN, .rate = trial->churn};
    struct reply reply;
    return worker_ask(trial->worker, &request, &reply, err);
}

static int end_churn(const struct trial *trial, double *rate, tk_error *err)
{
    struct request request = {.task = TASK_CHURN_END};
    struct reply reply;
    if (worker_ask(trial->worker, &request, &reply, err) != 0) return -1;
    *rate = reply.rate;
    return 0;
}

static int measure_once(const struct trial *trial, const struct exchange *exchange,
                        double samples[SAMPLES], tk_error *err)
{
    struct request request = {.task = TASK_TIME,
                              .ef = trial->ef,
                              .threads = trial->threads,
                              .filter = trial->filter,
                              .bits = trial->bits,
                              .count = trial->count,
                              .most_seconds = trial->most_seconds,
                              .cpu_time = trial->cpu_time};
    struct reply reply;
    samples[SAMPLE_RATE] = 0;
    if (trial->churn && begin_churn(trial, err) != 0) return -1;
    if (worker_ask(trial->worker, &request, &reply, err) != 0) return -1;
    if (trial->churn && end_churn(trial, &samples[SAMPLE_RATE], err) != 0) return -1;
    sort_samples(exchange->latencies, reply.count);
    samples[SAMPLE_QPS] = reply.seconds > 0 ? (double)reply.count / reply.seconds : 0;
    samples[SAMPLE_P50] = percentile(exchange->latencies, reply.count, 0.50) / 1e3;
    samples[SAMPLE_P95] = percentile(exchange->latencies, reply.count, 0.95) / 1e3;
    samples[SAMPLE_P99] = percentile(exchange->latencies, reply.count, 0.99) / 1e3;
    return 0;
}

static void settle(struct trial *trial, double *values, unsigned repeats)
{
    trial->speed.qps = median(values + (size_t)SAMPLE_QPS * repeats, repeats);
    trial->speed.p50_us = median(values + (size_t)SAMPLE_P50 * repeats, repeats);
    trial->speed.p95_us = median(values + (size_t)SAMPLE_P95 * repeats, repeats);
    trial->speed.p99_us = median(values + (size_t)SAMPLE_P99 * repeats, repeats);
    trial->rate = median(values + (size_t)SAMPLE_RATE * repeats, repeats);
}

int trials_measure(struct trial *trials, size_t n, unsigned repeats,
                   const struct exchange *exchange, const char *what, tk_error *err)
{
    /* Per trial and kind of sample, a value for each repeat. */
    double *values = calloc(n * SAMPLES * repeats, sizeof(*values));
    if (!values && n) return fail(err, "memory ran out");
    int result = 0;
    for (unsigned repeat = 0; result == 0 && repeat < repeats; repeat++) {
        for (size_t i = 0; result == 0 && i < n; i++) {
            size_t turn = (i + repeat) % n;
            double samples[SAMPLES];
            progress("%s: repeat %u of %u, %zu of %zu", what, repeat + 1, repeats, i + 1, n);
            result = measure_once(&trials[turn], exchange, samples, err);
            for (size_t kind = 0; result == 0 && kind < SAMPLES; kind++)
                values[(turn * SAMPLES + kind) * repeats + repeat] = samples[kind];
        }
    }
    for (size_t i = 0; result == 0 && i < n; i++)
        settle(&trials[i], values + i * SAMPLES * repeats, repeats);
    free(values);
    return result;
}
