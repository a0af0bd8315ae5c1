#include "bench/options.h"

#include <criterion/criterion.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { MOST_WORDS = 32 };

/* Parses the words of a line, as main would get them. */
static int parse(const char *line, struct options *options, tk_error *error)
{
    static char words[512];
    static char *argv[MOST_WORDS + 1];
    static char program[] = "tekup-bench";
    int argc = 0;
    argv[argc++] = program;
    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok(words, " "); word && argc < MOST_WORDS; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    optind = 0; /* glibc: begin anew */
    memset(error, 0, sizeof(*error));
    return options_parse(argc, argv, options, error);
}

static void expect_refused(const char *line, const char *reason)
{
    struct options options;
    tk_error error;
    cr_expect_eq(parse(line, &options, &error), -1, "%s", line);
    cr_expect_not_null(strstr(error.message, reason), "%s: \"%s\" does not say \"%s\"", line,
                       error.message, reason);
}

Test(options, has_defaults_for_all_but_the_data)
{
    struct options options;
    tk_error error;
    cr_assert_eq(parse("--base a.i8 --queries b.i8", &options, &error), 0);
    cr_expect_str_eq(options.base, "a.i8");
    cr_expect_str_eq(options.queries, "b.i8");
    cr_expect_eq(options.k, 10);
    cr_expect_eq(options.threads, 2);
    cr_expect_eq(options.repeats, 5);
    cr_expect_eq(options.sections, SECTION_ALL);
    cr_expect_eq(options.peers_count, 2);
    cr_expect_str_eq(options.peers[0], "hnswlib");
    cr_expect_not(options.efs_given);
    cr_expect_null(options.json);
    cr_expect_null(options.name);
    cr_expect_eq(options.base_format, FORMAT_BY_NAME);
    cr_expect_eq(options.queries_format, FORMAT_BY_NAME);
}

Test(options, can_do_without_queries)
{
    struct options options;
    tk_error error;
    cr_assert_eq(parse("--base a.i8", &options, &error), 0);
    cr_expect_null(options.queries);
}

Test(options, lets_the_base_have_a_format_of_its_own)
{
    struct options options;
    tk_error error;
    cr_assert_eq(parse("--base a --queries b --format fvecs", &options, &error), 0);
    cr_expect_eq(options.base_format, FORMAT_FVECS);
    cr_expect_eq(options.queries_format, FORMAT_FVECS);
    cr_assert_eq(
        parse("--base-format fbin --base a --queries b --format fvecs --name x", &options, &error),
        0);
    cr_expect_eq(options.base_format, FORMAT_FBIN);
    cr_expect_eq(options.queries_format, FORMAT_FVECS);
    cr_expect_str_eq(options.name, "x");
    cr_assert_eq(parse("--base-format fbin --base a --queries b", &options, &error), 0);
    cr_expect_eq(options.queries_format, FORMAT_BY_NAME);
}

Test(options, speaks_as_who_runs_it)
{
    char own[] = "/usr/libexec/tekupdb/tekup-bench", runner[] = "tekup bench";
    char *by_itself[] = {own, NULL}, *by_tekup[] = {runner, NULL}, *by_nobody[] = {NULL};
    cr_expect_str_eq(options_program(by_itself), "tekup-bench");
    cr_expect_str_eq(options_program(by_tekup), "tekup bench");
    cr_expect_str_eq(options_program(by_nobody), "tekup-bench");
}

Test(options, takes_every_option)
{
    struct options options;
    tk_error error;
    cr_assert_eq(parse("--synthetic 5000,16.5 --threads 8 --k 20 --peers pgvector --pgvector-dsn x "
                       "--ef 40,10,20,10 --repeats 7 --only search,load --json j --svg s",
                       &options, &error),
                 0, "%s", error.message);
    cr_expect_eq(options.synthetic, 5000);
    cr_expect_float_eq(options.synthetic_lid, 16.5, 0);
    cr_expect_eq(options.threads, 8);
    cr_expect_eq(options.k, 20);
    cr_expect_eq(options.peers_count, 1);
    cr_expect_str_eq(options.peers[0], "pgvector");
    cr_assert_eq(options.efs_count, 3);
    cr_expect_eq(options.efs[0], 10);
    cr_expect_eq(options.efs[2], 40);
    cr_expect_eq(options.sections, SECTION_SEARCH | SECTION_LOAD);
}

Test(options, measures_against_nobody_where_told)
{
    struct options options;
    tk_error error;
    cr_assert_eq(parse("--base a --queries b --peers none", &options, &error), 0);
    cr_expect_eq(options.peers_count, 0);
}

Test(options, names_what_is_wrong)
{
    expect_refused("", "--base is missing");
    expect_refused("--synthetic 10,2 --base a", "--synthetic");
    expect_refused("--synthetic 10", "not N,LID");
    expect_refused("--synthetic 10,", "not N,LID");
    expect_refused("--synthetic 10,-1", "not N,LID");
    expect_refused("--synthetic 10,nan", "not N,LID");
    expect_refused("--synthetic 10,2x", "not N,LID");
    expect_refused("--synthetic 0,2", "--synthetic");
    expect_refused("--base a --queries b --format csv", "--format");
    expect_refused("--base a --queries b --base-format csv", "--base-format");
    expect_refused("--base a --queries b --dim 0", "--dim");
    expect_refused("--base a --queries b --dim 99999999999999999999", "--dim");
    expect_refused("--base a --queries b --threads 0", "--threads");
    expect_refused("--base a --queries b --threads -1", "--threads");
    expect_refused("--base a --queries b --k 101", "--k");
    expect_refused("--base a --queries b --ef 10,,20", "--ef");
    expect_refused("--base a --queries b --ef 10,x", "--ef");
    expect_refused("--base a --queries b --peers milvus", "--peers: \"milvus\"");
    expect_refused("--base a --queries b --peers faiss,faiss", "named twice");
    expect_refused("--base a --queries b --peers pgvector", "--pgvector-dsn");
    expect_refused("--base a --queries b --only everything", "--only: \"everything\"");
    expect_refused("--base a --queries b --only build --svg s", "--svg");
    expect_refused("--base a --queries b --json - --svg -", "the same file");
    expect_refused("--base a --queries", "--queries needs a value");
    expect_refused("--base a --queries b --frobnicate", "--frobnicate is not an option");
    expect_refused("--base a --queries b c", "\"c\" is not an option");
}
