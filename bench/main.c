/*
 * tekup-bench: measures tekupdb's vector engine, and others in the same run.
 *
 * The program itself only reads the vectors, asks and counts. Exact search and every engine run in
 * processes of their own, forked from it (worker.h).
 */
#include "bench/bench.h"
#include "bench/output.h"
#include "bench/progress.h"
#include "bench/report.h"
#include "bench/synthetic.h"
#include "bench/text.h"

#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYNTHETIC_QUERIES = 1000, SYNTHETIC_SEED = 1 };

/* Of the base, where no queries are given: one in so many, and no more than that. */
enum { HELD_OUT_SHARE = 10, HELD_OUT_MOST = 1000, HELD_OUT_SEED = 1 };

/* ---- The data -------------------------------------------------------------------------------- */

static int make_data(const struct options *options, struct vectors *base, struct vectors *queries,
                     struct results *results, tk_error *err)
{
    size_t sphere;
    const size_t dim = options->dim ? options->dim : DEFAULT_DIM;
    if (synthetic_make(options->synthetic, SYNTHETIC_QUERIES, dim, options->synthetic_lid,
                       SYNTHETIC_SEED, base, queries, &sphere, err) != 0)
        return fail(err, "--synthetic: %s", err->message);
    snprintf(results->dataset, sizeof(results->dataset), "synthetic, local intrinsic dimension %g",
             options->synthetic_lid);
    results_note(results, "The vectors are uniform on a sphere of dimension %zu.", sphere);
    return 0;
}

/* Takes a share of the base for queries. */
static int hold_out(const struct options *options, struct vectors *base, struct vectors *queries,
                    struct results *results, tk_error *err)
{
    size_t count = base->count / HELD_OUT_SHARE;
    if (count > HELD_OUT_MOST) count = HELD_OUT_MOST;
    if (count == 0 || base->count - count <= options->k)
        return fail(err,
                    "%s has %zu vectors: too few to hold some of them out as queries and look for "
                    "%zu neighbours among the rest",
                    results->dataset, base->count, options->k);
    if (vectors_hold_out(base, count, HELD_OUT_SEED, queries, err) != 0) return -1;
    results_note(results, "The queries are %zu vectors of the data, chosen at random and held out.",
                 count);
    return 0;
}

static int read_queries(const struct options *options, const struct vectors *base,
                        struct vectors *queries, tk_error *err)
{
    if (dataset_read(options->queries, options->queries_format, options->dim, queries, err) != 0)
        return -1;
    if (base->dim != queries->dim)
        return fail(err, "--queries: the dimension is %zu, that of --base is %zu", queries->dim,
                    base->dim);
    return 0;
}

static int read_data(const struct options *options, struct vectors *base, struct vectors *queries,
                     struct results *results, tk_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", options->base);
    snprintf(results->dataset, sizeof(results->dataset), "%.200s",
             options->name ? options->name : basename(path));
    text_clean(results->dataset);
    progress("reading %s", results->dataset);
    if (dataset_read(options->base, options->base_format, options->dim, base, err) != 0) return -1;
    return options->queries ? read_queries(options, base, queries, err)
                            : hold_out(options, base, queries, results, err);
}

static int get_data(struct bench *bench, tk_error *err)
{
    struct vectors base = {0}, queries = {0};
    struct results *results = &bench->results;
    int result = bench->options->synthetic
                     ? make_data(bench->options, &base, &queries, results, err)
                     : read_data(bench->options, &base, &queries, results, err);
    if (result == 0 && base.count >= INT32_MAX)
        result = fail(err, "--base: %zu vectors are too many", base.count);
    if (result == 0) {
        results->vectors = base.count;
        results->queries = queries.count;
        results->dim = base.dim;
        results->k = bench->options->k;
        result = exchange_create(&base, &queries, bench->options->k, &bench->exchange, err);
    }
    vectors_free(&base);
    vectors_free(&queries);
    return result;
}

static int find_truth(struct bench *bench, tk_error *err)
{
    const struct peer_setup setup = bench_setup(bench, bench->exchange.base.count);
    struct worker worker = {.socket = -1};
    struct request request = {.task = TASK_TRUTH, .threads = bench->options->threads};
    struct reply reply;
    progress("exact search");
    int result = worker_start(&worker, NULL, &setup, &bench->exchange, err);
    if (result == 0) result = worker_ask(&worker, &request, &reply, err);
    worker_stop(&worker);
    if (result == 0) bench->results.lid = reply.lid;
    return result;
}

/* ---- The run --------------------------------------------------------------------------------- */

static void add_contender(struct bench *bench, const struct peer *peer)
{
    bench->contenders[bench->contenders_count++] =
        (struct contender){.peer = peer, .worker = {.socket = -1}};
}

static void choose_contenders(struct bench *bench)
{
    const struct options *options = bench->options;
    bool named = false;
    add_contender(bench, &peer_tekup);
    for (size_t i = 0; i < options->peers_count; i++) {
        const char *missing;
        const struct peer *peer = peer_find(options->peers[i], &missing);
        named |= strcmp(options->peers[i], "pgvector") == 0;
        if (peer)
            add_contender(bench, peer);
        else
            results_note(&bench->results,
                         "%s was left out: this program was compiled without it, for want of %s.",
                         options->peers[i], missing);
    }
    if (!named && options->pgvector_dsn) {
        const char *missing;
        const struct peer *peer = peer_find("pgvector", &missing);
        if (peer) add_contender(bench, peer);
    } else if (!named) {
        results_note(&bench->results,
                     "pgvector was left out: no server was named with --pgvector-dsn.");
    }
}

static int run_sections(struct bench *bench, tk_error *err)
{
    static const struct {
        enum section section;
        int (*run)(struct bench *bench, tk_error *err);
    } sections[] = {
        {SECTION_SEARCH, section_search},   {SECTION_THREADS, section_threads},
        {SECTION_FILTERS, section_filters}, {SECTION_CHURN, section_churn},
        {SECTION_LOAD, section_load},       {SECTION_GROWTH, section_growth},
    };
    if (section_build(bench, err) != 0) return -1;
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (bench->options->sections & sections[i].section && sections[i].run(bench, err) != 0)
            return -1;
    return 0;
}

static int run(struct bench *bench, tk_error *err)
{
    results_begin(&bench->results);
    bench->results.repeats = bench->options->repeats;
    bench->results.clock = bench->options->cpu_time ? "cpu" : "wall";
    if (bench->options->cpu_time)
        results_note(&bench->results,
                     "Searches per second are by the processor time of the searching threads, "
                     "builds by that of all threads over their number (not so pgvector's); "
                     "latencies are by the time on the wall.");
    choose_contenders(bench);
    if (get_data(bench, err) != 0) return -1;
    if (find_truth(bench, err) != 0) return -1;
    return run_sections(bench, err);
}

static int write_reports(const struct results *results, struct output *json, struct output *svg,
                         tk_error *err)
{
    /* The tables make room where standard output is to hold a document. */
    bool taken = (json->path && strcmp(json->path, OUTPUT_STANDARD) == 0) ||
                 (svg->path && strcmp(svg->path, OUTPUT_STANDARD) == 0);
    report_table(results, taken ? stderr : stdout, isatty(taken ? STDERR_FILENO : STDOUT_FILENO));
    if (json->stream && report_json(results, json->stream, err) != 0) return -1;
    if (output_commit(json, err) != 0) return -1;
    if (svg->stream) report_svg(results, svg->stream);
    if (output_commit(svg, err) != 0) return -1;
    return fflush(stdout) == 0 ? 0 : fail(err, "standard output cannot be written");
}

int main(int argc, char **argv)
{
    struct options options;
    struct output json = {0}, svg = {0};
    tk_error err = {0};
    const char *program = options_program(argv);
    int status = options_parse(argc, argv, &options, &err);
    if (status > 0) return 0;
    if (status < 0) {
        fprintf(stderr, "%s: %s\nTry %s --help.\n", program, err.message, program);
        return 2;
    }
    struct bench *bench = calloc(1, sizeof(*bench));
    if (!bench) {
        fprintf(stderr, "%s: memory ran out\n", program);
        return 1;
    }
    bench->options = &options;
    worker_catch_interrupts();
    status = output_open(&json, options.json, &err);
    if (status == 0) status = output_open(&svg, options.svg, &err);
    if (status == 0) status = run(bench, &err);
    progress_end();
    if (status == 0) status = write_reports(&bench->results, &json, &svg, &err);
    for (size_t i = 0; i < bench->contenders_count; i++) worker_stop(&bench->contenders[i].worker);
    output_discard(&json);
    output_discard(&svg);
    exchange_free(&bench->exchange);
    free(bench);
    if (status != 0) fprintf(stderr, "%s: %s\n", program, err.message);
    return status == 0 ? 0 : 1;
}
