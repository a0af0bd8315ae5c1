/* search.c: recall against speed, with one thread, and with more. */
#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sweep that nobody asked for more of ends where there is next to nothing left to find. */
#define ENOUGH_RECALL 0.9995

static const struct {
    double recall;
    const char *name, *title;
} targets[] = {
    {0.95, "qps_at_recall_0.95", "searches per second at recall 0.95"},
    {0.99, "qps_at_recall_0.99", "searches per second at recall 0.99"},
};
enum { TARGETS = sizeof(targets) / sizeof(*targets) };

/* Finds the recall of the settings to measure: the sweep, and the smallest that reach the targets.
 */
static int find_settings(struct bench *bench, struct contender *contender, tk_error *err)
{
    const struct options *options = bench->options;
    double enough = options->efs_given ? 1 : ENOUGH_RECALL;
    struct known known;
    bool found;
    if (curve_sweep(&contender->curve, options->efs, options->efs_count, enough, err) != 0)
        return -1;
    for (size_t i = 0; i < TARGETS; i++)
        if (curve_smallest(&contender->curve, targets[i].recall, &known, &found, err) != 0)
            return -1;
    return 0;
}

/* The settings of the bisections on the way to the targets are of no interest. */
static bool interesting(const struct bench *bench, struct contender *contender, size_t at)
{
    const struct options *options = bench->options;
    const struct curve *curve = &contender->curve;
    for (size_t i = 0; i < options->efs_count; i++)
        if (options->efs[i] == curve->known[at].ef || at == 0) return true;
    for (size_t i = 0; i < TARGETS; i++)
        if (curve->known[at].recall.value >= targets[i].recall &&
            curve->known[at - 1].recall.value < targets[i].recall)
            return true;
    return false;
}

struct measuring {
    struct contender *contender;
    struct known known;
};

static int compare_measuring(const void *left, const void *right)
{
    const struct measuring *a = left, *b = right;
    if (a->known.recall.value != b->known.recall.value)
        return a->known.recall.value < b->known.recall.value ? -1 : 1;
    return (a->contender > b->contender) - (a->contender < b->contender);
}

/* All settings of all engines, those of about the same recall next to each other. */
static size_t collect(struct bench *bench, struct measuring *measuring)
{
    size_t n = 0;
    for (size_t c = 0; c < bench->contenders_count; c++) {
        struct contender *contender = &bench->contenders[c];
        for (size_t i = 0; i < contender->curve.count && n < MOST_POINTS; i++)
            if (interesting(bench, contender, i))
                measuring[n++] = (struct measuring){contender, contender->curve.known[i]};
    }
    qsort(measuring, n, sizeof(*measuring), compare_measuring);
    return n;
}

static void report_point(struct results *results, const struct contender *contender,
                         const struct known *known, const struct trial *trial)
{
    struct point point = {.engine = contender->peer->name,
                          .setting = contender->peer->setting,
                          .ef = known->ef,
                          .recall = known->recall.value,
                          .similarity_error = known->recall.similarity_error,
                          .speed = trial->speed,
                          .threads = trial->threads};
    results_point(results, &point);
}

static void report_targets(struct bench *bench)
{
    struct results *results = &bench->results;
    for (size_t t = 0; t < TARGETS; t++) {
        const struct point *baseline = results_fastest(results, BASELINE, targets[t].recall);
        for (size_t c = 0; c < bench->contenders_count; c++) {
            const char *engine = bench->contenders[c].peer->name;
            const struct point *point = results_fastest(results, engine, targets[t].recall);
            struct figure figure = {.name = targets[t].name,
                                    .title = targets[t].title,
                                    .unit = "/s",
                                    .engine = engine,
                                    .value = point ? point->speed.qps : NAN,
                                    .against = BASELINE,
                                    .reference = baseline ? baseline->speed.qps : NAN};
            if (point)
                snprintf(figure.note, sizeof(figure.note), "%s %zu, recall %.4f", point->setting,
                         point->ef, point->recall);
            else
                snprintf(figure.note, sizeof(figure.note), "not reached");
            results_figure(results, &figure);
        }
    }
}

static void report_quality(struct bench *bench)
{
    struct results *results = &bench->results;
    const struct point *baseline = results_highest(results, BASELINE);
    for (size_t c = 0; c < bench->contenders_count; c++) {
        const char *engine = bench->contenders[c].peer->name;
        const struct point *point = results_highest(results, engine);
        if (!point) continue;
        struct figure figure = {.name = "highest_recall",
                                .title = "highest recall",
                                .unit = "",
                                .engine = engine,
                                .value = point->recall,
                                .against = BASELINE,
                                .reference = baseline ? baseline->recall : NAN};
        snprintf(figure.note, sizeof(figure.note), "%s %zu, %.0f searches per second",
                 point->setting, point->ef, point->speed.qps);
        results_figure(results, &figure);
    }
    for (size_t c = 0; c < bench->contenders_count; c++) {
        const char *engine = bench->contenders[c].peer->name;
        double error = NAN;
        for (size_t i = 0; i < results->points_count; i++)
            if (strcmp(results->points[i].engine, engine) == 0)
                error = fmax(error, results->points[i].similarity_error);
        struct figure figure = {.name = "similarity_error",
                                .title = "largest error of a similarity",
                                .unit = "",
                                .engine = engine,
                                .value = error,
                                .against = "",
                                .reference = NAN};
        results_figure(results, &figure);
    }
}

int section_search(struct bench *bench, tk_error *err)
{
    int result = -1;
    struct measuring *measuring = calloc(MOST_POINTS, sizeof(*measuring));
    struct trial *trials = calloc(MOST_POINTS, sizeof(*trials));
    if (!measuring || !trials) {
        fail(err, "memory ran out");
        goto out;
    }
    for (size_t c = 0; c < bench->contenders_count; c++)
        if (find_settings(bench, &bench->contenders[c], err) != 0) goto out;
    size_t n = collect(bench, measuring);
    for (size_t i = 0; i < n; i++)
        trials[i] = bench_trial(bench, measuring[i].contender, &measuring[i].known, REPEAT_SECONDS);
    if (trials_measure(trials, n, bench->options->repeats, &bench->exchange, "searching", err) != 0)
        goto out;
    for (size_t c = 0; c < bench->contenders_count; c++)
        for (size_t i = 0; i < n; i++)
            if (measuring[i].contender == &bench->contenders[c])
                report_point(&bench->results, measuring[i].contender, &measuring[i].known,
                             &trials[i]);
    report_targets(bench);
    report_quality(bench);
    result = 0;
out:
    free(measuring);
    free(trials);
    return result;
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void report_threads(struct bench *bench, const struct measuring *measuring,
                           const struct trial *one, const struct trial *many)
{
    struct figure figure = {.name = "thread_scaling",
                            .title = "searches per second with all threads",
                            .unit = "/s",
                            .engine = measuring->contender->peer->name,
                            .value = many->speed.qps,
                            .against = "1 thread",
                            .reference = one->speed.qps};
    snprintf(figure.note, sizeof(figure.note), "%u threads, recall %.4f", many->threads,
             measuring->known.recall.value);
    results_figure(&bench->results, &figure);
    report_point(&bench->results, measuring->contender, &measuring->known, many);
}

int section_threads(struct bench *bench, tk_error *err)
{
    struct measuring measuring[MOST_CONTENDERS];
    struct trial trials[2 * MOST_CONTENDERS];
    size_t n = 0;
    if (bench->options->threads < 2) {
        results_note(&bench->results, "threads: not measured with --threads 1.");
        return 0;
    }
    for (size_t c = 0; c < bench->contenders_count; c++) {
        struct contender *contender = &bench->contenders[c];
        bool found;
        if (bench_working_point(bench, contender, "threads", &measuring[n].known, &found, err) != 0)
            return -1;
        if (!found) continue;
        measuring[n].contender = contender;
        trials[2 * n] = bench_trial(bench, contender, &measuring[n].known, REPEAT_SECONDS);
        trials[2 * n + 1] = trials[2 * n];
        trials[2 * n + 1].threads = bench->options->threads;
        trials[2 * n + 1].count =
            trial_count(bench->exchange.queries.count, measuring[n].known.seconds, REPEAT_SECONDS);
        n++;
    }
    if (trials_measure(trials, 2 * n, bench->options->repeats, &bench->exchange, "threads", err) !=
        0)
        return -1;
    for (size_t i = 0; i < n; i++)
        report_threads(bench, &measuring[i], &trials[2 * i], &trials[2 * i + 1]);
    return 0;
}
