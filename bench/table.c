/* table.c: the results as tables on a terminal. */
#include "bench/report.h"
#include "bench/text.h"

#include <math.h>
#include <string.h>

static void heading(FILE *out, bool bold, const char *text)
{
    fprintf(out, bold ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text);
}

/* A cell of a width in characters; negative: flush left. */
static void cell(FILE *out, int width, const char *text)
{
    int used = (int)text_width(text);
    int gap = (width < 0 ? -width : width) - used;
    if (gap < 0) gap = 0;
    if (width < 0)
        fprintf(out, "%s%*s", text, gap, "");
    else
        fprintf(out, "%*s%s", gap, "", text);
}

static void number(FILE *out, int width, double value)
{
    char text[NUMBER_SIZE];
    cell(out, width, text_number(value, text));
}

static void count(FILE *out, int width, size_t value)
{
    char text[NUMBER_SIZE];
    cell(out, width, text_count(value, text));
}

static void print_header(const struct results *results, FILE *out, bool bold)
{
    char vectors[NUMBER_SIZE], dim[NUMBER_SIZE], queries[NUMBER_SIZE];
    heading(out, bold, results->dataset);
    fprintf(out, "%s vectors of dimension %s, %s queries, local intrinsic dimension %.1f\n",
            text_count(results->vectors, vectors), text_count(results->dim, dim),
            text_count(results->queries, queries), results->lid);
    fprintf(out, "%s, %s, kernels %s, %s\n", results->machine, results->system,
            results->kernel[0] ? results->kernel : "-", results->date);
}

static void print_builds(const struct results *results, FILE *out, bool bold)
{
    if (results->builds_count == 0) return;
    heading(out, bold, "Indexes (build times are medians)");
    fprintf(out, "%-10s%10s%10s%10s%14s%14s\n", "engine", "build s", "threads", "builds",
            "bytes/vector", "own account");
    for (size_t i = 0; i < results->builds_count; i++) {
        const struct built *built = &results->builds[i];
        cell(out, -10, built->engine);
        number(out, 10, built->seconds);
        count(out, 10, built->threads);
        count(out, 10, built->repeats);
        number(out, 14, built->bytes_per_vector);
        number(out, 14, built->own_bytes_per_vector);
        fputc('\n', out);
    }
}

static void print_points(const struct results *results, FILE *out, bool bold)
{
    char title[64], recall[32];
    if (results->points_count == 0) return;
    snprintf(title, sizeof(title), "Searches (medians of %u repeats)", results->repeats);
    heading(out, bold, title);
    snprintf(recall, sizeof(recall), "recall@%zu", results->k);
    cell(out, -10, "engine");
    cell(out, 8, "threads");
    cell(out, 8, "ef");
    cell(out, 12, recall);
    cell(out, 13, "searches/s");
    cell(out, 10, "p50 µs");
    cell(out, 10, "p95 µs");
    cell(out, 10, "p99 µs");
    fputc('\n', out);
    for (size_t i = 0; i < results->points_count; i++) {
        const struct point *point = &results->points[i];
        if (i > 0 && strcmp(point->engine, point[-1].engine) != 0) fputc('\n', out);
        cell(out, -10, point->engine);
        count(out, 8, point->threads);
        fprintf(out, "%8zu%12.4f", point->ef, point->recall);
        number(out, 13, point->speed.qps);
        number(out, 10, point->speed.p50_us);
        number(out, 10, point->speed.p95_us);
        number(out, 10, point->speed.p99_us);
        fputc('\n', out);
    }
}

static void print_figure(const struct figure *figure, bool first, FILE *out)
{
    char value[NUMBER_SIZE], reference[NUMBER_SIZE], against[96] = "", ratio[NUMBER_SIZE + 4] = "";
    bool recall = strcmp(figure->name, "highest_recall") == 0;
    text_number(figure->value, value);
    text_number(figure->reference, reference);
    if (recall) {
        snprintf(value, sizeof(value), "%.4f", figure->value);
        snprintf(reference, sizeof(reference), "%.4f", figure->reference);
    }
    bool itself = strcmp(figure->engine, figure->against) == 0;
    if (figure->against[0] && !itself && isfinite(figure->reference))
        snprintf(against, sizeof(against), "%s %s", figure->against, reference);
    double share = figure_ratio(figure);
    if (!itself && !recall && isfinite(share))
        snprintf(ratio, sizeof(ratio), "%s×", text_number(share, reference));
    cell(out, -62, first ? figure->title : "");
    cell(out, -10, figure->engine);
    cell(out, 11, value);
    fputc(' ', out);
    cell(out, -7, isfinite(figure->value) ? figure->unit : "");
    cell(out, -22, against);
    cell(out, 8, ratio);
    if (figure->note[0]) fprintf(out, "  %s", figure->note);
    fputc('\n', out);
}

static void print_figures(const struct results *results, FILE *out, bool bold)
{
    if (results->figures_count == 0) return;
    heading(out, bold, "Summary");
    for (size_t i = 0; i < results->figures_count; i++) {
        const struct figure *figure = &results->figures[i];
        print_figure(figure, i == 0 || strcmp(figure->name, figure[-1].name) != 0, out);
    }
}

void report_table(const struct results *results, FILE *out, bool bold)
{
    print_header(results, out, bold);
    print_builds(results, out, bold);
    print_points(results, out, bold);
    print_figures(results, out, bold);
    if (results->notes_count > 0) heading(out, bold, "Notes");
    for (size_t i = 0; i < results->notes_count; i++) fprintf(out, "%s\n", results->notes[i]);
}
