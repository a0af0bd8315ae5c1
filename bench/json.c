/* json.c: the results as a JSON document, for programs and for keeping. */
#include "bench/report.h"

#include <jansson.h>
#include <math.h>

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *point_of(const struct point *point, size_t k)
{
    char recall[32];
    snprintf(recall, sizeof(recall), "recall_at_%zu", k);
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:I}", "engine", point->engine, "ef",
                     (json_int_t)point->ef, recall, real(point->recall), "qps",
                     real(point->speed.qps), "p50_us", real(point->speed.p50_us), "p95_us",
                     real(point->speed.p95_us), "p99_us", real(point->speed.p99_us), "threads",
                     (json_int_t)point->threads);
}

static json_t *built_of(const struct built *built)
{
    return json_pack("{s:s, s:o, s:I, s:o, s:I}", "engine", built->engine, "build_seconds",
                     real(built->seconds), "build_threads", (json_int_t)built->threads,
                     "bytes_per_vector", real(built->bytes_per_vector), "vectors",
                     (json_int_t)built->vectors);
}

static json_t *figure_of(const struct figure *figure)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:s}", "figure", figure->name,
                     "title", figure->title, "engine", figure->engine, "value", real(figure->value),
                     "unit", figure->unit, "against", figure->against, "reference",
                     real(figure->reference), "ratio", real(figure_ratio(figure)), "note",
                     figure->note);
}

static json_t *summary_of(const struct results *results)
{
    json_t *figures = json_array(), *notes = json_array();
    for (size_t i = 0; i < results->figures_count; i++)
        json_array_append_new(figures, figure_of(&results->figures[i]));
    for (size_t i = 0; i < results->notes_count; i++)
        json_array_append_new(notes, json_string(results->notes[i]));
    return json_pack(
        "{s:s, s:s, s:o, s:o}", "baseline", BASELINE, "method",
        "medians over repeats that go round all engines and settings; speed at a recall is that of "
        "the fastest measured setting that reaches it, without interpolation",
        "figures", figures, "notes", notes);
}

int report_json(const struct results *results, FILE *out, tk_error *err)
{
    json_t *points = json_array(), *builds = json_array();
    for (size_t i = 0; i < results->points_count; i++)
        json_array_append_new(points, point_of(&results->points[i], results->k));
    for (size_t i = 0; i < results->builds_count; i++)
        json_array_append_new(builds, built_of(&results->builds[i]));
    json_t *document = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:s, s:s, s:o, s:o, s:o, s:o}",
        "machine", results->machine, "kernel", results->kernel, "system", results->system,
        "dataset", results->dataset, "date", results->date, "vectors", (json_int_t)results->vectors,
        "queries", (json_int_t)results->queries, "dim", (json_int_t)results->dim, "k",
        (json_int_t)results->k, "local_intrinsic_dimension", real(results->lid), "repeats",
        (json_int_t)results->repeats, "clock", results->clock, "build", results->build,
        "load_average", real(results->busy), "points", points, "builds", builds, "summary",
        summary_of(results));
    if (!document) return fail(err, "the JSON document cannot be made");
    int result = json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
    json_decref(document);
    if (result != 0 || fputc('\n', out) == EOF) return fail(err, "the JSON cannot be written");
    return 0;
}
