/* cmd_search.c: tekup search: the documents that a text finds, by meaning, by words, or by both. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/snippet.h"
#include "tools/tekup/text.h"

#include <stdlib.h>
#include <string.h>

enum { SNIPPET_LINES = 3, SNIPPET_INDENT = 4, PIPE_WIDTH = 100 };

static const char help[] =
    "Usage: tekup search TEXT [--mode M] [--limit N] [--threshold X] [--source S] [--repository "
    "R]\n"
    "                    [--path P] [--chunks] [--diversity D] [--json]\n"
    "\n"
    "Finds the documents that fit TEXT best, best first: each with its rank, its similarity\n"
    "(1 is identical) and its place, and the lines of its best passage. Several words need no\n"
    "quotes. A text that begins with '-' goes after '--'.\n"
    "\n"
    "By words, \"a phrase\" is found as it stands, wor* finds what begins so, and -word leaves\n"
    "out what has it. By words and meaning together the order is by both, so that the "
    "similarities\n"
    "go up and down.\n"
    "\n"
    "Options:\n"
    "  --mode M         vector (by meaning), text (by words) or hybrid (both); what the daemon's\n"
    "                   embeddings are best at without it\n"
    "  --limit N        at most N results, 1 to 1000 (10)\n"
    "  --threshold X    only documents of at least this similarity, -1 to 1\n"
    "  --source S       only documents of this source: local, github, notion, gdrive, or the\n"
    "                   name that 'tekup documents put' was given\n"
    "  --repository R   only documents of this repository (see 'tekup sources list')\n"
    "  --path P         only documents whose path begins with P\n"
    "  --chunks         every passage that fits, not each document's best\n"
    "  --diversity D    0 to 1: how much a result has to differ from those before it (0)\n"
    "  --json           the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup search \"how do I turn off the bell in bash\"\n"
    "  tekup search licence of the kernel --repository /usr/share/doc --limit 3\n"
    "  tekup search --mode text '\"write-ahead log\" archiv* -replication'\n"
    "  tekup search vacuum --json | jq -r '.results[].path'\n";

/* The words of TEXT with a space between them. */
static char *join(char **words, int count)
{
    struct buffer text = {0};
    for (int i = 0; i < count; i++) buffer_format(&text, "%s%s", i > 0 ? " " : "", words[i]);
    return buffer_take(&text);
}

/* The words of the query, or those of the passage that it found, which may be other forms. */
static void find_terms(struct terms *terms, const char *query, const json_t *hit)
{
    size_t i;
    const json_t *range;
    struct buffer words = {0};
    const json_t *text = json_object_get(json_object_get(hit, "chunk"), "text");
    json_array_foreach(json_object_get(hit, "highlights"), i, range)
    {
        const json_int_t start = json_integer_value(json_object_get(range, "start"));
        const json_int_t end = json_integer_value(json_object_get(range, "end"));
        if (start < 0 || end < start || (size_t)end > json_string_length(text)) continue;
        buffer_append(&words, json_string_value(text) + start, (size_t)(end - start));
        buffer_text(&words, " ");
    }
    terms_parse(terms, words.data != NULL ? words.data : query);
    buffer_free(&words);
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
    const json_t *similarity = json_object_get(hit, "similarity"); /* null where words found it */
    struct buffer path = {0};
    text_clean(&path, parts[2], strlen(parts[2]), TEXT_ONE_LINE);
    printf("%s%3d%s  %s%.4f%s  %s%s%s%s%s%s\n", terminal_style(terminal, STYLE_BOLD), rank,
           terminal_style(terminal, STYLE_NONE), terminal_style(terminal, STYLE_GREEN),
           field_number(hit, json_is_number(similarity) ? "similarity" : "score"),
           terminal_style(terminal, STYLE_NONE), terminal_style(terminal, STYLE_DIM),
           place.data != NULL ? place.data : "", terminal_style(terminal, STYLE_NONE),
           terminal_style(terminal, STYLE_BOLD), path.data != NULL ? path.data : "",
           terminal_style(terminal, STYLE_NONE));

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

/* What the order of the results is by: the similarities of what words found too go up and down. */
static void print_summary(const json_t *answer, bool chunks, const struct terminal *terminal)
{
    char took[FIGURE_SIZE];
    const char *mode = field_text(answer, "mode");
    const bool words = strcmp(mode, "text") == 0;
    const size_t count = json_array_size(json_object_get(answer, "results"));
    printf("%s%zu %s%s by %s in %s", terminal_style(terminal, STYLE_DIM), count,
           chunks ? "passage" : "document", count == 1 ? "" : "s",
           words                         ? "words"
           : strcmp(mode, "hybrid") == 0 ? "meaning and words together"
                                         : "meaning",
           figure_seconds(field_number(answer, "tookMs") / 1000, took));
    if (!words) printf(", by the model %s", field_text(answer, "model"));
    printf("%s\n", terminal_style(terminal, STYLE_NONE));
}

/* Nothing was found: is there anything, and where it was looked for? */
static void explain_nothing(const char *source, const char *repository)
{
    struct error err = {0};
    struct response response = {0};
    bool any = false, there = false;
    if (command_call("GET", "/v1/repositories", NULL, &response, &err) == 0) {
        size_t i;
        const json_t *one;
        json_array_foreach(json_object_get(response.json, "repositories"), i, one)
        {
            if (field_integer(one, "documents") == 0) continue;
            any = true;
            if ((source == NULL || strcmp(source, field_text(one, "source")) == 0) &&
                (repository == NULL || strcmp(repository, field_text(one, "repository")) == 0))
                there = true;
        }
        if (!any)
            command_note("there are no documents yet: 'tekup sources add --help' says how they "
                         "come in");
        else if (!there)
            command_note("there are no documents of %s%s%s: 'tekup sources list' has the names",
                         source != NULL ? source : "",
                         source != NULL && repository != NULL ? " " : "",
                         repository != NULL ? repository : "");
    }
    response_free(&response);
}

static int print_results(const json_t *answer, const char *query, bool chunks)
{
    const struct terminal terminal = terminal_of(stdout);
    struct terms *terms = malloc(sizeof(*terms));
    if (terms == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    size_t i;
    json_t *hit;
    const json_t *results = json_object_get(answer, "results");
    json_array_foreach(results, i, hit)
    {
        find_terms(terms, query, hit);
        print_hit((int)i + 1, hit, terms, &terminal);
    }
    free(terms);

    print_summary(answer, chunks, &terminal);
    const char *partial = field_text(answer, "partial");
    if (*partial != '\0') command_note("the answer is not complete: %s", partial);
    return command_finish();
}

/* A field of the body, where its option is given. */
struct filter {
    const char *field, **value;
};

/* The body of the call; NULL when memory ran out or the text is not UTF-8. */
static json_t *make_body(const char *query, const struct filter *filters)
{
    json_t *body = json_pack("{s:s, s:[ss]}", "query", query, "include", "chunk", "highlights");
    if (body == NULL) return NULL;
    int failed = 0;
    for (const struct filter *filter = filters; filter->field != NULL; filter++) {
        if (*filter->value == NULL) continue;
        failed |= json_object_set_new(body, filter->field, json_string(*filter->value));
    }
    if (failed == 0) return body;
    json_decref(body);
    return NULL;
}

static int run(const struct arguments *arguments)
{
    const char *limit = NULL, *threshold = NULL, *source = NULL, *repository = NULL;
    const char *mode = NULL, *path = NULL, *diversity = NULL;
    bool json = false, chunks = false;
    const struct option_spec specs[] = {
        {"limit", &limit, NULL},   {"threshold", &threshold, NULL},
        {"source", &source, NULL}, {"repository", &repository, NULL},
        {"mode", &mode, NULL},     {"path", &path, NULL},
        {"chunks", NULL, &chunks}, {"diversity", &diversity, NULL},
        {"json", NULL, &json},     {0}};
    const struct filter filters[] = {{"source", &source},
                                     {"repository", &repository},
                                     {"mode", &mode},
                                     {"pathPrefix", &path},
                                     {0}};
    char **words;
    const int count = options_parse(arguments, specs, 1, 10000, "TEXT", &words);
    if (count < 0) return EXIT_USAGE;
    long long most = 0;
    double least = 0, differs = 0;
    if (limit != NULL && figure_parse_integer(limit, &most) != 0)
        return options_wrong(arguments, "--limit takes a whole number, not '%s'", limit);
    if (threshold != NULL && figure_parse_number(threshold, &least) != 0)
        return options_wrong(arguments, "--threshold takes a number, not '%s'", threshold);
    if (diversity != NULL && figure_parse_number(diversity, &differs) != 0)
        return options_wrong(arguments, "--diversity takes a number, not '%s'", diversity);

    int result;
    struct error err = {0};
    struct response response = {0};
    char *query = join(words, count);
    json_t *body = query != NULL ? make_body(query, filters) : NULL;
    if (body == NULL) {
        error_set(&err, ERR_INVALID, NULL, "the arguments are not valid UTF-8");
        result = command_failed(&err, NULL, json);
        goto out;
    }
    if (limit != NULL) json_object_set_new(body, "limit", json_integer(most));
    if (threshold != NULL) json_object_set_new(body, "threshold", json_real(least));
    if (diversity != NULL) json_object_set_new(body, "diversity", json_real(differs));
    if (chunks) json_object_set_new(body, "group", json_string("chunk"));
    /* Machines get what a call without `include` gives: the passage and the metadata. */
    if (json) json_object_del(body, "include");

    if (command_call("POST", "/v1/search", body, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_results(response.json, query, chunks);
    if (!json && result == EXIT_DONE &&
        json_array_size(json_object_get(response.json, "results")) == 0)
        explain_nothing(source, repository);
out:
    response_free(&response);
    json_decref(body);
    free(query);
    return result;
}

const struct command command_search = {
    .name = "search",
    .summary = "find the documents that a text is about",
    .help = help,
    .run = run,
};
