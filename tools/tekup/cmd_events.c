/* cmd_events.c: tekup events: what happens to the vault, as it happens. */
#include "tools/tekup/command.h"
#include "tools/tekup/sync_text.h"
#include "tools/tekup/terminal.h"
#include "tools/tekup/text.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: tekup events [--source S] [--repository R] [--after ID] [--json]\n"
    "\n"
    "Shows what happens to documents, embeddings and syncs, by whomever, until it is interrupted\n"
    "(Ctrl-C). When the daemon stops it ends with status 1 and says how to go on.\n"
    "\n"
    "Options:\n"
    "  --source S       only of this source\n"
    "  --repository R   only of this repository\n"
    "  --after ID       go on after this event, as long as the daemon still knows what came since\n"
    "  --json           a JSON object a line: {\"id\", \"event\", \"data\"}\n"
    "\n"
    "Examples:\n"
    "  tekup events --source local\n"
    "  tekup events --json | jq -r 'select(.event == \"sync\") | .data.status'\n";

/* The event whose lines are coming. */
struct watch {
    bool json;
    struct terminal terminal;
    char *id;
    struct buffer name, data;
    bool failed;
};

static void print_row(const struct watch *watch, const json_t *data)
{
    struct buffer text = {0}, clean = {0};
    const char *at = field_text(data, "at");
    const char *path = field_text(data, "path");
    const char *status = field_text(data, "status");
    const char *reason = field_text(data, "reason");
    const json_t *progress = json_object_get(data, "progress");
    if (strcmp(watch->name.data, "reset") == 0)
        buffer_format(&text, "reset: %s", reason);
    else
        buffer_format(&text, "%s  %-9s  %-8s  %s %s", at, watch->name.data,
                      field_text(data, "action"), field_text(data, "source"),
                      field_text(data, "repository"));
    if (*path != '\0') buffer_format(&text, " %s", path);
    if (*status != '\0') buffer_format(&text, ": %s", status);
    if (json_is_object(progress)) {
        buffer_text(&text, ", ");
        sync_progress_text(&text, progress);
    }
    if (text.data != NULL) text_clean(&clean, text.data, text.length, TEXT_ONE_LINE);
    puts(clean.data != NULL ? clean.data : "");
    buffer_free(&text);
    buffer_free(&clean);
}

static void print_json(const struct watch *watch, json_t *data)
{
    json_t *line =
        json_pack("{s:s?, s:s, s:O}", "id", watch->id, "event", watch->name.data, "data", data);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    struct buffer clean = {0};
    if (text != NULL && watch->terminal.live)
        text_json(&clean, text, strlen(text));
    else if (text != NULL)
        buffer_text(&clean, text);
    if (clean.data != NULL) puts(clean.data);
    buffer_free(&clean);
    free(text);
    json_decref(line);
}

/* At the empty line that ends an event. */
static int show(struct watch *watch)
{
    json_error_t ignored;
    const bool is_start = watch->name.length == 5 && strcmp(watch->name.data, "start") == 0;
    json_t *data = watch->data.length > 0 && watch->name.length > 0
                       ? json_loads(watch->data.data, 0, &ignored)
                       : NULL;
    if (data != NULL && watch->json)
        print_json(watch, data);
    else if (data != NULL && !is_start)
        print_row(watch, data);
    json_decref(data);
    buffer_clear(&watch->name);
    buffer_clear(&watch->data);
    watch->failed = fflush(stdout) != 0; /* nobody reads it any more */
    return watch->failed;
}

/* What follows "name:" and perhaps a blank; NULL for another line. */
static const char *value_of(const char *line, const char *name)
{
    const size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || line[length] != ':') return NULL;
    return line + length + 1 + (line[length + 1] == ' ');
}

static int take_line(void *arg, const char *line)
{
    struct watch *watch = arg;
    const char *value;
    if (*line == '\0') return show(watch);
    if ((value = value_of(line, "id")) != NULL) {
        free(watch->id);
        watch->id = strdup(value);
    } else if ((value = value_of(line, "event")) != NULL) {
        buffer_text(&watch->name, value);
    } else if ((value = value_of(line, "data")) != NULL) {
        buffer_text(&watch->data, value);
    }
    return 0;
}

static int run(const struct arguments *arguments)
{
    const char *source = NULL, *repository = NULL, *after = NULL;
    struct watch watch = {.terminal = terminal_of(stdout)};
    const struct option_spec specs[] = {{"source", &source, NULL},
                                        {"repository", &repository, NULL},
                                        {"after", &after, NULL},
                                        {"json", NULL, &watch.json},
                                        {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;

    int result = EXIT_FAILED;
    struct error err = {0};
    struct response response = {0};
    struct buffer target = {0};
    struct client *client = client_create(&err);
    buffer_text(&target, "/v1/events");
    target_add(&target, "source", source);
    target_add(&target, "repository", repository);
    if (client == NULL ||
        client_follow(client, target.data, after, take_line, &watch, &response, &err) != 0) {
        /* What was shown may be another program's input: an error is no line of it. */
        result = command_failed(&err, &response, watch.json && watch.id == NULL);
        if (watch.id != NULL) command_note("go on with --after %s", watch.id);
    }
    response_free(&response);
    client_free(client);
    buffer_free(&target);
    buffer_free(&watch.name);
    buffer_free(&watch.data);
    free(watch.id);
    return result;
}

const struct command command_events = {
    .name = "events",
    .summary = "what happens to documents and syncs, as it happens",
    .help = help,
    .run = run,
};
