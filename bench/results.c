#include "bench/results.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- The machine ----------------------------------------------------------------------------- */

/* The processor's name; where the kernel tells none (arm64), its architecture. */
static void processor_name(char *name, size_t room)
{
    struct utsname system;
    uname(&system);
    snprintf(name, room, "%.64s", system.machine);
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof(line), file)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10) != 0) continue;
        value += 1 + strspn(value + 1, " ");
        value[strcspn(value, "\n")] = '\0';
        snprintf(name, room, "%s", value);
        break;
    }
    fclose(file);
}

void results_begin(struct results *results)
{
    struct utsname system;
    char processor[112];
    time_t now = time(NULL);
    struct tm utc;
    processor_name(processor, sizeof(processor));
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
    snprintf(results->machine, sizeof(results->machine), "%s, %ld processors, %.0f GiB", processor,
             sysconf(_SC_NPROCESSORS_ONLN), memory / 0x1p30);
    uname(&system);
    snprintf(results->system, sizeof(results->system), "%.32s %.64s %.16s", system.sysname,
             system.release, system.machine);
    gmtime_r(&now, &utc);
    strftime(results->date, sizeof(results->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (getloadavg(&results->busy, 1) != 1) results->busy = NAN;
#ifdef NDEBUG
    snprintf(results->build, sizeof(results->build), "release");
#else
    snprintf(results->build, sizeof(results->build), "debug");
    results_note(results, "This is a debug build: its figures say nothing about the engine.");
#endif
    if (results->busy > 0.5)
        results_note(results,
                     "The machine was busy when the run began (load average %.1f), so all of the "
                     "figures are lower than they could be, and the ratios less certain.",
                     results->busy);
}

/* ---- Collecting ------------------------------------------------------------------------------ */

void results_point(struct results *results, const struct point *point)
{
    if (results->points_count < MOST_POINTS) results->points[results->points_count++] = *point;
}

void results_built(struct results *results, const struct built *built)
{
    if (results->builds_count < MOST_BUILDS) results->builds[results->builds_count++] = *built;
}

void results_figure(struct results *results, const struct figure *figure)
{
    if (results->figures_count < MOST_FIGURES) results->figures[results->figures_count++] = *figure;
}

void results_note(struct results *results, const char *format, ...)
{
    if (results->notes_count == MOST_NOTES) return;
    va_list args;
    va_start(args, format);
    vsnprintf(results->notes[results->notes_count++], sizeof(results->notes[0]), format, args);
    va_end(args);
}

/* ---- Reading --------------------------------------------------------------------------------- */

double figure_ratio(const struct figure *figure)
{
    return figure->reference > 0 ? figure->value / figure->reference : NAN;
}

const struct point *results_fastest(const struct results *results, const char *engine,
                                    double recall)
{
    const struct point *fastest = NULL;
    for (size_t i = 0; i < results->points_count; i++) {
        const struct point *point = &results->points[i];
        if (point->threads != 1 || strcmp(point->engine, engine) != 0) continue;
        if (point->recall < recall) continue;
        if (!fastest || point->speed.qps > fastest->speed.qps) fastest = point;
    }
    return fastest;
}

const struct point *results_highest(const struct results *results, const char *engine)
{
    const struct point *highest = NULL;
    for (size_t i = 0; i < results->points_count; i++) {
        const struct point *point = &results->points[i];
        if (point->threads != 1 || strcmp(point->engine, engine) != 0) continue;
        if (!highest || point->recall > highest->recall) highest = point;
    }
    return highest;
}

const struct built *results_index(const struct results *results, const char *engine)
{
    for (size_t i = 0; i < results->builds_count; i++)
        if (strcmp(results->builds[i].engine, engine) == 0) return &results->builds[i];
    return NULL;
}
