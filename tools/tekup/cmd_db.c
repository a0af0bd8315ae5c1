/* cmd_db.c: tekup db: the index against the database, and embeddings as pgvector has them. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/progress.h"
#include "tools/tekup/table.h"

#include <string.h>
#include <time.h>

enum { POLL_MS = 200, PLAIN_SECONDS = 10 };

/* ---- Waiting --------------------------------------------------------------------------------- */

static void pause_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void show(struct progress *progress, const char *label, const json_t *chore)
{
    char done[FIGURE_SIZE], all[FIGURE_SIZE], text[128];
    const double of = field_number(chore, "ofEmbeddings");
    snprintf(text, sizeof(text), "%s of %s embeddings",
             figure_count(field_integer(chore, "embeddings"), done),
             figure_count(field_integer(chore, "ofEmbeddings"), all));
    const struct progress_row row = {label, of > 0 ? field_number(chore, "embeddings") / of : -1,
                                     of > 0 ? text : "beginning"};
    progress_show(progress, &row, 1);
}

/* Starts the work and waits for its end; the answer has what became of it. */
static int do_chore(struct client *client, const char *chore, struct progress *progress,
                    struct response *response, struct error *err)
{
    char target[64];
    snprintf(target, sizeof(target), "/v1/index/%s", chore);
    if (client_call(client, "POST", target, NULL, response, err) != 0) return -1;
    for (;;) {
        response_free(response);
        if (client_call(client, "GET", "/v1/index/chore", NULL, response, err) != 0) return -1;
        if (!field_true(response->json, "running")) break;
        if (progress != NULL) show(progress, chore, response->json);
        pause_ms(POLL_MS);
    }
    if (progress != NULL) progress_clear(progress);
    if (strcmp(field_text(response->json, "chore"), chore) != 0)
        return error_set(err, ERR_CONFLICT, NULL, "somebody else has started another one since");
    const char *failure = field_text(response->json, "error");
    return *failure == '\0' ? 0 : error_set(err, ERR_UNAVAILABLE, NULL, "%s", failure);
}

static int run_chore(const struct arguments *arguments, const char *chore,
                     int (*print)(const json_t *answer))
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;
    const struct terminal terminal = terminal_of(stderr);
    struct error err = {0};
    struct response response = {0};
    struct progress *progress = json ? NULL : progress_create(stderr, &terminal, PLAIN_SECONDS);
    struct client *client = client_create(&err);
    int result;
    if (client == NULL || do_chore(client, chore, progress, &response, &err) != 0) {
        /* What failed after it was begun is in an answer that is no error's form. */
        const bool told = json_is_object(json_object_get(response.json, "error"));
        result = command_failed(&err, told ? &response : NULL, json);
    } else {
        result = json ? command_print_body(&response) : print(response.json);
        const json_t *found = json_object_get(response.json, "result");
        if (json_is_object(found) && !field_true(found, "equal")) result = EXIT_FAILED;
    }
    response_free(&response);
    client_free(client);
    progress_free(progress);
    return result;
}

/* ---- Verify ---------------------------------------------------------------------------------- */

static const char verify_help[] =
    "Usage: tekup db verify [--json]\n"
    "\n"
    "Compares the index with the database, row by row: whether each document is at its place, and\n"
    "whether each embedding is there with the content that PostgreSQL has. Searches and writes go\n"
    "on meanwhile. 'tekup db rebuild' puts right what is wrong.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is (GET /v1/index/chore)\n"
    "\n"
    "Exit status: 0 no difference, 1 differences (or it failed), 2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  tekup db verify\n"
    "  tekup db verify --json | jq .result.differences\n";

static int print_differences(const json_t *result)
{
    static const struct column columns[] = {{"OBJECT", COLUMN_TEXT},
                                            {"EMBEDDING", COLUMN_NUMBER},
                                            {"DOCUMENT", COLUMN_TEXT},
                                            {"DIFFERENCE", COLUMN_SHRINK}};
    const struct terminal terminal = terminal_of(stdout);
    struct table *table = table_create(columns, 4);
    size_t i;
    json_t *difference;
    if (table == NULL) return -1;
    json_array_foreach(json_object_get(result, "differences"), i, difference)
    {
        const long long embedding = field_integer(difference, "embeddingId");
        table_cell(table, field_text(difference, "object"), STYLE_NONE);
        if (embedding != 0)
            table_cellf(table, STYLE_NONE, "%lld", embedding);
        else
            table_cell(table, NULL, STYLE_NONE);
        table_cell(table, json_string_value(json_object_get(difference, "id")), STYLE_NONE);
        table_cell(table, field_text(difference, "what"), STYLE_RED);
    }
    const int rc = table_print(table, stdout, &terminal);
    table_free(table);
    return rc;
}

static int print_verified(const json_t *answer)
{
    char documents[FIGURE_SIZE], embeddings[FIGURE_SIZE], count[FIGURE_SIZE], took[FIGURE_SIZE];
    const json_t *result = json_object_get(answer, "result");
    const size_t shown = json_array_size(json_object_get(result, "differences"));
    if (shown > 0 && print_differences(result) != 0) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    if (shown > 0) putchar('\n');
    const bool equal = field_true(result, "equal");
    printf("%s%s of %s documents and %s embeddings, in %s\n",
           equal ? "no difference" : figure_count(field_integer(result, "differenceCount"), count),
           equal                                           ? ""
           : field_true(result, "orMore")                  ? " differences or more"
           : field_integer(result, "differenceCount") == 1 ? " difference"
                                                           : " differences",
           figure_count(field_integer(result, "documents"), documents),
           figure_count(field_integer(result, "embeddings"), embeddings),
           figure_seconds(field_number(answer, "elapsedSeconds"), took));
    return command_finish();
}

static int run_verify(const struct arguments *arguments)
{
    return run_chore(arguments, "verify", print_verified);
}

/* ---- Rebuild --------------------------------------------------------------------------------- */

static const char rebuild_help[] = "Usage: tekup db rebuild [--json]\n"
                                   "\n"
                                   "Builds the index anew from the database, while the one there "
                                   "is answers searches, and lets the\n"
                                   "new one take its place. It needs memory for both.\n"
                                   "\n"
                                   "Options:\n"
                                   "  --json   the daemon's answer as it is (GET /v1/index/chore)\n"
                                   "\n"
                                   "Examples:\n"
                                   "  tekup db rebuild && tekup db verify\n";

static int print_rebuilt(const json_t *answer)
{
    char embeddings[FIGURE_SIZE], took[FIGURE_SIZE];
    printf("built anew from %s embeddings in %s\n",
           figure_count(field_integer(answer, "embeddings"), embeddings),
           figure_seconds(field_number(answer, "elapsedSeconds"), took));
    return command_finish();
}

static int run_rebuild(const struct arguments *arguments)
{
    return run_chore(arguments, "rebuild", print_rebuilt);
}

/* ---- pgvector -------------------------------------------------------------------------------- */

static const char pgvector_help[] =
    "Usage: tekup db pgvector [--json]\n"
    "\n"
    "Keeps embeddings as vector(1536) of pgvector instead of real[], where the database's server "
    "has\n"
    "been given pgvector after the vault was made. Other programs can use its operators then, and\n"
    "search.backend = postgres can be set. Who reads or writes embeddings waits meanwhile.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is (POST /v1/database/pgvector)\n"
    "\n"
    "Example:\n"
    "  apt install postgresql-17-pgvector && tekup db pgvector\n";

static int print_converted(const json_t *answer)
{
    char took[FIGURE_SIZE];
    if (field_true(answer, "converted"))
        printf("embeddings are vectors of pgvector now, converted in %s\n",
               figure_seconds(field_number(answer, "seconds"), took));
    else
        printf("embeddings are vectors of pgvector already\n");
    return command_finish();
}

static int run_pgvector(const struct arguments *arguments)
{
    return command_ask(arguments, "POST", "/v1/database/pgvector", print_converted);
}

static const struct command commands[] = {
    {.name = "verify",
     .summary = "compare the index with the database, row by row",
     .help = verify_help,
     .run = run_verify},
    {.name = "rebuild",
     .summary = "build the index anew while the old one serves",
     .help = rebuild_help,
     .run = run_rebuild},
    {.name = "pgvector",
     .summary = "keep embeddings as vectors of pgvector, once the server has it",
     .help = pgvector_help,
     .run = run_pgvector},
    {0}};

const struct command command_db = {
    .name = "db",
    .summary = "compare the index with the database, build it anew, use pgvector",
    .help = "Usage: tekup db verify|rebuild|pgvector ...\n"
            "\n"
            "The index in memory against the database, which is the truth, and how that keeps\n"
            "embeddings.\n",
    .commands = commands,
};
