/* options.h: the command line of tekup-bench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/dataset.h"
#include "bench/failure.h"

#include <stdbool.h>

enum section {
    SECTION_BUILD = 1 << 0,
    SECTION_SEARCH = 1 << 1,
    SECTION_THREADS = 1 << 2,
    SECTION_CHURN = 1 << 3,
    SECTION_FILTERS = 1 << 4,
    SECTION_LOAD = 1 << 5,
    SECTION_GROWTH = 1 << 6,
    SECTION_ALL = (1 << 7) - 1
};

enum { MOST_EFS = 64, MOST_PEERS = 3, MOST_REPEATS = 99, MOST_K = 100, MOST_THREADS = 256 };

struct options {
    const char *base;    /* NULL with --synthetic */
    const char *queries; /* NULL with --synthetic, and where some of the base are held out */
    const char *name;    /* of the data in the reports, or NULL */
    enum format base_format, queries_format;
    size_t dim;           /* 0: not told */
    size_t synthetic;     /* vectors to make, or 0 */
    double synthetic_lid; /* their local intrinsic dimension */
    size_t k;
    unsigned threads;
    unsigned repeats, build_repeats;
    size_t efs[MOST_EFS]; /* ascending */
    size_t efs_count;
    bool efs_given; /* by the caller: nothing beyond them is tried */
    char peers[MOST_PEERS][16];
    size_t peers_count;
    const char *pgvector_dsn;
    bool cpu_time;          /* measure searches by the processor time of their threads */
    const char *json, *svg; /* files to write, or NULL */
    unsigned sections;
};

/* What the program is called in what it says: argv[0] where that is "tekup bench", which runs it,
 * otherwise tekup-bench. */
const char *options_program(char **argv);

/* Parses the arguments. Returns 0; 1 where only --help or --version was asked for, which is
 * printed; -1 with a message that names the option. The strings stay those of argv. */
int options_parse(int argc, char **argv, struct options *options, tk_error *err);

#endif
