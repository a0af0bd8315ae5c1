/* cmd_sources.c: tekup sources: the repositories that syncs take documents from. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/source_body.h"
#include "tools/tekup/table.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What `add` and `test` say about a source. */
struct source_options {
    const char *path, *base_url, *token_env, *interval;
    bool json;
};

/* ---- The body that describes a source ---- */

/* The daemon has another working directory: a path is made absolute here. Where it does not exist
 * it stays as near to what was typed as it can, for the daemon to say so. */
static char *absolute(const char *path)
{
    char *found = realpath(path, NULL);
    if (found != NULL || *path == '/') return found != NULL ? found : strdup(path);
    char *here = getcwd(NULL, 0);
    struct buffer joined = {0};
    if (here != NULL) buffer_format(&joined, "%s/%s", here, path);
    free(here);
    return joined.data != NULL ? buffer_take(&joined) : NULL;
}

static json_t *make_config(const char *source, const char *repository,
                           const struct source_options *options)
{
    json_t *config = json_object();
    /* A local repository that is named by its directory needs no --path. */
    const char *path = options->path;
    if (path == NULL && strcmp(source, "local") == 0 && *repository == '/') path = repository;
    int failed = config == NULL ? -1 : 0;
    if (path != NULL && failed == 0) {
        char *whole = absolute(path);
        failed |= whole == NULL ? -1 : json_object_set_new(config, "path", json_string(whole));
        free(whole);
    }
    if (options->base_url != NULL && failed == 0)
        failed |= json_object_set_new(config, "baseUrl", json_string(options->base_url));
    if (options->token_env != NULL && failed == 0)
        failed |= json_object_set_new(config, "tokenEnv", json_string(options->token_env));
    if (failed == 0) return config;
    json_decref(config);
    return NULL;
}

static json_t *make_body(char **words, const struct source_options *options, int interval)
{
    json_t *config = make_config(words[0], words[1], options);
    if (config == NULL) return NULL;
    return json_pack("{s:s, s:s, s:o, s:i}", "source", words[0], "repository", words[1], "config",
                     config, "intervalSeconds", interval);
}

/* ---- add ---- */

static const char add_help[] =
    "Usage: tekup sources add SOURCE REPOSITORY [--path DIR] [--base-url URL] [--token-env NAME]\n"
    "                         [--interval TIME] [--json]\n"
    "\n"
    "Registers a repository to take documents from, or changes the settings of one. Nothing is\n"
    "read yet: 'tekup sync' does.\n"
    "\n"
    "  SOURCE           the kind of source: local, a directory tree on the daemon's machine\n"
    "  REPOSITORY       its name, of your choosing; a local one that is named by its absolute "
    "path\n"
    "                   needs no --path\n"
    "\n"
    "Options:\n"
    "  --path DIR       the directory (local)\n"
    "  --base-url URL   the server, for kinds that are read over the network\n"
    "  --token-env NAME the environment variable of the daemon that holds the access token\n"
    "  --interval TIME  sync by itself this often: 90s, 15m, 6h, 7d; 0, the default, only on\n"
    "                   demand\n"
    "  --json           the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup sources add local /usr/share/doc\n"
    "  tekup sources add local handbook --path ~/handbook --interval 6h\n";

static int run_add(const struct arguments *arguments)
{
    struct source_options options = {0};
    const struct option_spec specs[] = {
        {"path", &options.path, NULL},           {"base-url", &options.base_url, NULL},
        {"token-env", &options.token_env, NULL}, {"interval", &options.interval, NULL},
        {"json", NULL, &options.json},           {0}};
    char **words;
    int interval = 0;
    if (options_parse(arguments, specs, 2, 2, "SOURCE REPOSITORY", &words) < 0) return EXIT_USAGE;
    if (options.interval != NULL && figure_parse_interval(options.interval, &interval) != 0)
        return options_wrong(arguments,
                             "--interval takes a time such as 90s, 15m, 6h or 7d, "
                             "not '%s'",
                             options.interval);

    int result;
    struct error err = {0};
    struct response response = {0};
    json_t *body = make_body(words, &options, interval);
    if (body == NULL) error_set(&err, ERR_INVALID, NULL, "the arguments are not valid UTF-8");
    if (body == NULL || command_call("PUT", "/v1/sources", body, &response, &err) != 0) {
        result = command_failed(&err, &response, options.json);
    } else if (options.json) {
        result = command_print_body(&response);
    } else {
        printf("%s; take it in with: tekup sync %s '%s'\n",
               response.status == 201 ? "added" : "changed", words[0], words[1]);
        result = command_finish();
    }
    response_free(&response);
    json_decref(body);
    return result;
}

/* ---- list ---- */

static const char list_help[] =
    "Usage: tekup sources list [--json]\n"
    "\n"
    "Lists the registered repositories. How the last sync of each went: 'tekup status'.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is\n"
    "\n"
    "Example:\n"
    "  tekup sources list\n";

static int print_list(const json_t *answer)
{
    static const struct column columns[] = {{"SOURCE", COLUMN_TEXT},
                                            {"REPOSITORY", COLUMN_SHRINK},
                                            {"SETTINGS", COLUMN_SHRINK},
                                            {"EVERY", COLUMN_TEXT},
                                            {"ADDED", COLUMN_TEXT}};
    const struct terminal terminal = terminal_of(stdout);
    const json_t *sources = json_object_get(answer, "sources");
    if (json_array_size(sources) == 0) {
        command_note("there are no sources yet: 'tekup sources add local /usr/share/doc' makes "
                     "one");
        return EXIT_DONE;
    }
    struct table *table = table_create(columns, 5);
    if (table == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    size_t i;
    json_t *source;
    json_array_foreach(sources, i, source)
    {
        char figure[FIGURE_SIZE];
        const long long interval = field_integer(source, "intervalSeconds");
        table_cell(table, field_text(source, "source"), STYLE_NONE);
        table_cell(table, field_text(source, "repository"), STYLE_BOLD);
        struct buffer settings = {0};
        const char *name;
        json_t *value;
        json_object_foreach(json_object_get(source, "config"), name, value)
        {
            char *text = json_is_string(value) ? strdup(json_string_value(value))
                                               : json_dumps(value, JSON_ENCODE_ANY);
            buffer_format(&settings, "%s%s=%s", settings.length > 0 ? " " : "", name,
                          text != NULL ? text : "");
            free(text);
        }
        table_cell(table, settings.data, STYLE_NONE);
        buffer_free(&settings);
        table_cell(table, interval > 0 ? figure_interval(interval, figure) : NULL, STYLE_NONE);
        table_cell(table, figure_age(field_text(source, "createdAt"), time(NULL), figure),
                   STYLE_NONE);
    }
    const int printed = table_print(table, stdout, &terminal);
    table_free(table);
    if (printed == 0) return command_finish();
    command_note("out of memory");
    return EXIT_FAILED;
}

static int run_list(const struct arguments *arguments)
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;
    struct error err = {0};
    struct response response;
    int result;
    if (command_call("GET", "/v1/sources", NULL, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_list(response.json);
    response_free(&response);
    return result;
}

/* ---- test ---- */

static const char test_help[] =
    "Usage: tekup sources test SOURCE REPOSITORY [--path DIR] [--base-url URL]\n"
    "                          [--token-env NAME] [--json]\n"
    "\n"
    "Checks that the daemon can read a repository, without taking anything in: one that is\n"
    "registered, or with options one as it would be registered.\n"
    "\n"
    "Options: as for 'tekup sources add'.\n"
    "\n"
    "Examples:\n"
    "  tekup sources test local /usr/share/doc\n"
    "  tekup sources test local handbook --path ~/handbook\n";

/* The registered source of this name as a body for the daemon: a new reference, or NULL. */
static json_t *find_registered(const json_t *answer, const char *source, const char *repository)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(answer, "sources"), i, row)
    {
        if (strcmp(field_text(row, "source"), source) == 0 &&
            strcmp(field_text(row, "repository"), repository) == 0)
            return source_body_of(row);
    }
    return NULL;
}

/* The source to be tested; NULL with an error. */
static json_t *test_body(char **words, const struct source_options *options,
                         struct response *response, struct error *err)
{
    json_t *body = NULL;
    const bool described =
        options->path != NULL || options->base_url != NULL || options->token_env != NULL;
    if (!described) {
        if (command_call("GET", "/v1/sources", NULL, response, err) != 0) return NULL;
        body = find_registered(response->json, words[0], words[1]);
        response_free(response);
    }
    if (body == NULL) body = make_body(words, options, 0);
    if (body == NULL) error_set(err, ERR_INVALID, NULL, "the arguments are not valid UTF-8");
    return body;
}

static int run_test(const struct arguments *arguments)
{
    struct source_options options = {0};
    const struct option_spec specs[] = {{"path", &options.path, NULL},
                                        {"base-url", &options.base_url, NULL},
                                        {"token-env", &options.token_env, NULL},
                                        {"json", NULL, &options.json},
                                        {0}};
    char **words;
    if (options_parse(arguments, specs, 2, 2, "SOURCE REPOSITORY", &words) < 0) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    json_t *body = test_body(words, &options, &response, &err);
    if (body == NULL || command_call("POST", "/v1/sources/test", body, &response, &err) != 0) {
        result = command_failed(&err, &response, options.json);
    } else if (options.json) {
        result = command_print_body(&response);
    } else {
        printf("ok: it can be read\n");
        result = command_finish();
    }
    response_free(&response);
    json_decref(body);
    return result;
}

/* ---- rm ---- */

static const char rm_help[] =
    "Usage: tekup sources rm SOURCE REPOSITORY [--documents] [--json]\n"
    "\n"
    "Removes the registration of a repository: it is not synced any more. Its documents stay and\n"
    "are still found, unless --documents removes them too.\n"
    "\n"
    "Options:\n"
    "  --documents   remove its documents as well\n"
    "  --json        the daemon's answer as it is\n"
    "\n"
    "Example:\n"
    "  tekup sources rm local handbook --documents\n";

static int run_rm(const struct arguments *arguments)
{
    bool json = false, documents = false;
    const struct option_spec specs[] = {
        {"documents", NULL, &documents}, {"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 2, 2, "SOURCE REPOSITORY", &words) < 0) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    struct buffer target = {0};
    buffer_text(&target, "/v1/sources");
    target_add(&target, "source", words[0]);
    target_add(&target, "repository", words[1]);
    if (documents) target_add(&target, "documents", "true");
    if (target.failed) error_set(&err, ERR_INTERNAL, NULL, "out of memory");
    if (target.failed || command_call("DELETE", target.data, NULL, &response, &err) != 0) {
        result = command_failed(&err, &response, json);
    } else if (json) {
        result = command_print_body(&response);
    } else {
        char count[FIGURE_SIZE];
        printf("removed");
        if (documents)
            printf(", with %s documents",
                   figure_count(field_integer(response.json, "documents"), count));
        putchar('\n');
        result = command_finish();
    }
    response_free(&response);
    buffer_free(&target);
    return result;
}

/* ---- The table ---- */

static const struct command subcommands[] = {
    {.name = "add", .summary = "register a repository", .help = add_help, .run = run_add},
    {.name = "list", .summary = "list them", .help = list_help, .run = run_list},
    {.name = "test", .summary = "check that one can be read", .help = test_help, .run = run_test},
    {.name = "rm", .summary = "remove a registration", .help = rm_help, .run = run_rm},
    {0},
};

const struct command command_sources = {
    .name = "sources",
    .summary = "say where documents come from",
    .help = "Usage: tekup sources add|list|test|rm ...\n"
            "\n"
            "The repositories that 'tekup sync' takes documents from.\n",
    .commands = subcommands,
};
