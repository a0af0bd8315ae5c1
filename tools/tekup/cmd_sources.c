/* cmd_sources.c: tekup sources: the repositories that syncs take documents from. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/source_body.h"
#include "tools/tekup/table.h"
#include "tools/tekup/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- add ---- */

#define SETTINGS_HELP                                                                              \
    "  --path DIR         the directory (local)\n"                                                 \
    "  --token-env NAME   the environment variable of the daemon that holds the access token\n"    \
    "                     (github, notion; gdrive: the refresh token)\n"                           \
    "  --token-file FILE  a file that holds it, on the daemon's machine and for its eyes only\n"   \
    "  --key-file FILE    the key of a service account (gdrive)\n"                                 \
    "  --branch NAME      this branch instead of the default one (github) *\n"                     \
    "  --root ID          this page or database with everything below, not all there is\n"         \
    "                     (notion) *\n"                                                            \
    "  --folder ID        this folder with everything below (gdrive) *\n"                          \
    "  --drive ID         this shared drive, or 'all' (gdrive) *\n"                                \
    "  --include PATTERN  only files like this, as in .gitignore (local, github) *\n"              \
    "  --exclude PATTERN  no files like this (local, github) *\n"                                  \
    "  --max-bytes N      no larger texts\n"                                                       \
    "  --base-url URL     another server than the service's own (github, notion, gdrive)\n"        \
    "  --config JSON      any setting as the daemon has it, {\"name\": value, ...}\n"
#define SETTINGS_USAGE "[--path DIR] [--token-env NAME] [--token-file FILE]"

static const char add_help[] =
    "Usage: tekup sources add SOURCE REPOSITORY " SETTINGS_USAGE "\n"
    "                         [--interval TIME] [SETTING...] [--json]\n"
    "\n"
    "Registers a repository to take documents from, or replaces the settings of one. Nothing is\n"
    "read yet: 'tekup sync' does. 'tekup sources test' says whether it can be.\n"
    "\n"
    "  SOURCE           the kind of source: local (a directory tree on the daemon's machine),\n"
    "                   github, notion, gdrive\n"
    "  REPOSITORY       github: OWNER/NAME; otherwise a name of your choosing; a local one that "
    "is\n"
    "                   named by its absolute path needs no --path\n"
    "\n"
    "Options (* may be given several times):\n" SETTINGS_HELP
    "  --interval TIME    sync by itself this often: 90s, 15m, 6h, 7d; 0, the default, only on\n"
    "                     demand\n"
    "  --json             the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup sources add local /usr/share/doc\n"
    "  tekup sources add local handbook --path ~/handbook --interval 6h\n"
    "  tekup sources add github acme/handbook --token-env GITHUB_TOKEN --exclude '*.csv'\n"
    "  tekup sources add notion wiki --token-file /etc/tekupdb/notion --interval 1h\n"
    "  tekup sources add gdrive shared --key-file /etc/tekupdb/key.json --drive all\n";

/* What the daemon does not take, with the option that it came by. */
static int failed_setting(const struct error *err, const struct response *response, bool json)
{
    char option[SOURCE_OPTION_SIZE];
    return command_failed_option(err, response, json, source_option_of_field(err->field, option));
}

static int run_add(const struct arguments *arguments)
{
    struct source_options options = {0};
    const char *every = NULL;
    bool json = false;
    struct option_spec specs[SOURCE_OPTIONS + 3] = {{"interval", &every, NULL},
                                                    {"json", NULL, &json}};
    char **words;
    int interval = 0;
    source_options_specs(&options, specs + 2);
    if (options_parse(arguments, specs, 2, 2, "SOURCE REPOSITORY", &words) < 0) return EXIT_USAGE;
    if (every != NULL && figure_parse_interval(every, &interval) != 0)
        return options_wrong(arguments,
                             "--interval takes a time such as 90s, 15m, 6h or 7d, "
                             "not '%s'",
                             every);
    json_t *body = source_body_make(arguments, words[0], words[1], &options, interval);
    if (body == NULL) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    if (command_call("PUT", "/v1/sources", body, &response, &err) != 0) {
        result = failed_setting(&err, &response, json);
    } else if (json) {
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
    "Lists the registered repositories: how each stands, how many documents the vault has of it,\n"
    "when it was synced last and will be next. What the last sync did: 'tekup status'.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is\n"
    "\n"
    "Example:\n"
    "  tekup sources list\n";

/* "path=/srv/docs maxBytes=1000" */
static void put_settings(struct buffer *out, const json_t *config)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)config, name, value)
    {
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        buffer_format(out, "%s%s=%s", out->length > 0 ? " " : "", name, text != NULL ? text : "");
        free(text);
    }
}

static void print_source(struct table *table, const json_t *source, time_t now)
{
    char figure[FIGURE_SIZE];
    struct buffer settings = {0};
    const long long interval = field_integer(source, "intervalSeconds");
    const char *status = field_text(source, "status");
    const char *last = field_text(source, "lastSyncAt"), *next = field_text(source, "nextSyncAt");
    const bool runs = strcmp(status, "in_progress") == 0;
    table_cell(table, field_text(source, "source"), STYLE_NONE);
    table_cell(table, field_text(source, "repository"), STYLE_BOLD);
    table_cell(table, runs ? "syncing" : status,
               strcmp(status, "error") == 0     ? STYLE_RED
               : strcmp(status, "success") == 0 ? STYLE_GREEN
                                                : STYLE_YELLOW);
    table_cell(table, figure_count(field_integer(source, "documentCount"), figure), STYLE_NONE);
    table_cell(table, *last != '\0' ? figure_age(last, now, figure) : "never", STYLE_NONE);
    table_cell(table, interval > 0 ? figure_interval(interval, figure) : NULL, STYLE_NONE);
    table_cell(table, *next != '\0' && !runs ? figure_until(next, now, figure) : NULL, STYLE_NONE);
    put_settings(&settings, json_object_get(source, "config"));
    table_cell(table, settings.data, STYLE_NONE);
    buffer_free(&settings);
}

static int print_list(const json_t *answer)
{
    static const struct column columns[] = {
        {"SOURCE", COLUMN_TEXT},      {"REPOSITORY", COLUMN_SHRINK}, {"STATUS", COLUMN_TEXT},
        {"DOCUMENTS", COLUMN_NUMBER}, {"LAST SYNC", COLUMN_TEXT},    {"EVERY", COLUMN_TEXT},
        {"NEXT", COLUMN_TEXT},        {"SETTINGS", COLUMN_SHRINK}};
    const struct terminal terminal = terminal_of(stdout);
    const json_t *sources = json_object_get(answer, "sources");
    if (json_array_size(sources) == 0) {
        command_note("there are no sources yet: 'tekup sources add local /usr/share/doc' makes "
                     "one");
        return EXIT_DONE;
    }
    struct table *table = table_create(columns, sizeof(columns) / sizeof(*columns));
    if (table == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    size_t i;
    json_t *source;
    const time_t now = time(NULL);
    json_array_foreach(sources, i, source) print_source(table, source, now);
    const int printed = table_print(table, stdout, &terminal);
    table_free(table);
    if (printed == 0) return command_finish();
    command_note("out of memory");
    return EXIT_FAILED;
}

static int run_list(const struct arguments *arguments)
{
    return command_ask(arguments, "GET", "/v1/sources", print_list);
}

/* ---- test ---- */

static const char test_help[] =
    "Usage: tekup sources test SOURCE REPOSITORY [SETTING...] [--json]\n"
    "\n"
    "Checks that the daemon can read a repository, without taking anything in: one that is\n"
    "registered, or with settings one as it would be registered. Says what it has found, or what\n"
    "is wrong with the token, the name or the permission.\n"
    "\n"
    "Options (* may be given several times):\n" SETTINGS_HELP
    "  --json             the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup sources test local /usr/share/doc\n"
    "  tekup sources test github acme/handbook --token-env GITHUB_TOKEN\n";

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

/* The source to be tested; NULL after saying why there is none. */
static json_t *test_body(const struct arguments *arguments, char **words,
                         const struct source_options *options, bool json)
{
    json_t *body = NULL;
    if (!source_options_given(options)) {
        struct error err = {0};
        struct response response = {0};
        if (command_call("GET", "/v1/sources", NULL, &response, &err) != 0) {
            command_failed(&err, &response, json);
            response_free(&response);
            return NULL;
        }
        body = find_registered(response.json, words[0], words[1]);
        response_free(&response);
    }
    return body != NULL ? body : source_body_make(arguments, words[0], words[1], options, 0);
}

static int print_report(const json_t *answer)
{
    const char *report = field_text(answer, "report");
    struct buffer clean = {0};
    text_clean(&clean, report, strlen(report), TEXT_LINES);
    printf("ok: %s\n", clean.length > 0 ? clean.data : "it can be read");
    buffer_free(&clean);
    return command_finish();
}

static int run_test(const struct arguments *arguments)
{
    struct source_options options = {0};
    bool json = false;
    struct option_spec specs[SOURCE_OPTIONS + 2] = {{"json", NULL, &json}};
    char **words;
    source_options_specs(&options, specs + 1);
    if (options_parse(arguments, specs, 2, 2, "SOURCE REPOSITORY", &words) < 0) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    json_t *body = test_body(arguments, words, &options, json);
    if (body == NULL) return source_options_given(&options) ? EXIT_USAGE : EXIT_FAILED;
    if (command_call("POST", "/v1/sources/test", body, &response, &err) != 0)
        result = failed_setting(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_report(response.json);
    response_free(&response);
    json_decref(body);
    return result;
}

/* ---- rm ---- */

static const char rm_help[] =
    "Usage: tekup sources rm SOURCE REPOSITORY [--documents] [--json]\n"
    "\n"
    "Removes the registration of a repository: it is not synced any more, and a sync that is "
    "under\n"
    "way ends. Its documents stay and are still found, unless --documents removes them too.\n"
    "\n"
    "Options:\n"
    "  --documents   remove its documents as well\n"
    "  --json        the daemon's answer as it is\n"
    "\n"
    "Example:\n"
    "  tekup sources rm local handbook --documents\n";

/* DELETE of what it is called, for its source and repository. */
static int call_delete(const char *path, char **words, bool documents, struct response *response,
                       struct error *err)
{
    struct buffer target = {0};
    buffer_text(&target, path);
    target_add(&target, "source", words[0]);
    target_add(&target, "repository", words[1]);
    if (documents) target_add(&target, "documents", "true");
    response_free(response);
    const int result = target.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                                     : command_call("DELETE", target.data, NULL, response, err);
    buffer_free(&target);
    return result;
}

/* One that is being synced is in the way until its sync has ended, which is asked for. */
static int remove_source(char **words, bool documents, struct response *response, struct error *err)
{
    enum { TRIES = 150, PAUSE_MS = 200, ASK_EVERY = 10 };
    const struct timespec pause = {0, PAUSE_MS * 1000000L};
    for (int i = 0;; i++) {
        struct error ignored = {0};
        if (call_delete("/v1/sources", words, documents, response, err) == 0) return 0;
        if (err->code != ERR_CONFLICT || i == TRIES) return -1;
        if (i == 0) command_note("it is being synced: ending that first");
        struct response asked = {0};
        if (i % ASK_EVERY == 0) call_delete("/v1/sync", words, false, &asked, &ignored);
        response_free(&asked);
        nanosleep(&pause, NULL);
    }
}

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
    if (remove_source(words, documents, &response, &err) != 0) {
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
