/* updates.c: how fast searches are while the index changes, and while it grows. */
#include "bench/bench.h"
#include "bench/progress.h"
#include "bench/statistics.h"

#include <math.h>
#include <stdio.h>

/* ---- Removing and adding --------------------------------------------------------------------- */

enum { CHURN_RATE = 500, CHURN_LEAST_VECTORS = 1000 };
#define CHURN_SECONDS 1.5
#define CHURN_MOST_SECONDS 6.0

static int recall_during_churn(struct worker *worker, size_t ef, double *recall, tk_error *err)
{
    struct request begin = {.task = TASK_CHURN, .rate = CHURN_RATE};
    struct request check = {.task = TASK_CHURN_CHECK, .ef = ef};
    struct request end = {.task = TASK_CHURN_END};
    struct reply reply;
    if (worker_ask(worker, &begin, &reply, err) != 0) return -1;
    if (worker_ask(worker, &check, &reply, err) != 0) return -1;
    *recall = reply.recall;
    return worker_ask(worker, &end, &reply, err);
}

/* The recall of the index as it is now, whatever it was before. */
static int recall_now(const struct curve *curve, size_t ef, double *recall, tk_error *err)
{
    struct curve fresh = *curve;
    struct known known;
    fresh.count = 0;
    if (curve_at(&fresh, ef, &known, err) != 0) return -1;
    *recall = known.recall.value;
    return 0;
}

static void report_churn(struct bench *bench, const struct trial *idle, const struct trial *churned,
                         double during, double after)
{
    struct figure speed = {.name = "churn_qps",
                           .title = "searches per second while 500/s are removed and 500/s added",
                           .unit = "/s",
                           .engine = "tekup",
                           .value = churned->speed.qps,
                           .against = "idle",
                           .reference = idle->speed.qps};
    snprintf(speed.note, sizeof(speed.note),
             "%.0f/s removed and added, recall %.4f meanwhile, %.4f after", churned->rate, during,
             after);
    results_figure(&bench->results, &speed);
    struct figure p99 = {.name = "churn_p99",
                         .title = "p99 while 500/s are removed and 500/s added",
                         .unit = "us",
                         .engine = "tekup",
                         .value = churned->speed.p99_us,
                         .against = "idle",
                         .reference = idle->speed.p99_us};
    results_figure(&bench->results, &p99);
    if (churned->rate < 0.98 * CHURN_RATE)
        results_note(&bench->results,
                     "churn: the index took only %.0f removals and additions a second of the %d.",
                     churned->rate, CHURN_RATE);
}

int section_churn(struct bench *bench, tk_error *err)
{
    struct contender *own = &bench->contenders[0];
    struct known point;
    struct trial trials[2];
    double during, after;
    bool found;
    if (bench->exchange.base.count < CHURN_LEAST_VECTORS) {
        results_note(&bench->results, "churn: not measured on fewer than %d vectors.",
                     CHURN_LEAST_VECTORS);
        return 0;
    }
    if (bench_working_point(bench, own, "churn", &point, &found, err) != 0) return -1;
    if (!found) return 0;
    trials[0] = bench_trial(bench, own, &point, CHURN_SECONDS);
    trials[0].most_seconds = CHURN_MOST_SECONDS;
    trials[1] = trials[0];
    trials[1].churn = CHURN_RATE;
    if (trials_measure(trials, 2, bench->options->repeats, &bench->exchange, "removing and adding",
                       err) != 0)
        return -1;
    if (recall_during_churn(&own->worker, point.ef, &during, err) != 0) return -1;
    if (recall_now(&own->curve, point.ef, &after, err) != 0) return -1;
    report_churn(bench, &trials[0], &trials[1], during, after);
    return 0;
}

/* ---- Growing --------------------------------------------------------------------------------- */

enum { GROWTH_LEAST_VECTORS = 1000 };

struct growing {
    size_t added, searches;
    double seconds, p50_us, p99_us, longest_us;
    double recall; /* when all is in */
};

static void report_growth(struct results *results, const struct growing *growing)
{
    struct figure figure = {.name = "growth_p99",
                            .title = "p99 while the index grows to four times its size",
                            .unit = "us",
                            .engine = "tekup",
                            .value = growing->p99_us,
                            .against = "p50 meanwhile",
                            .reference = growing->p50_us};
    snprintf(figure.note, sizeof(figure.note),
             "%zu searches, the longest %.1f ms; %.0f/s added, recall %.4f after",
             growing->searches, growing->longest_us / 1e3,
             growing->seconds > 0 ? (double)growing->added / growing->seconds : 0, growing->recall);
    results_figure(results, &figure);
}

static int grow(struct bench *bench, struct worker *worker, size_t ef, struct growing *growing,
                tk_error *err)
{
    const size_t count = bench->exchange.base.count, first = count / 4;
    const struct peer_setup setup = bench_setup(bench, count);
    const struct curve curve = {.worker = worker,
                                .exchange = &bench->exchange,
                                .threads = 1,
                                .truth = &bench->exchange.truth,
                                .most_ef = ef};
    struct request build = {.task = TASK_BUILD, .count = first};
    struct request grow = {.task = TASK_GROW, .count = first, .ef = ef};
    struct reply reply;
    uint32_t *latencies = bench->exchange.latencies;
    progress("growing from %zu to %zu vectors", first, count);
    if (worker_start(worker, bench->contenders[0].peer, &setup, &bench->exchange, err) != 0)
        return -1;
    if (worker_ask(worker, &build, &reply, err) != 0) return -1;
    if (worker_ask(worker, &grow, &reply, err) != 0) return -1;
    sort_samples(latencies, reply.count);
    *growing = (struct growing){.added = count - first,
                                .searches = reply.count,
                                .seconds = reply.seconds,
                                .p50_us = percentile(latencies, reply.count, 0.50) / 1e3,
                                .p99_us = percentile(latencies, reply.count, 0.99) / 1e3,
                                .longest_us = percentile(latencies, reply.count, 1) / 1e3};
    return recall_now(&curve, ef, &growing->recall, err);
}

int section_growth(struct bench *bench, tk_error *err)
{
    struct known point;
    struct worker worker = {.socket = -1};
    bool found;
    if (bench->exchange.base.count < GROWTH_LEAST_VECTORS) {
        results_note(&bench->results, "growth: not measured on fewer than %d vectors.",
                     GROWTH_LEAST_VECTORS);
        return 0;
    }
    if (bench_working_point(bench, &bench->contenders[0], "growth", &point, &found, err) != 0)
        return -1;
    if (!found) return 0;
    struct growing growing;
    int result = grow(bench, &worker, point.ef, &growing, err);
    worker_stop(&worker);
    if (result == 0) report_growth(&bench->results, &growing);
    return result;
}
