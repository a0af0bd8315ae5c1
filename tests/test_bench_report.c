/* The three forms of the results: XML that a parser takes, JSON as it was promised, aligned text.
 */
#include "bench/output.h"
#include "bench/report.h"
#include "bench/text.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_point(struct results *results, const char *engine, size_t ef, double recall,
                      double qps, unsigned threads)
{
    struct point point = {.engine = engine,
                          .setting = "ef",
                          .ef = ef,
                          .recall = recall,
                          .speed = {qps, 1e6 / qps, 2e6 / qps, 3e6 / qps},
                          .threads = threads};
    results_point(results, &point);
}

static struct results *make_results(void)
{
    struct results *results = calloc(1, sizeof(*results));
    cr_assert_not_null(results);
    results->clock = "wall";
    results->vectors = 50000;
    results->queries = 1000;
    results->dim = 1536;
    results->k = 10;
    results->repeats = 5;
    results->lid = 22;
    snprintf(results->dataset, sizeof(results->dataset), "set <1> & \"more\".i8");
    snprintf(results->machine, sizeof(results->machine), "A <processor> & memory");
    add_point(results, "tekup", 10, 0.91, 21000, 1);
    add_point(results, "tekup", 16, 0.951, 19000, 1);
    add_point(results, "tekup", 20, 0.96, 20000, 1);
    add_point(results, "tekup", 90, 0.9991, 8000, 1);
    add_point(results, "tekup", 16, 0.951, 39000, 2);
    add_point(results, "hnswlib", 10, 0.80, 4000, 1);
    add_point(results, "hnswlib", 60, 0.952, 2000, 1);
    add_point(results, "hnswlib", 200, 1, 500, 1);
    results_built(results, &(struct built){.engine = "tekup",
                                           .seconds = 9.5,
                                           .threads = 2,
                                           .repeats = 3,
                                           .bytes_per_vector = 8100,
                                           .own_bytes_per_vector = 8000,
                                           .vectors = 50000});
    results_figure(results, &(struct figure){.name = "build_seconds",
                                             .title = "build time",
                                             .unit = "s",
                                             .engine = "tekup",
                                             .value = 9.5,
                                             .against = "hnswlib",
                                             .reference = 38});
    results_figure(results, &(struct figure){.name = "qps",
                                             .title = "not measured",
                                             .unit = "/s",
                                             .engine = "tekup",
                                             .value = NAN,
                                             .against = "hnswlib",
                                             .reference = NAN});
    results_note(results, "a note");
    return results;
}

/* What a report writes, as text to be freed. */
static char *svg_of(const struct results *results)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    report_svg(results, out);
    fclose(out);
    return text;
}

static json_t *json_of(const struct results *results)
{
    char *text = NULL;
    size_t size;
    tk_error error;
    FILE *out = open_memstream(&text, &size);
    cr_assert_eq(report_json(results, out, &error), 0, "%s", error.message);
    fclose(out);
    json_error_t wrong;
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    cr_assert_not_null(document, "%s", wrong.text);
    free(text);
    return document;
}

/* ---- XML ------------------------------------------------------------------------------------- */

/* Skips an attribute: name="value" without '<' or a bare '&'. */
static const char *skip_attribute(const char *at)
{
    while (isalnum((unsigned char)*at) || *at == '-' || *at == ':') at++;
    if (*at++ != '=' || *at++ != '"') return NULL;
    for (; *at && *at != '"'; at++)
        if (*at == '<' || *at == '&') return NULL;
    return *at ? at + 1 : NULL;
}

static const char *skip_entity(const char *at)
{
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    for (size_t i = 0; i < sizeof(entities) / sizeof(*entities); i++)
        if (strncmp(at, entities[i], strlen(entities[i])) == 0) return at + strlen(entities[i]);
    return NULL;
}

/* Why a text is no well-formed XML of elements, attributes and text; NULL where it is. */
static const char *xml_fault(const char *at)
{
    struct {
        const char *name;
        size_t length;
    } open[16];
    size_t depth = 0, roots = 0;
    while (*at) {
        if (*at == '&') {
            if (!depth || !(at = skip_entity(at))) return "a bare ampersand";
        } else if (*at == '>') {
            return "a bare bracket";
        } else if (*at != '<') {
            if (!depth && !isspace((unsigned char)*at)) return "text outside of the root";
            if ((unsigned char)*at < 0x20 && *at != '\n') return "a control character";
            at++;
        } else {
            bool closing = *++at == '/';
            at += closing;
            const char *name = at;
            while (isalpha((unsigned char)*at)) at++;
            size_t length = (size_t)(at - name);
            if (length == 0) return "a tag without a name";
            if (closing) {
                if (!depth || open[depth - 1].length != length ||
                    strncmp(open[depth - 1].name, name, length) != 0 || *at++ != '>')
                    return "a closing tag that does not match";
                depth--;
                continue;
            }
            while (*at == ' ' && at[1] != '/')
                if (!(at = skip_attribute(at + 1))) return "a broken attribute";
            if (depth == 0 && roots++) return "two roots";
            if (strncmp(at, "/>", 2) == 0) {
                at += 2;
                continue;
            }
            if (*at++ != '>' || depth == 16) return "a tag that does not end";
            open[depth].name = name;
            open[depth++].length = length;
        }
    }
    return depth ? "a tag that is not closed" : roots ? NULL : "no root";
}

Test(xml, faults_are_found)
{
    cr_expect_null(xml_fault("<a b=\"c\"><d/>x &amp; y</a>\n"));
    cr_expect_not_null(xml_fault("<a><b></a></b>"));
    cr_expect_not_null(xml_fault("<a>x & y</a>"));
    cr_expect_not_null(xml_fault("<a b=\"<\"/>"));
    cr_expect_not_null(xml_fault("<a b=c/>"));
    cr_expect_not_null(xml_fault("<a>"));
    cr_expect_not_null(xml_fault("<a/><a/>"));
    cr_expect_not_null(xml_fault(""));
}

Test(svg, is_well_formed_whatever_the_names_hold)
{
    struct results *results = make_results();
    char *svg = svg_of(results);
    cr_expect_null(xml_fault(svg), "%s", xml_fault(svg));
    cr_expect_not_null(strstr(svg, "set &lt;1&gt; &amp; \"more\".i8"));
    cr_expect_not_null(strstr(svg, ">tekup</text>"));
    cr_expect_not_null(strstr(svg, ">hnswlib</text>"));
    free(svg);
    free(results);
}

Test(svg, marks_how_many_times_as_fast_it_is)
{
    struct results *results = make_results();
    char *svg = svg_of(results);
    /* 20,000 a second (the fastest that reaches 0.95) against 2,000. */
    cr_expect_not_null(strstr(svg, ">10.0×</text>"));
    free(svg);
    free(results);
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text++) n++;
    return n;
}

Test(svg, leaves_out_settings_that_another_one_beats)
{
    struct results *results = make_results();
    char *svg = svg_of(results);
    /* Of tekup's four with one thread, that of ef 16 is slower than that of ef 20. */
    cr_expect_eq(occurrences(svg, "<title>tekup, "), 3);
    cr_expect_eq(occurrences(svg, "<title>hnswlib, "), 3);
    cr_expect_null(strstr(svg, "tekup, ef 16:"));
    free(svg);
    add_point(results, "hnswlib", 400, 1, 300, 1);
    add_point(results, "hnswlib", 150, 1, 600, 1);
    svg = svg_of(results);
    cr_expect_eq(occurrences(svg, "<title>hnswlib, "), 3);
    cr_expect_not_null(strstr(svg, "hnswlib, ef 150:"));
    free(svg);
    free(results);
}

Test(svg, shows_what_is_near_enough_to_the_truth)
{
    struct results *results = make_results();
    add_point(results, "hnswlib", 5, 0.6, 5000, 1);
    add_point(results, "hnswlib", 190, 0.9997, 550, 1);
    add_point(results, "faiss", 5, 0.7, 3000, 1);
    char *svg = svg_of(results);
    cr_expect_null(xml_fault(svg), "%s", xml_fault(svg));
    cr_expect_not_null(strstr(svg, "faiss, ef 5:"), "all there is of an engine is shown");
    cr_expect_not_null(strstr(svg, "hnswlib, ef 190:"));
    cr_expect_null(strstr(svg, "hnswlib, ef 200:"), "as good as that one, and slower");
    cr_expect_null(strstr(svg, "hnswlib, ef 5:"), "left of the edge");
    free(svg);
    results->points_count--;
    svg = svg_of(results);
    cr_expect_null(strstr(svg, "faiss, "));
    cr_expect_not_null(strstr(svg, ">0.8</text>"));
    cr_expect_null(strstr(svg, ">0.7</text>"));
    free(svg);
    free(results);
}

Test(svg, names_never_stand_on_each_other)
{
    struct results *results = make_results();
    results->points_count = 0;
    static const char *const engines[] = {"tekup", "hnswlib", "faiss", "pgvector", "another"};
    for (size_t i = 0; i < 5; i++) {
        add_point(results, engines[i], 10, 0.9, 1000 + 10.0 * (double)i, 1);
        add_point(results, engines[i], 90, 0.99, 100 + (double)i, 1);
    }
    char *svg = svg_of(results);
    double places[5];
    for (size_t i = 0; i < 5; i++) {
        char end[32];
        snprintf(end, sizeof(end), ">%s</text>", engines[i]);
        const char *at = strstr(svg, end);
        cr_assert_not_null(at, "%s", engines[i]);
        while (strncmp(at, "<text ", 6) != 0) at--;
        cr_assert_eq(sscanf(strstr(at, " y="), " y=\"%lf\"", &places[i]), 1);
        for (size_t j = 0; j < i; j++) cr_expect_geq(fabs(places[i] - places[j]), 18.0);
    }
    free(svg);
    free(results);
}

Test(svg, has_colours_for_the_dark)
{
    struct results *results = make_results();
    char *svg = svg_of(results);
    const char *dark = strstr(svg, "<style>@media (prefers-color-scheme:dark){");
    cr_assert_not_null(dark);
    /* Every class that is used has its colour there. */
    for (const char *at = svg; (at = strstr(at, "class=\"")); at++) {
        char name[32], rule[36];
        cr_assert_eq(sscanf(at, "class=\"%30[^\"]", name), 1);
        snprintf(rule, sizeof(rule), ".%s", name);
        const char *found = strstr(dark, rule);
        cr_expect(found && found < strstr(dark, "</style>"), "%s", name);
    }
    free(svg);
    free(results);
}

Test(svg, survives_points_at_the_edges)
{
    struct results *results = make_results();
    char *svg;
    results->points_count = 0;
    svg = svg_of(results);
    cr_expect_null(xml_fault(svg), "without points: %s", xml_fault(svg));
    free(svg);
    add_point(results, "tekup", 10, 1, 1e-9, 1);
    add_point(results, "an engine & more", 10, 0, 1e9, 1);
    svg = svg_of(results);
    cr_expect_null(xml_fault(svg), "at the edges: %s", xml_fault(svg));
    cr_expect_null(strstr(svg, "nan"));
    cr_expect_null(strstr(svg, "inf\""));
    free(svg);
    free(results);
}

Test(svg, cuts_names_that_are_too_long)
{
    struct results *results = make_results();
    memset(results->dataset, 'x', sizeof(results->dataset) - 1);
    memset(results->machine, 'y', sizeof(results->machine) - 1);
    char *svg = svg_of(results);
    cr_expect_null(xml_fault(svg));
    cr_expect_not_null(strstr(svg, "xxx...: 50,000 vectors"));
    cr_expect_null(strstr(svg, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"));
    free(svg);
    free(results);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s is not a number", key);
    return json_number_value(value);
}

Test(json, has_an_object_for_each_point_and_each_index)
{
    struct results *results = make_results();
    json_t *document = json_of(results);
    const json_t *points = json_object_get(document, "points");
    cr_assert_eq(json_array_size(points), 8);
    const json_t *point = json_array_get(points, 1);
    cr_expect_str_eq(json_string_value(json_object_get(point, "engine")), "tekup");
    cr_expect_float_eq(number_at(point, "ef"), 16, 0);
    cr_expect_float_eq(number_at(point, "recall_at_10"), 0.951, 1e-9);
    cr_expect_float_eq(number_at(point, "qps"), 19000, 1e-3);
    cr_expect_float_eq(number_at(point, "p50_us"), 1e6 / 19000, 1e-4);
    cr_expect_float_eq(number_at(point, "p95_us"), 2e6 / 19000, 1e-4);
    cr_expect_float_eq(number_at(point, "p99_us"), 3e6 / 19000, 1e-4);
    cr_expect_float_eq(number_at(point, "threads"), 1, 0);
    cr_expect_eq(json_object_size(point), 8);
    const json_t *built = json_array_get(json_object_get(document, "builds"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(built, "engine")), "tekup");
    cr_expect_float_eq(number_at(built, "build_seconds"), 9.5, 1e-9);
    cr_expect_float_eq(number_at(built, "build_threads"), 2, 0);
    cr_expect_float_eq(number_at(built, "bytes_per_vector"), 8100, 1e-9);
    cr_expect_float_eq(number_at(built, "vectors"), 50000, 0);
    cr_expect_eq(json_object_size(built), 5);
    json_decref(document);
    free(results);
}

Test(json, gives_ratios_and_null_for_what_was_not_measured)
{
    struct results *results = make_results();
    json_t *document = json_of(results);
    const json_t *summary = json_object_get(document, "summary");
    const json_t *figures = json_object_get(summary, "figures");
    cr_assert_eq(json_array_size(figures), 2);
    cr_expect_float_eq(number_at(json_array_get(figures, 0), "ratio"), 0.25, 1e-9);
    cr_expect(json_is_null(json_object_get(json_array_get(figures, 1), "value")));
    cr_expect(json_is_null(json_object_get(json_array_get(figures, 1), "ratio")));
    const char *const header[] = {"machine", "kernel", "dataset", "date"};
    for (size_t i = 0; i < 4; i++)
        cr_expect(json_is_string(json_object_get(document, header[i])), "%s", header[i]);
    json_decref(document);
    free(results);
}

/* ---- Text ------------------------------------------------------------------------------------ */

Test(table, lines_its_columns_up)
{
    struct results *results = make_results();
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    report_table(results, out, false);
    fclose(out);
    /* All rows of the table of searches are as wide as its heading. */
    char *at = strstr(text, "recall@10");
    cr_assert_not_null(at);
    while (at > text && at[-1] != '\n') at--;
    size_t rows = 0, width = 0;
    for (char *line = strtok(at, "\n"); line && strncmp(line, "Summary", 7) != 0;
         line = strtok(NULL, "\n"), rows++) {
        if (rows == 0) width = text_width(line);
        cr_expect_eq(text_width(line), width, "\"%s\"", line);
    }
    cr_expect_eq(rows, 9);
    free(text);
    free(results);
}

Test(results, choose_the_fastest_measured_setting_of_one_thread)
{
    struct results *results = make_results();
    cr_expect_eq(results_fastest(results, "tekup", 0.95)->ef, 20);
    cr_expect_eq(results_fastest(results, "hnswlib", 0.95)->ef, 60);
    cr_expect_eq(results_fastest(results, "tekup", 0.99)->ef, 90);
    cr_expect_null(results_fastest(results, "tekup", 0.9999));
    cr_expect_null(results_fastest(results, "faiss", 0));
    cr_expect_eq(results_highest(results, "tekup")->ef, 90);
    free(results);
}

Test(text, shows_numbers_with_the_digits_that_matter)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},         {0.01234, "0.0123"},    {1.2345, "1.23"}, {9.994, "9.99"},
                 {9.996, "10.0"},  {12.34, "12.3"},        {99.96, "100"},   {123.4, "123"},
                 {999.7, "1,000"}, {1234567, "1,234,567"}, {NAN, "-"},       {INFINITY, "-"}};
    char out[NUMBER_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        cr_expect_str_eq(text_number(cases[i].value, out), cases[i].text);
    cr_expect_str_eq(text_count(0, out), "0");
    cr_expect_str_eq(text_count(SIZE_MAX, out), "18,446,744,073,709,551,615");
}

Test(text, is_cleaned_of_what_json_and_xml_cannot_hold)
{
    char bytes[] = "a\x01\xff\xc3\xa6\xe2\x82z\x7f\xef\xbf\xbf";
    text_clean(bytes);
    cr_expect_str_eq(bytes, "a??\xc3\xa6??z????");
    char word[] = "\xc3\xa6\xc3\xa6\xc3\xa6\xc3\xa6\xc3\xa6";
    cr_expect_eq(text_width(word), 5);
    text_cut(word, 5);
    cr_expect_eq(text_width(word), 5);
    text_cut(word, 4);
    cr_expect_str_eq(word, "\xc3\xa6...");
}

/* ---- Files ----------------------------------------------------------------------------------- */

Test(output, takes_its_name_only_when_it_is_complete)
{
    char folder[] = "/tmp/test_bench_XXXXXX", path[64], text[16] = "";
    struct output output;
    tk_error error;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/out", folder);
    cr_assert_eq(output_open(&output, path, &error), 0);
    fputs("new", output.stream);
    cr_expect_neq(access(path, F_OK), 0);
    output_discard(&output);
    cr_expect_eq(rmdir(folder), 0, "something was left behind");
    snprintf(folder, sizeof(folder), "/tmp/test_bench_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/out", folder);
    cr_assert_eq(output_open(&output, path, &error), 0);
    fputs("new", output.stream);
    cr_assert_eq(output_commit(&output, &error), 0);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_expect_not_null(fgets(text, sizeof(text), file));
    cr_expect_str_eq(text, "new");
    fclose(file);
    unlink(path);
    cr_expect_eq(rmdir(folder), 0);
}

Test(output, refuses_a_name_that_cannot_be_written_at_once)
{
    struct output output;
    tk_error error = {0};
    cr_expect_eq(output_open(&output, "/nowhere/at/all", &error), -1);
    cr_expect_not_null(strstr(error.message, "/nowhere/at/all: No such file"));
    cr_expect_eq(output_open(&output, "/tmp", &error), -1);
    cr_expect_not_null(strstr(error.message, "is a directory"));
}
