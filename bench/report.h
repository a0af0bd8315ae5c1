/* report.h: the three forms in which a run's results come out. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/results.h"

#include <stdio.h>

/* Aligned tables for people. bold: headings, for a terminal. */
void report_table(const struct results *results, FILE *out, bool bold);

/* One JSON document: machine, kernel, dataset, date and so on; `points`, one object for each
 * measured setting; `builds`, one for each index; `summary`. What could not be measured is null. */
int report_json(const struct results *results, FILE *out, tk_error *err);

/* A picture of recall against searches per second with one thread, one line an engine. */
void report_svg(const struct results *results, FILE *out);

#endif
