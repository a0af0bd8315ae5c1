/*
 * cmd_sync.c: tekup sync: brings repositories up to date, and shows how far they are.
 *
 * The daemon does the work; this follows it by asking a few times a second. Ending tekup does not
 * end a sync.
 */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/progress.h"
#include "tools/tekup/sync_text.h"
#include "tools/tekup/text.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    POLL_MS = 200,
    PLAIN_SECONDS = 5,    /* between plain lines where there is no terminal */
    PATIENCE_SECONDS = 60 /* how long the daemon may answer 503 while its database comes back */
};

static const char help[] =
    "Usage: tekup sync [SOURCE REPOSITORY] [--no-wait] [--json]\n"
    "       tekup sync --cancel SOURCE REPOSITORY [--no-wait] [--json]\n"
    "\n"
    "Brings a repository up to date, or all of them: takes in what is new or changed, removes\n"
    "what is gone, leaves the rest alone. Waits until it is done and shows how far it is; ending\n"
    "tekup with Ctrl-C does not end the sync: --cancel does. One that was interrupted goes on\n"
    "where it was when it is synced again.\n"
    "\n"
    "Options:\n"
    "  --cancel    end the sync of this repository; what it has taken in stays\n"
    "  --no-wait   only start it, or only ask for its end\n"
    "  --json      {\"items\": [...]} as the daemon gives them when all are done; with --no-wait\n"
    "              its answer {\"queued\": [...]}\n"
    "\n"
    "Exit status 1 when a sync failed; its line says why.\n"
    "\n"
    "Examples:\n"
    "  tekup sync\n"
    "  tekup sync local /usr/share/doc\n"
    "  tekup sync --no-wait && tekup status\n"
    "  tekup sync --cancel github acme/handbook\n";

/* ---- What is followed ---- */

struct followed {
    char *source, *repository;
    char *label; /* both of them, as they may be shown */
    bool finished;
    json_t *item; /* its last row */
};

struct follow {
    struct client *client;
    struct followed *rows;
    size_t count;
    bool json;
    bool ends;                 /* they are to end: what they were doing is no failure */
    struct progress *progress; /* NULL with json */
    struct terminal terminal;  /* of stdout */
    int failed;                /* syncs that ended in error */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = number;
}

static int follow_add(struct follow *follow, const char *source, const char *repository,
                      struct error *err)
{
    for (size_t i = 0; i < follow->count; i++)
        if (strcmp(follow->rows[i].source, source) == 0 &&
            strcmp(follow->rows[i].repository, repository) == 0)
            return 0;
    struct followed *rows = realloc(follow->rows, (follow->count + 1) * sizeof(*rows));
    if (rows == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    follow->rows = rows;
    struct buffer label = {0};
    text_clean(&label, source, strlen(source), TEXT_ONE_LINE);
    buffer_text(&label, " ");
    text_clean(&label, repository, strlen(repository), TEXT_ONE_LINE);
    struct followed *row = &rows[follow->count++];
    *row = (struct followed){
        .source = strdup(source), .repository = strdup(repository), .label = buffer_take(&label)};
    if (row->source == NULL || row->repository == NULL || row->label == NULL)
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    return 0;
}

static void follow_free(struct follow *follow)
{
    for (size_t i = 0; i < follow->count; i++) {
        struct followed *row = &follow->rows[i];
        free(row->source);
        free(row->repository);
        free(row->label);
        json_decref(row->item);
    }
    free(follow->rows);
    progress_free(follow->progress);
}

/* ---- Asking the daemon ---- */

static json_t *find_item(const json_t *answer, const struct followed *row)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(answer, "items"), i, item)
    {
        if (strcmp(field_text(item, "source"), row->source) == 0 &&
            strcmp(field_text(item, "repository"), row->repository) == 0)
            return item;
    }
    return NULL;
}

/* GET /v1/sync, for one repository or for all. */
static int ask(struct follow *follow, struct response *response, struct error *err)
{
    struct buffer target = {0};
    buffer_text(&target, "/v1/sync");
    if (follow->count == 1) {
        target_add(&target, "source", follow->rows[0].source);
        target_add(&target, "repository", follow->rows[0].repository);
    }
    const int result = target.failed
                           ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                           : client_call(follow->client, "GET", target.data, NULL, response, err);
    buffer_free(&target);
    return result;
}

/* Also follows what was queued or running before this call. */
static int follow_running(struct follow *follow, struct error *err)
{
    struct response response = {0};
    int result = client_call(follow->client, "GET", "/v1/sync", NULL, &response, err);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(response.json, "items"), i, item)
    {
        if (result == 0 && json_is_object(json_object_get(item, "progress")))
            result =
                follow_add(follow, field_text(item, "source"), field_text(item, "repository"), err);
    }
    response_free(&response);
    return result;
}

/* Notes the row's newest item; says so when its sync has ended. */
static void update_row(struct follow *follow, struct followed *row, json_t *item)
{
    if (item != NULL) {
        json_decref(row->item);
        row->item = json_incref(item);
    }
    if (item != NULL && !sync_ended(item)) return;
    row->finished = true;
    const bool failed = item == NULL || strcmp(field_text(item, "status"), "success") != 0;
    if (failed && !follow->ends) follow->failed++;
    if (follow->json) return;
    progress_clear(follow->progress);
    if (item == NULL)
        printf("%s: was removed meanwhile\n", row->label);
    else
        sync_print_ended(item, stdout, &follow->terminal);
    fflush(stdout);
}

static void show_progress(struct follow *follow)
{
    struct progress_row *rows = calloc(follow->count, sizeof(*rows));
    struct buffer *texts = calloc(follow->count, sizeof(*texts));
    int count = 0;
    for (size_t i = 0; rows != NULL && texts != NULL && i < follow->count; i++) {
        const struct followed *row = &follow->rows[i];
        if (row->finished || row->item == NULL) continue;
        const json_t *progress = json_object_get(row->item, "progress");
        sync_progress_text(&texts[count], progress);
        rows[count] = (struct progress_row){row->label, sync_fraction(progress),
                                            texts[count].data != NULL ? texts[count].data : ""};
        count++;
    }
    if (count > 0) progress_show(follow->progress, rows, count);
    for (int i = 0; i < count; i++) buffer_free(&texts[i]);
    free(texts);
    free(rows);
}

static bool all_finished(const struct follow *follow)
{
    for (size_t i = 0; i < follow->count; i++)
        if (!follow->rows[i].finished) return false;
    return true;
}

static void pause_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Follows the syncs to their end. */
static int follow_to_end(struct follow *follow, struct response *response, struct error *err)
{
    int waited_ms = 0;
    while (!all_finished(follow) && interrupted == 0) {
        response_free(response);
        if (ask(follow, response, err) != 0) {
            /* The daemon answers, its database does not: that may pass. */
            if (response->status != 503 || waited_ms >= PATIENCE_SECONDS * 1000) return -1;
            waited_ms += POLL_MS;
            pause_ms(POLL_MS);
            continue;
        }
        waited_ms = 0;
        for (size_t i = 0; i < follow->count; i++)
            if (!follow->rows[i].finished)
                update_row(follow, &follow->rows[i], find_item(response->json, &follow->rows[i]));
        if (!follow->json) show_progress(follow);
        if (!all_finished(follow)) pause_ms(POLL_MS);
    }
    return 0;
}

/* ---- The command ---- */

/* Starts the syncs and collects which are to be followed. Returns 1 when there is nothing to do. */
static int start(struct follow *follow, char **words, int count, bool wait,
                 struct response *response, struct error *err)
{
    json_t *body = count == 2 ? json_pack("{s:s, s:s}", "source", words[0], "repository", words[1])
                              : json_object();
    if (body == NULL)
        return error_set(err, ERR_INVALID, NULL, "SOURCE or REPOSITORY is not valid UTF-8");
    int result = client_call(follow->client, "POST", "/v1/sync", body, response, err);
    json_decref(body);
    if (result != 0 && err->code == ERR_CONFLICT && wait) {
        command_note("a sync of it is under way already; following that one");
        return follow_add(follow, words[0], words[1], err);
    }
    size_t i;
    json_t *queued;
    json_array_foreach(json_object_get(response->json, "queued"), i, queued)
    {
        if (result == 0)
            result = follow_add(follow, field_text(queued, "source"),
                                field_text(queued, "repository"), err);
    }
    if (result == 0 && count == 0 && wait) result = follow_running(follow, err);
    return result;
}

/* Asks for the end of one, which is then followed to it. */
static int cancel(struct follow *follow, char **words, struct response *response, struct error *err)
{
    struct buffer target = {0};
    buffer_text(&target, "/v1/sync");
    target_add(&target, "source", words[0]);
    target_add(&target, "repository", words[1]);
    const int result =
        target.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                      : client_call(follow->client, "DELETE", target.data, NULL, response, err);
    buffer_free(&target);
    return result == 0 ? follow_add(follow, words[0], words[1], err) : -1;
}

static int print_queued(const struct follow *follow)
{
    for (size_t i = 0; i < follow->count; i++) printf("queued: %s\n", follow->rows[i].label);
    if (follow->count > 0) printf("'tekup status' shows how far they are\n");
    return command_finish();
}

static int print_cancelling(const struct follow *follow)
{
    printf("%s: its sync is about to end\n", follow->rows[0].label);
    return command_finish();
}

static int print_items(const struct follow *follow)
{
    json_t *items = json_array();
    for (size_t i = 0; i < follow->count; i++)
        if (follow->rows[i].item != NULL) json_array_append(items, follow->rows[i].item);
    json_t *whole = json_pack("{s:o}", "items", items);
    const int result = command_print_json(whole);
    json_decref(whole);
    return result;
}

/* Waits for the syncs and says how they ended. */
static int wait_for_all(struct follow *follow, struct response *response, struct error *err)
{
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    if (follow_to_end(follow, response, err) != 0) {
        if (follow->progress != NULL) progress_clear(follow->progress);
        return command_failed(err, response, follow->json);
    }
    if (interrupted != 0) {
        if (follow->progress != NULL) progress_clear(follow->progress);
        command_note("the sync goes on in the daemon: 'tekup status' shows how far it is, "
                     "'tekup sync --cancel' ends it");
        raise(interrupted); /* ends as an interrupted program does */
    }
    int result = follow->json ? print_items(follow) : command_finish();
    if (follow->failed > 0) result = EXIT_FAILED;
    return result;
}

static int run(const struct arguments *arguments)
{
    bool json = false, no_wait = false, ends = false;
    const struct option_spec specs[] = {
        {"cancel", NULL, &ends}, {"no-wait", NULL, &no_wait}, {"json", NULL, &json}, {0}};
    char **words;
    const int count = options_parse(arguments, specs, 0, 2, "SOURCE REPOSITORY", &words);
    if (count < 0) return EXIT_USAGE;
    if (count == 1)
        return options_wrong(arguments, "REPOSITORY is missing: it takes both SOURCE and "
                                        "REPOSITORY, or neither for all");
    if (ends && count == 0) return options_wrong(arguments, "--cancel takes SOURCE and REPOSITORY");

    int result = EXIT_FAILED;
    struct error err = {0};
    struct response response = {0};
    struct follow follow = {.json = json, .ends = ends, .terminal = terminal_of(stdout)};
    const struct terminal progress_terminal = terminal_of(stderr);
    follow.client = client_create(&err);
    if (!json) follow.progress = progress_create(stderr, &progress_terminal, PLAIN_SECONDS);
    if (follow.client == NULL || (!json && follow.progress == NULL)) {
        if (err.code == ERR_NONE) error_set(&err, ERR_INTERNAL, NULL, "out of memory");
        result = command_failed(&err, NULL, json);
        goto out;
    }
    if (ends ? cancel(&follow, words, &response, &err) != 0
             : start(&follow, words, count, !no_wait, &response, &err) != 0) {
        result = command_failed(&err, &response, json);
        if (err.code == ERR_NOT_FOUND && count == 2 && !ends)
            command_note("'tekup sources add' registers a repository, 'tekup sources list' shows "
                         "those there are");
        goto out;
    }
    if (follow.count == 0 && !json)
        command_note("there is nothing to sync: 'tekup sources list' shows what is registered");
    if (!no_wait)
        result = wait_for_all(&follow, &response, &err);
    else if (json)
        result = command_print_body(&response);
    else
        result = ends ? print_cancelling(&follow) : print_queued(&follow);
out:
    response_free(&response);
    follow_free(&follow);
    client_free(follow.client);
    return result;
}

const struct command command_sync = {
    .name = "sync",
    .summary = "bring the sources' documents up to date",
    .help = help,
    .run = run,
};
