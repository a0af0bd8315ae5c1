/* cmd_status.c: tekup status: what the daemon holds and does at this moment. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/sync_text.h"
#include "tools/tekup/table.h"
#include "tools/tekup/text.h"

#include <string.h>

static const char help[] =
    "Usage: tekup status [--json]\n"
    "\n"
    "Shows what the daemon holds and does: documents and passages, the index, the database, and\n"
    "how the last sync of each repository went. 'tekup doctor' says what to do when something is\n"
    "wrong.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's figures as they are (GET /v1/status)\n"
    "\n"
    "Examples:\n"
    "  tekup status\n"
    "  tekup status --json | jq .index.vectors\n"
    "  watch -n 2 tekup status\n";

/* "name   text", the text cleaned. */
static void print_line(const struct terminal *terminal, const char *name, const char *text,
                       enum style style)
{
    struct buffer clean = {0};
    text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
    printf("%s%-10s%s %s%s%s\n", terminal_style(terminal, STYLE_DIM), name,
           terminal_style(terminal, STYLE_NONE), terminal_style(terminal, style),
           clean.data != NULL ? clean.data : "", terminal_style(terminal, STYLE_NONE));
    buffer_free(&clean);
}

static void print_daemon(const json_t *status, const struct terminal *terminal)
{
    char up[FIGURE_SIZE], text[512];
    const bool ready = field_true(status, "ready");
    snprintf(text, sizeof(text), "%s, version %s, up %s, process %lld",
             ready ? "ready" : "not ready ('tekup doctor' says why)", field_text(status, "version"),
             figure_seconds(field_number(status, "uptimeSeconds"), up),
             field_integer(status, "pid"));
    print_line(terminal, "tekupd", text, ready ? STYLE_GREEN : STYLE_YELLOW);
}

static void print_vault(const json_t *status, const struct terminal *terminal)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE], c[FIGURE_SIZE], text[512];
    const json_t *index = json_object_get(status, "index");
    const json_t *database = json_object_get(status, "database");
    if (json_is_number(json_object_get(database, "documents"))) {
        snprintf(text, sizeof(text), "%s with %s passages",
                 figure_count(field_integer(database, "documents"), a),
                 figure_count(field_integer(database, "embeddings"), b));
        print_line(terminal, "documents", text, STYLE_BOLD);
    }
    if (json_is_null(index)) {
        const json_t *approximate =
            json_object_get(json_object_get(status, "search"), "approximate");
        snprintf(text, sizeof(text), "none in memory; PostgreSQL answers searches, %s",
                 json_is_true(approximate) ? "by an index of pgvector's"
                                           : "by comparing with every passage");
        print_line(terminal, "index", text, STYLE_NONE);
        return;
    }
    snprintf(text, sizeof(text), "%s vectors in %s, kernel %s, %s searches answered",
             figure_count(field_integer(index, "vectors"), a),
             figure_bytes(field_number(index, "bytes"), b), field_text(index, "kernel"),
             figure_count(field_integer(index, "searches"), c));
    print_line(terminal, "index", text, STYLE_NONE);
}

static void print_database(const json_t *status, const struct terminal *terminal)
{
    char text[1024];
    const json_t *database = json_object_get(status, "database");
    if (!field_true(database, "connected")) {
        const char *reason = field_text(database, "error");
        snprintf(text, sizeof(text), "away: %s", *reason != '\0' ? reason : "no reason given");
        print_line(terminal, "database", text, STYLE_RED);
        return;
    }
    const json_t *pool = json_object_get(database, "pool");
    snprintf(text, sizeof(text),
             "PostgreSQL %s (%s), schema %lld, %s pgvector, %lld of %lld connections open, %lld "
             "in use",
             field_text(database, "serverVersion"),
             field_true(database, "private") ? "private cluster" : "DATABASE_URL",
             field_integer(database, "schemaVersion"),
             field_true(database, "pgvector") ? "with" : "without", field_integer(pool, "open"),
             field_integer(pool, "size"), field_integer(pool, "leased"));
    print_line(terminal, "database", text, STYLE_NONE);
}

/* The PostgreSQL socket: all of it, and a line for each role that is in use. */
static void print_passthrough(const json_t *status, const struct terminal *terminal)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE], c[FIGURE_SIZE], text[512];
    const json_t *passthrough = json_object_get(status, "passthrough");
    const json_t *role;
    size_t i;
    if (!json_is_object(passthrough)) {
        print_line(terminal, "clients", "the PostgreSQL socket is off", STYLE_NONE);
        return;
    }
    snprintf(text, sizeof(text),
             "%lld of %lld over the PostgreSQL socket, %lld of %lld server "
             "connections",
             field_integer(passthrough, "clients"), field_integer(passthrough, "clientLimit"),
             field_integer(passthrough, "connections"),
             field_integer(passthrough, "connectionLimit"));
    print_line(terminal, "clients", text, STYLE_NONE);
    json_array_foreach(json_object_get(passthrough, "roles"), i, role)
    {
        if (field_integer(role, "leases") == 0 && field_integer(role, "clients") == 0) continue;
        snprintf(text, sizeof(text),
                 "%s: %lld clients, %lld waiting, %lld pinned; %lld of %lld connections leased; "
                 "%s transactions, %s in, %s out",
                 field_text(role, "role"), field_integer(role, "clients"),
                 field_integer(role, "waiting"), field_integer(role, "pinned"),
                 field_integer(role, "leased"), field_integer(role, "connections"),
                 figure_count(field_integer(role, "transactions"), a),
                 figure_bytes(field_number(role, "receivedBytes"), b),
                 figure_bytes(field_number(role, "sentBytes"), c));
        print_line(terminal, "", text,
                   field_integer(role, "waiting") > 0 ? STYLE_YELLOW : STYLE_NONE);
    }
}

/* Which of several daemons starts the syncs of the schedule. */
static void print_schedule(const json_t *status, const struct terminal *terminal)
{
    const bool leads = field_true(status, "leader");
    print_line(terminal, "schedule",
               leads ? "this daemon leads: it starts the scheduled syncs"
                     : "another daemon on this database leads, or none can be reached",
               STYLE_NONE);
}

/* From one embedding model to another. */
static void print_change(const json_t *change, const struct terminal *terminal)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE], text[1024];
    const char *error = field_text(change, "error");
    if (!json_is_object(change)) return;
    const int length =
        snprintf(text, sizeof(text), "changing to %s: %s of %s embeddings are there",
                 field_text(change, "to"), figure_count(field_integer(change, "done"), a),
                 figure_count(field_integer(change, "total"), b));
    if (*error != '\0') snprintf(text + length, sizeof(text) - (size_t)length, "; %s", error);
    print_line(terminal, "", text, STYLE_YELLOW);
}

static void print_places(const json_t *status, const struct terminal *terminal)
{
    char text[1024];
    const json_t *embedding = json_object_get(status, "embedding");
    snprintf(text, sizeof(text), "%s, %lld dimensions%s", field_text(embedding, "model"),
             field_integer(embedding, "dimensions"),
             strcmp(field_text(embedding, "provider"), "hash") == 0
                 ? " (finds shared words, not shared meaning)"
                 : "");
    print_line(terminal, "embedding", text, STYLE_NONE);
    print_change(json_object_get(embedding, "change"), terminal);
    print_line(terminal, "run", field_text(status, "run"), STYLE_NONE);
    print_line(terminal, "data", field_text(status, "data"), STYLE_NONE);
}

/* What there is to say about a repository: how far, why it failed, or what it did. */
static void detail(struct buffer *text, const json_t *item)
{
    const json_t *progress = json_object_get(item, "progress");
    const json_t *last = json_object_get(item, "last");
    const char *message = field_text(item, "errorMessage");
    if (json_is_object(progress)) {
        const double fraction = sync_fraction(progress);
        if (fraction >= 0) buffer_format(text, "%d %%, ", (int)(fraction * 100));
        sync_progress_text(text, progress);
    } else if (*message != '\0') {
        buffer_text(text, message);
    } else if (json_is_object(last)) {
        sync_counts_text(text, last);
    }
}

static enum style status_style(const char *status)
{
    if (strcmp(status, "success") == 0) return STYLE_GREEN;
    if (strcmp(status, "error") == 0) return STYLE_RED;
    return STYLE_YELLOW;
}

static int print_syncs(const json_t *answer, const struct terminal *terminal)
{
    static const struct column columns[] = {
        {"SOURCE", COLUMN_TEXT},      {"REPOSITORY", COLUMN_SHRINK}, {"STATUS", COLUMN_TEXT},
        {"DOCUMENTS", COLUMN_NUMBER}, {"LAST SYNC", COLUMN_TEXT},    {"DETAIL", COLUMN_SHRINK}};
    const json_t *items = json_object_get(answer, "items");
    if (json_array_size(items) == 0) {
        printf("\nNothing has been synced yet: 'tekup sources add --help' says how to begin.\n");
        return 0;
    }
    struct table *table = table_create(columns, 6);
    if (table == NULL) return -1;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        char figure[FIGURE_SIZE];
        const char *status = field_text(item, "status");
        struct buffer text = {0};
        detail(&text, item);
        table_cell(table, field_text(item, "source"), STYLE_NONE);
        table_cell(table, field_text(item, "repository"), STYLE_BOLD);
        table_cell(table, status, status_style(status));
        table_cell(table, figure_count(field_integer(item, "documentCount"), figure), STYLE_NONE);
        table_cell(table, figure_age(field_text(item, "lastSyncAt"), time(NULL), figure),
                   STYLE_NONE);
        table_cell(table, text.data, STYLE_NONE);
        buffer_free(&text);
    }
    putchar('\n');
    const int result = table_print(table, stdout, terminal);
    table_free(table);
    return result;
}

static int print_status(struct client *client, const json_t *status)
{
    const struct terminal terminal = terminal_of(stdout);
    print_daemon(status, &terminal);
    print_vault(status, &terminal);
    print_database(status, &terminal);
    print_passthrough(status, &terminal);
    print_schedule(status, &terminal);
    print_places(status, &terminal);

    struct response syncs = {0};
    struct error err = {0};
    int result = EXIT_DONE;
    if (client_call(client, "GET", "/v1/sync", NULL, &syncs, &err) != 0) {
        /* The rows are in PostgreSQL; the line about the database has said that it is away. */
        command_note("how the syncs stand cannot be read: %s", err.message);
    } else if (print_syncs(syncs.json, &terminal) != 0) {
        command_note("out of memory");
        result = EXIT_FAILED;
    }
    response_free(&syncs);
    return command_finish() == EXIT_DONE ? result : EXIT_FAILED;
}

static int run(const struct arguments *arguments)
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    struct client *client = client_create(&err);
    if (client == NULL || client_call(client, "GET", "/v1/status", NULL, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_status(client, response.json);
    response_free(&response);
    client_free(client);
    return result;
}

const struct command command_status = {
    .name = "status",
    .summary = "what the daemon holds and does at this moment",
    .help = help,
    .run = run,
};
