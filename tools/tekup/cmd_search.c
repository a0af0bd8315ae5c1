/* cmd_search.c: tekup search: the documents most similar to a text. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/snippet.h"
#include "tools/tekup/text.h"

#include <stdlib.h>
#include <string.h>

enum { SNIPPET_LINES = 3, SNIPPET_INDENT = 4, PIPE_WIDTH = 100 };

static const char help[] =
    "Usage: tekup search TEXT [--limit N] [--threshold X] [--source S] [--repository R] [--json]\n"
    "\n"
    "Finds the documents most similar to TEXT, best first: each with its rank, its similarity\n"
    "(1 is identical), its place, and the lines of its best passage. Several words need no\n"
    "quotes. A text that begins with '-' goes after '--'.\n"
    "\n"
    "Options:\n"
    "  --limit N        at most N documents, 1 to 1000 (10)\n"
    "  --threshold X    only documents of at least this similarity, -1 to 1\n"
    "  --source S       only documents of this kind of source: local\n"
    "  --repository R   only documents of this repository (see 'tekup sources list')\n"
    "  --json           the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup search \"how do I turn off the bell in bash\"\n"
    "  tekup search licence of the kernel --repository /usr/share/doc --limit 3\n"
    "  tekup search vacuum --json | jq -r '.results[].path'\n";

/* The words of TEXT with a space between them. */
static char *join(char **words, int count)
{
    struct buffer text = {0};
    for (int i = 0; i < count; i++) buffer_format(&text, "%s%s", i > 0 ? " " : "", words[i]);
    return buffer_take(&text);
}

/* One hit: a line with rank, similarity and place, then the passage. */
static void print_hit(int rank, const json_t *hit, const struct terms *terms,
                      const struct terminal *terminal)
{
    struct buffer place = {0}, snippet = {0};
    const char *const parts[] = {field_text(hit, "source"), field_text(hit, "repository"),
                                 field_text(hit, "path")};
    for (int i = 0; i < 2; i++) {
        text_clean(&place, parts[i], strlen(parts[i]), TEXT_ONE_LINE);
        buffer_text(&place, "  ");
    }
    struct buffer path = {0};
    text_clean(&path, parts[2], strlen(parts[2]), TEXT_ONE_LINE);
    printf("%s%3d%s  %s%.4f%s  %s%s%s%s%s%s\n", terminal_style(terminal, STYLE_BOLD), rank,
           terminal_style(terminal, STYLE_NONE), terminal_style(terminal, STYLE_GREEN),
           field_number(hit, "similarity"), terminal_style(terminal, STYLE_NONE),
           terminal_style(terminal, STYLE_DIM), place.data != NULL ? place.data : "",
           terminal_style(terminal, STYLE_NONE), terminal_style(terminal, STYLE_BOLD),
           path.data != NULL ? path.data : "", terminal_style(terminal, STYLE_NONE));

    const json_t *text = json_object_get(json_object_get(hit, "chunk"), "text");
    const struct snippet_style style = {
        .width = terminal->width > 0 ? terminal->width : PIPE_WIDTH,
        .indent = SNIPPET_INDENT,
        .lines = SNIPPET_LINES,
        .mark_on = terminal_style(terminal, STYLE_YELLOW),
        .mark_off = terminal_style(terminal, STYLE_NONE),
    };
    if (json_is_string(text))
        snippet_format(&snippet, terms, json_string_value(text), json_string_length(text), &style);
    fwrite(snippet.data != NULL ? snippet.data : "", 1, snippet.length, stdout);
    putchar('\n');
    buffer_free(&place);
    buffer_free(&path);
    buffer_free(&snippet);
}

static int print_results(const json_t *answer, const char *query)
{
    const struct terminal terminal = terminal_of(stdout);
    struct terms *terms = malloc(sizeof(*terms));
    if (terms == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    terms_parse(terms, query);
    size_t i;
    json_t *hit;
    const json_t *results = json_object_get(answer, "results");
    json_array_foreach(results, i, hit) print_hit((int)i + 1, hit, terms, &terminal);
    free(terms);

    char took[FIGURE_SIZE];
    const size_t count = json_array_size(results);
    printf("%s%zu %s in %s, by the model %s%s\n", terminal_style(&terminal, STYLE_DIM), count,
           count == 1 ? "document" : "documents",
           figure_seconds(field_number(answer, "tookMs") / 1000, took), field_text(answer, "model"),
           terminal_style(&terminal, STYLE_NONE));
    const char *partial = field_text(answer, "partial");
    if (*partial != '\0') command_note("the answer is not complete: %s", partial);
    return command_finish();
}

/* The body of the call; NULL when memory ran out or the text is not UTF-8. */
static json_t *make_body(const char *query, const char *source, const char *repository)
{
    json_t *body = json_pack("{s:s, s:[s]}", "query", query, "include", "chunk");
    if (body == NULL) return NULL;
    int failed = 0;
    if (source != NULL) failed |= json_object_set_new(body, "source", json_string(source));
    if (repository != NULL)
        failed |= json_object_set_new(body, "repository", json_string(repository));
    if (failed == 0) return body;
    json_decref(body);
    return NULL;
}

static int run(const struct arguments *arguments)
{
    const char *limit = NULL, *threshold = NULL, *source = NULL, *repository = NULL;
    bool json = false;
    const struct option_spec specs[] = {
        {"limit", &limit, NULL},   {"threshold", &threshold, NULL},
        {"source", &source, NULL}, {"repository", &repository, NULL},
        {"json", NULL, &json},     {0}};
    char **words;
    const int count = options_parse(arguments, specs, 1, 10000, "TEXT", &words);
    if (count < 0) return EXIT_USAGE;
    long long most = 0;
    double least = 0;
    if (limit != NULL && figure_parse_integer(limit, &most) != 0)
        return options_wrong(arguments, "--limit takes a whole number, not '%s'", limit);
    if (threshold != NULL && figure_parse_number(threshold, &least) != 0)
        return options_wrong(arguments, "--threshold takes a number, not '%s'", threshold);

    int result;
    struct error err = {0};
    struct response response = {0};
    char *query = join(words, count);
    json_t *body = query != NULL ? make_body(query, source, repository) : NULL;
    if (body == NULL) {
        error_set(&err, ERR_INVALID, NULL, "the arguments are not valid UTF-8");
        result = command_failed(&err, NULL, json);
        goto out;
    }
    if (limit != NULL) json_object_set_new(body, "limit", json_integer(most));
    if (threshold != NULL) json_object_set_new(body, "threshold", json_real(least));
    /* Machines get what a call without `include` gives: the passage and the metadata. */
    if (json) json_object_del(body, "include");

    if (command_call("POST", "/v1/search", body, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_results(response.json, query);
out:
    response_free(&response);
    json_decref(body);
    free(query);
    return result;
}

const struct command command_search = {
    .name = "search",
    .summary = "find the documents most similar to a text",
    .help = help,
    .run = run,
};
