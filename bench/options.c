#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Measures tekupdb's vector engine, and others in the same run, on one set of vectors.\n"
    "\n"
    "  --base FILE          the vectors to index\n"
    "  --queries FILE       the vectors to look for (a tenth of the base, at most 1,000, held "
    "out)\n"
    "  --format FORMAT      raw-i8, raw-f32, fvecs or fbin (else by the name: .i8, .f32, .fvecs,\n"
    "                       .fbin)\n"
    "  --base-format FORMAT the format of the base alone\n"
    "  --name NAME          what the reports call the data (the name of the base's file)\n"
    "  --dim D              dimension of the vectors (1536)\n"
    "  --synthetic N,LID    makes N vectors of the local intrinsic dimension LID instead\n"
    "  --peers LIST         engines to measure against: hnswlib,faiss,pgvector, or none\n"
    "                       (hnswlib,faiss)\n"
    "  --pgvector-dsn DSN   the PostgreSQL server to measure pgvector in\n"
    "  --threads N          threads to build with, and to search with beside one alone (2)\n"
    "  --k K                neighbours to find (10)\n"
    "  --ef LIST            search settings to measure, e.g. 10,20,40 (a range, as far as needed)\n"
    "  --repeats N          times every speed is measured; medians are reported (5)\n"
    "  --build-repeats N    times every index is built (3)\n"
    "  --cpu-time           takes processor time for speeds and builds instead of time on the "
    "wall,\n"
    "                       on a machine that is busy with other things\n"
    "  --only LIST          of build,search,threads,churn,filters,load,growth (all)\n"
    "  --json FILE          writes everything that was measured; - for standard output\n"
    "  --svg FILE           draws recall against speed; the same\n"
    "  --help, --version\n";

/* A range that is even on a logarithmic scale; a sweep of it ends where recall is 1. */
static const size_t default_efs[] = {10,  14,  20,  28,  40,  56,   80,   112,  160,
                                     224, 320, 448, 640, 900, 1280, 1800, 2560, 4096};

static const char *const section_names[] = {"build",   "search", "threads", "churn",
                                            "filters", "load",   "growth"};
enum { SECTIONS = sizeof(section_names) / sizeof(*section_names) };

/* ---- Values ---------------------------------------------------------------------------------- */

static int parse_number(const char *name, const char *text, size_t least, size_t most,
                        size_t *number, tk_error *err)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || errno || text[0] < '0' || text[0] > '9' || value < least ||
        value > most)
        return fail(err, "--%s: \"%s\" is not a number from %zu to %zu", name, text, least, most);
    *number = (size_t)value;
    return 0;
}

static int parse_count(const char *name, const char *text, unsigned most, unsigned *count,
                       tk_error *err)
{
    size_t number = 0;
    if (parse_number(name, text, 1, most, &number, err) != 0) return -1;
    *count = (unsigned)number;
    return 0;
}

/* Copies the word before the next comma; returns what follows, or NULL at the end. */
static const char *next_word(const char *list, char *word, size_t room)
{
    size_t length = strcspn(list, ",");
    snprintf(word, room, "%.*s", (int)length, list);
    return list[length] ? list + length + 1 : NULL;
}

static int compare_sizes(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return (a > b) - (a < b);
}

static int parse_format(const char *name, const char *text, enum format *format, tk_error *err)
{
    if (format_parse(text, format) == 0) return 0;
    return fail(err, "--%s: \"%s\" is not one of raw-i8, raw-f32, fvecs and fbin", name, text);
}

static int parse_efs(const char *list, struct options *options, tk_error *err)
{
    options->efs_count = 0;
    options->efs_given = true;
    while (list) {
        char word[32];
        list = next_word(list, word, sizeof(word));
        if (options->efs_count == MOST_EFS)
            return fail(err, "--ef: there are more than %d settings", MOST_EFS);
        if (parse_number("ef", word, 1, 65536, &options->efs[options->efs_count], err) != 0)
            return -1;
        options->efs_count++;
    }
    qsort(options->efs, options->efs_count, sizeof(*options->efs), compare_sizes);
    size_t kept = 1;
    for (size_t i = 1; i < options->efs_count; i++)
        if (options->efs[i] != options->efs[kept - 1]) options->efs[kept++] = options->efs[i];
    options->efs_count = kept;
    return 0;
}

static int parse_peers(const char *list, struct options *options, tk_error *err)
{
    static const char *const known[] = {"hnswlib", "faiss", "pgvector"};
    options->peers_count = 0;
    if (strcmp(list, "none") == 0) return 0;
    while (list) {
        char word[16];
        list = next_word(list, word, sizeof(word));
        size_t at = 0;
        while (at < MOST_PEERS && strcmp(word, known[at]) != 0) at++;
        if (at == MOST_PEERS)
            return fail(err, "--peers: \"%s\" is not one of hnswlib, faiss and pgvector", word);
        for (size_t i = 0; i < options->peers_count; i++)
            if (strcmp(word, options->peers[i]) == 0)
                return fail(err, "--peers: %s is named twice", word);
        memcpy(options->peers[options->peers_count++], word, sizeof(word));
    }
    return 0;
}

static int parse_sections(const char *list, struct options *options, tk_error *err)
{
    options->sections = 0;
    while (list) {
        char word[16];
        list = next_word(list, word, sizeof(word));
        size_t at = 0;
        while (at < SECTIONS && strcmp(word, section_names[at]) != 0) at++;
        if (at == SECTIONS)
            return fail(err,
                        "--only: \"%s\" is not one of build, search, threads, churn, filters, load "
                        "and growth",
                        word);
        options->sections |= 1U << at;
    }
    return 0;
}

static int parse_synthetic(const char *text, struct options *options, tk_error *err)
{
    char count[32], *end;
    const char *lid = next_word(text, count, sizeof(count));
    if (parse_number("synthetic", count, 1, 100000000, &options->synthetic, err) != 0) return -1;
    options->synthetic_lid = lid ? strtod(lid, &end) : NAN;
    if (!lid || end == lid || *end || !(options->synthetic_lid > 0) ||
        !isfinite(options->synthetic_lid))
        return fail(err, "--synthetic: \"%s\" is not N,LID, e.g. 50000,22", text);
    return 0;
}

/* ---- The command line ------------------------------------------------------------------------ */

const char *options_program(char **argv)
{
    static const char own[] = "tekup-bench", runner[] = "tekup bench";
    return argv[0] && strcmp(argv[0], runner) == 0 ? runner : own;
}

enum option_code {
    OPTION_BASE = 256,
    OPTION_QUERIES,
    OPTION_FORMAT,
    OPTION_BASE_FORMAT,
    OPTION_NAME,
    OPTION_DIM,
    OPTION_SYNTHETIC,
    OPTION_PEERS,
    OPTION_DSN,
    OPTION_THREADS,
    OPTION_K,
    OPTION_EF,
    OPTION_REPEATS,
    OPTION_BUILD_REPEATS,
    OPTION_CPU_TIME,
    OPTION_ONLY,
    OPTION_JSON,
    OPTION_SVG
};

/* These two end the run. */
enum { OPTION_HELP = OPTION_SVG + 1, OPTION_VERSION };

static const struct option long_options[] = {
    {"base", required_argument, NULL, OPTION_BASE},
    {"queries", required_argument, NULL, OPTION_QUERIES},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"base-format", required_argument, NULL, OPTION_BASE_FORMAT},
    {"name", required_argument, NULL, OPTION_NAME},
    {"dim", required_argument, NULL, OPTION_DIM},
    {"synthetic", required_argument, NULL, OPTION_SYNTHETIC},
    {"peers", required_argument, NULL, OPTION_PEERS},
    {"pgvector-dsn", required_argument, NULL, OPTION_DSN},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"k", required_argument, NULL, OPTION_K},
    {"ef", required_argument, NULL, OPTION_EF},
    {"repeats", required_argument, NULL, OPTION_REPEATS},
    {"build-repeats", required_argument, NULL, OPTION_BUILD_REPEATS},
    {"cpu-time", no_argument, NULL, OPTION_CPU_TIME},
    {"only", required_argument, NULL, OPTION_ONLY},
    {"json", required_argument, NULL, OPTION_JSON},
    {"svg", required_argument, NULL, OPTION_SVG},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static void set_defaults(struct options *options)
{
    *options = (struct options){.k = 10, .threads = 2, .repeats = 5, .build_repeats = 3};
    options->sections = SECTION_ALL;
    memcpy(options->efs, default_efs, sizeof(default_efs));
    options->efs_count = sizeof(default_efs) / sizeof(*default_efs);
    snprintf(options->peers[0], sizeof(options->peers[0]), "hnswlib");
    snprintf(options->peers[1], sizeof(options->peers[1]), "faiss");
    options->peers_count = 2;
}

static int apply(int code, struct options *options, tk_error *err)
{
    switch ((enum option_code)code) {
    case OPTION_BASE:
        options->base = optarg;
        return 0;
    case OPTION_QUERIES:
        options->queries = optarg;
        return 0;
    case OPTION_FORMAT:
        return parse_format("format", optarg, &options->queries_format, err);
    case OPTION_BASE_FORMAT:
        return parse_format("base-format", optarg, &options->base_format, err);
    case OPTION_NAME:
        options->name = optarg;
        return 0;
    case OPTION_DIM:
        return parse_number("dim", optarg, 1, MOST_DIM, &options->dim, err);
    case OPTION_SYNTHETIC:
        return parse_synthetic(optarg, options, err);
    case OPTION_PEERS:
        return parse_peers(optarg, options, err);
    case OPTION_DSN:
        options->pgvector_dsn = optarg;
        return 0;
    case OPTION_THREADS:
        return parse_count("threads", optarg, MOST_THREADS, &options->threads, err);
    case OPTION_K:
        return parse_number("k", optarg, 1, MOST_K, &options->k, err);
    case OPTION_EF:
        return parse_efs(optarg, options, err);
    case OPTION_REPEATS:
        return parse_count("repeats", optarg, MOST_REPEATS, &options->repeats, err);
    case OPTION_BUILD_REPEATS:
        return parse_count("build-repeats", optarg, MOST_REPEATS, &options->build_repeats, err);
    case OPTION_CPU_TIME:
        options->cpu_time = true;
        return 0;
    case OPTION_ONLY:
        return parse_sections(optarg, options, err);
    case OPTION_JSON:
        options->json = optarg;
        return 0;
    case OPTION_SVG:
        options->svg = optarg;
        return 0;
    }
    return -1;
}

static int check(const struct options *options, tk_error *err)
{
    if (options->synthetic && (options->base || options->queries))
        return fail(err, "--synthetic makes the vectors: leave --base and --queries out");
    if (!options->synthetic && !options->base)
        return fail(err, "--base is missing: a file of vectors, or --synthetic N,LID");
    for (size_t i = 0; i < options->peers_count; i++)
        if (strcmp(options->peers[i], "pgvector") == 0 && !options->pgvector_dsn)
            return fail(err, "--peers: pgvector needs a server, told by --pgvector-dsn");
    if (options->json && options->svg && strcmp(options->json, options->svg) == 0)
        return fail(err, "--svg: is the same file as --json");
    if (options->svg && !(options->sections & SECTION_SEARCH))
        return fail(err, "--svg: there is nothing to draw without the section search");
    return 0;
}

static void print_help(const char *program)
{
    printf("usage: %s --base FILE [--queries FILE] [options]\n"
           "       %s --synthetic N,LID [options]\n\n%s",
           program, program, help);
}

int options_parse(int argc, char **argv, struct options *options, tk_error *err)
{
    set_defaults(options);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, ":", long_options, NULL)) != -1;) {
        if (code == ':') return fail(err, "%s needs a value", argv[optind - 1]);
        if (code == '?') return fail(err, "%s is not an option", argv[optind - 1]);
        if (code == OPTION_HELP) print_help(options_program(argv));
        if (code == OPTION_VERSION) puts("tekup-bench " TEKUP_VERSION);
        if (code == OPTION_HELP || code == OPTION_VERSION) return 1;
        if (apply(code, options, err) != 0) return -1;
    }
    if (optind < argc) return fail(err, "\"%s\" is not an option", argv[optind]);
    if (options->base_format == FORMAT_BY_NAME) options->base_format = options->queries_format;
    return check(options, err);
}
