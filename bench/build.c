/* build.c: builds every engine's index: how long it takes, and what memory it holds then. */
#include "bench/bench.h"
#include "bench/progress.h"
#include "bench/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A build that takes longer is measured once: it is long enough to even out what disturbs it. */
#define LONG_SECONDS 90.0

struct measured {
    unsigned count;
    double seconds[MOST_REPEATS], resident[MOST_REPEATS], own[MOST_REPEATS];
};

/* Builds the contender's index in a new process, which stays for the searches to come. */
static int build_once(struct bench *bench, struct contender *contender, struct measured *measured,
                      tk_error *err)
{
    const unsigned repeat = measured->count;
    const size_t count = bench->exchange.base.count;
    const struct peer_setup setup = bench_setup(bench, count);
    struct request request = {
        .task = TASK_BUILD, .count = count, .cpu_time = bench->options->cpu_time};
    struct reply reply;
    progress("building %s's index of %zu vectors: repeat %u", contender->peer->name, count,
             repeat + 1);
    worker_stop(&contender->worker);
    if (worker_start(&contender->worker, contender->peer, &setup, &bench->exchange, err) != 0)
        return -1;
    if (worker_ask(&contender->worker, &request, &reply, err) != 0) return -1;
    measured->seconds[repeat] = reply.seconds;
    measured->resident[repeat] = (double)reply.resident;
    measured->own[repeat] = (double)reply.own;
    measured->count++;
    if (reply.kernel[0])
        snprintf(bench->results.kernel, sizeof(bench->results.kernel), "%s", reply.kernel);
    return 0;
}

static void report_built(struct bench *bench, struct contender *contender,
                         struct measured *measured)
{
    const unsigned repeats = measured->count;
    const double count = (double)bench->exchange.base.count;
    const double own = median(measured->own, repeats);
    struct built built = {.engine = contender->peer->name,
                          .seconds = median(measured->seconds, repeats),
                          .threads = bench->options->threads,
                          .repeats = repeats,
                          .bytes_per_vector = median(measured->resident, repeats) / count,
                          .own_bytes_per_vector = own > 0 ? own / count : NAN,
                          .vectors = bench->exchange.base.count};
    contender->build_seconds = built.seconds;
    results_built(&bench->results, &built);
}

static void report_figures(struct results *results)
{
    const struct built *baseline = results_index(results, BASELINE);
    for (size_t i = 0; i < results->builds_count; i++) {
        const struct built *built = &results->builds[i];
        struct figure figure = {.name = "build_seconds",
                                .title = "build time",
                                .unit = "s",
                                .engine = built->engine,
                                .value = built->seconds,
                                .against = BASELINE,
                                .reference = baseline ? baseline->seconds : NAN};
        if (built->repeats == 1)
            snprintf(figure.note, sizeof(figure.note), "%u threads, built once", built->threads);
        else
            snprintf(figure.note, sizeof(figure.note), "%u threads, median of %u builds",
                     built->threads, built->repeats);
        results_figure(results, &figure);
    }
    for (size_t i = 0; i < results->builds_count; i++) {
        const struct built *built = &results->builds[i];
        struct figure figure = {.name = "bytes_per_vector",
                                .title = "resident memory per vector",
                                .unit = "bytes",
                                .engine = built->engine,
                                .value = built->bytes_per_vector,
                                .against = BASELINE,
                                .reference = baseline ? baseline->bytes_per_vector : NAN};
        if (strcmp(built->engine, "pgvector") == 0)
            snprintf(figure.note, sizeof(figure.note), "of table and index, on disk");
        else if (built->own_bytes_per_vector > 0)
            snprintf(figure.note, sizeof(figure.note), "%.0f by the index's own account",
                     built->own_bytes_per_vector);
        results_figure(results, &figure);
    }
}

int section_build(struct bench *bench, tk_error *err)
{
    const bool wanted = bench->options->sections & SECTION_BUILD;
    const unsigned repeats = wanted ? bench->options->build_repeats : 1;
    const size_t most_ef = bench->options->efs[bench->options->efs_count - 1];
    struct measured measured[MOST_CONTENDERS] = {0};
    for (unsigned repeat = 0; repeat < repeats; repeat++) {
        for (size_t i = 0; i < bench->contenders_count; i++) {
            if (repeat > 0 && measured[i].seconds[0] > LONG_SECONDS) continue;
            if (build_once(bench, &bench->contenders[i], &measured[i], err) != 0) return -1;
        }
    }
    for (size_t i = 0; i < bench->contenders_count; i++) {
        struct contender *contender = &bench->contenders[i];
        report_built(bench, contender, &measured[i]);
        contender->curve = (struct curve){.worker = &contender->worker,
                                          .exchange = &bench->exchange,
                                          .threads = bench->options->threads,
                                          .truth = &bench->exchange.truth,
                                          .most_ef = most_ef};
    }
    if (wanted) report_figures(&bench->results);
    return 0;
}
