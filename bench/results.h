/* results.h: what a run measured, as its reports (table, JSON, SVG) read it. */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include "bench/failure.h"

#include <stdbool.h>
#include <stddef.h>

struct speed {
    double qps, p50_us, p95_us, p99_us;
};

/* One engine with one search setting. */
struct point {
    const char *engine, *setting;
    size_t ef;
    double recall;
    double similarity_error;
    struct speed speed;
    unsigned threads;
};

/* One engine's index. */
struct built {
    const char *engine;
    double seconds; /* the median */
    unsigned threads;
    unsigned repeats;
    double bytes_per_vector;     /* added to the process */
    double own_bytes_per_vector; /* by the index's own account, NaN where it gives none */
    size_t vectors;
};

/* One line of the summary: a value, what it is set against, and their ratio. */
struct figure {
    const char *name; /* e.g. "qps_at_recall_0.95" */
    const char *title, *unit;
    const char *engine;
    double value;        /* NaN: could not be measured, and the note says why */
    const char *against; /* "hnswlib", or what else the reference is */
    double reference;    /* NaN: there is none */
    char note[128];
};

enum { MOST_POINTS = 512, MOST_BUILDS = 8, MOST_FIGURES = 128, MOST_NOTES = 16 };

struct results {
    char machine[160], system[128], kernel[16], date[32], build[16];
    const char *clock; /* what the speeds are measured by: "wall" or "cpu" */
    char dataset[256];
    size_t vectors, queries, dim, k;
    unsigned repeats;
    double lid;  /* local intrinsic dimension, estimated */
    double busy; /* load average when it began */
    struct point points[MOST_POINTS];
    size_t points_count;
    struct built builds[MOST_BUILDS];
    size_t builds_count;
    struct figure figures[MOST_FIGURES];
    size_t figures_count;
    char notes[MOST_NOTES][256];
    size_t notes_count;
};

/* The engine that the others are set against. */
#define BASELINE "hnswlib"

/* Fills in machine, system, date, build and busy. */
void results_begin(struct results *results);

void results_point(struct results *results, const struct point *point);
void results_built(struct results *results, const struct built *built);
void results_figure(struct results *results, const struct figure *figure);
void results_note(struct results *results, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* value / reference, NaN where either is missing. */
double figure_ratio(const struct figure *figure);

/* The fastest measured setting of an engine, with one thread, whose recall is at least `recall`;
 * NULL where none is. No interpolation: what is reported was measured. */
const struct point *results_fastest(const struct results *results, const char *engine,
                                    double recall);

/* The setting of an engine, with one thread, of the highest recall; NULL where none was measured.
 */
const struct point *results_highest(const struct results *results, const char *engine);

const struct built *results_index(const struct results *results, const char *engine);

#endif
