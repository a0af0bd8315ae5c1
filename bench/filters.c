/* filters.c: how fast filtered searches are, beside unfiltered ones of the same recall. */
#include "bench/bench.h"
#include "bench/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    double share;
    uint8_t bit;
    const char *text;
} selectivities[] = {{0.5, 1, "50 %"}, {0.1, 2, "10 %"}, {0.01, 4, "1 %"}, {0.001, 8, "0.1 %"}};
enum { SELECTIVITIES = sizeof(selectivities) / sizeof(*selectivities) };

static const struct {
    enum filter kind;
    const char *name, *text;
} kinds[] = {{FILTER_WITHIN, "within", "id set"}, {FILTER_PREDICATE, "predicate", "predicate"}};
enum { KINDS = sizeof(kinds) / sizeof(*kinds), FILTERED = SELECTIVITIES * KINDS };

/* Marks a random share of the ids, exactly as many as it says, at least one (Knuth, The Art of
 * Computer Programming 2, 3.4.2, algorithm S). */
static void mark_share(uint8_t *keep, size_t count, double share, uint8_t bit)
{
    size_t wanted = (size_t)(share * (double)count + 0.5);
    if (wanted < 1) wanted = 1;
    uint64_t random = bit;
    for (size_t id = 0; id < count; id++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        double unit = (double)(random >> 11) * 0x1p-53;
        if (unit * (double)(count - id) >= (double)wanted) continue;
        keep[id] |= bit;
        wanted--;
    }
}

static int find_truths(struct bench *bench, struct neighbours truths[SELECTIVITIES], tk_error *err)
{
    const struct vectors *base = &bench->exchange.base;
    const struct peer_setup setup = bench_setup(bench, base->count);
    struct worker worker = {.socket = -1};
    struct reply reply;
    int result = worker_start(&worker, NULL, &setup, &bench->exchange, err);
    for (size_t i = 0; result == 0 && i < SELECTIVITIES; i++) {
        mark_share(bench->exchange.keep, base->count, selectivities[i].share, selectivities[i].bit);
        struct request request = {.task = TASK_TRUTH_WITHIN,
                                  .bits = selectivities[i].bit,
                                  .threads = bench->options->threads,
                                  .truth = truths[i]};
        progress("exact search within %s", selectivities[i].text);
        result = worker_ask(&worker, &request, &reply, err);
    }
    worker_stop(&worker);
    return result;
}

/* One kind of filter at one selectivity. */
struct filtered {
    size_t kind, selectivity;
    struct known point;
    size_t trial;
    bool found;
};

static void report(struct bench *bench, const struct filtered *filtered, const struct trial *trials)
{
    static const char *const names[KINDS][SELECTIVITIES] = {
        {"within_50%_qps", "within_10%_qps", "within_1%_qps", "within_0.1%_qps"},
        {"predicate_50%_qps", "predicate_10%_qps", "predicate_1%_qps", "predicate_0.1%_qps"}};
    static const char *const titles[KINDS][SELECTIVITIES] = {
        {"searches per second within an id set of 50 %",
         "searches per second within an id set of 10 %",
         "searches per second within an id set of 1 %",
         "searches per second within an id set of 0.1 %"},
        {"searches per second under a predicate true to 50 %",
         "searches per second under a predicate true to 10 %",
         "searches per second under a predicate true to 1 %",
         "searches per second under a predicate true to 0.1 %"}};
    const struct trial *trial = &trials[filtered->trial];
    struct figure figure = {.name = names[filtered->kind][filtered->selectivity],
                            .title = titles[filtered->kind][filtered->selectivity],
                            .unit = "/s",
                            .engine = "tekup",
                            .value = filtered->found ? trial->speed.qps : NAN,
                            .against = "unfiltered",
                            .reference = trials[0].speed.qps};
    if (filtered->found)
        snprintf(figure.note, sizeof(figure.note), "ef %zu, recall %.4f, p99 %.0f us",
                 filtered->point.ef, filtered->point.recall.value, trial->speed.p99_us);
    else
        snprintf(figure.note, sizeof(figure.note), "recall %.2f not reached", WORKING_RECALL);
    results_figure(&bench->results, &figure);
}

static int find_setting(struct bench *bench, const struct neighbours *truth,
                        struct filtered *filtered, tk_error *err)
{
    struct contender *own = &bench->contenders[0];
    struct curve curve = own->curve;
    curve.count = 0;
    curve.filter = kinds[filtered->kind].kind;
    curve.bits = selectivities[filtered->selectivity].bit;
    curve.truth = truth;
    return curve_smallest(&curve, WORKING_RECALL, &filtered->point, &filtered->found, err);
}

static int measure(struct bench *bench, const struct known *unfiltered,
                   const struct neighbours truths[SELECTIVITIES], tk_error *err)
{
    struct contender *own = &bench->contenders[0];
    struct filtered filtered[FILTERED];
    struct trial trials[1 + FILTERED];
    size_t n = 1;
    trials[0] = bench_trial(bench, own, unfiltered, REPEAT_SECONDS);
    for (size_t i = 0; i < FILTERED; i++) {
        filtered[i] =
            (struct filtered){.kind = i / SELECTIVITIES, .selectivity = i % SELECTIVITIES};
        if (find_setting(bench, &truths[filtered[i].selectivity], &filtered[i], err) != 0)
            return -1;
        if (!filtered[i].found) continue;
        filtered[i].trial = n;
        trials[n] = bench_trial(bench, own, &filtered[i].point, REPEAT_SECONDS);
        trials[n].filter = kinds[filtered[i].kind].kind;
        trials[n].bits = selectivities[filtered[i].selectivity].bit;
        n++;
    }
    if (trials_measure(trials, n, bench->options->repeats, &bench->exchange, "filters", err) != 0)
        return -1;
    for (size_t i = 0; i < FILTERED; i++) report(bench, &filtered[i], trials);
    return 0;
}

int section_filters(struct bench *bench, tk_error *err)
{
    struct neighbours truths[SELECTIVITIES] = {0};
    struct known unfiltered;
    bool found;
    int result = -1;
    if (bench_working_point(bench, &bench->contenders[0], "filters", &unfiltered, &found, err) != 0)
        return -1;
    if (!found) return 0;
    for (size_t i = 0; i < SELECTIVITIES; i++)
        if (neighbours_allocate(bench->exchange.queries.count, bench->exchange.k, &truths[i],
                                err) != 0)
            goto out;
    if (find_truths(bench, truths, err) != 0) goto out;
    result = measure(bench, &unfiltered, truths, err);
out:
    for (size_t i = 0; i < SELECTIVITIES; i++) neighbours_free(&truths[i]);
    return result;
}
