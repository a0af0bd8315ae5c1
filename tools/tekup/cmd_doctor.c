/* cmd_doctor.c: tekup doctor: checks every part and says what to do about what is wrong. */
#include "tools/tekup/command.h"
#include "tools/tekup/doctor.h"
#include "tools/tekup/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: tekup doctor [--json]\n"
    "\n"
    "Checks every part, one line each (ok, warn or fail), and says what to do about what is\n"
    "wrong: directories, socket, daemon, database, pgvector, dblink, disk space, index, "
    "processor,\n"
    "embeddings (a server of theirs is asked for those of a few words), sources and syncs. Works\n"
    "without a running daemon as far as it can.\n"
    "\n"
    "Options:\n"
    "  --json   {\"ok\", \"checks\": [{\"state\", \"part\", \"finding\", \"advice\"}]}\n"
    "\n"
    "Exit status 1 when a check failed.\n"
    "\n"
    "Examples:\n"
    "  tekup doctor\n"
    "  tekup doctor --json | jq '.checks[] | select(.state != \"ok\")'\n";

static const char *const state_names[] = {"ok", "warn", "fail"};
static const enum style state_styles[] = {STYLE_GREEN, STYLE_YELLOW, STYLE_RED};

/* ---- The list of checks ---- */

void check_add(struct checks *checks, enum check_state state, const char *part, const char *advice,
               const char *format, ...)
{
    char finding[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(finding, sizeof(finding), format, args);
    va_end(args);
    struct check *rows = realloc(checks->rows, (checks->count + 1) * sizeof(*rows));
    if (rows == NULL) {
        checks->failed = true;
        return;
    }
    checks->rows = rows;
    struct check *row = &rows[checks->count++];
    *row = (struct check){state, strdup(part), strdup(finding), strdup(advice)};
    if (row->part == NULL || row->finding == NULL || row->advice == NULL) checks->failed = true;
}

void checks_free(struct checks *checks)
{
    for (size_t i = 0; i < checks->count; i++) {
        free(checks->rows[i].part);
        free(checks->rows[i].finding);
        free(checks->rows[i].advice);
    }
    free(checks->rows);
    *checks = (struct checks){0};
}

enum check_state checks_worst(const struct checks *checks)
{
    enum check_state worst = CHECK_OK;
    for (size_t i = 0; i < checks->count; i++)
        if (checks->rows[i].state > worst) worst = checks->rows[i].state;
    return worst;
}

/* ---- Running them ---- */

static void run_checks(struct checks *checks)
{
    char run[PATHS_SIZE], data[PATHS_SIZE];
    struct error err = {0};
    struct response response = {0};
    struct client *client = NULL;
    if (client_find_run(run, &err) != 0 || paths_data(NULL, NULL, data, &err) != 0) {
        check_add(checks, CHECK_FAIL, "settings", "correct the environment variable", "%s",
                  err.message);
        return;
    }
    const bool alive = doctor_check_run(checks, run);
    if (alive) client = client_create(&err);
    if (client != NULL && client_call(client, "GET", "/v1/status", NULL, &response, &err) == 0) {
        const char *used = field_text(response.json, "data");
        doctor_check_data(checks, *used != '\0' ? used : data, true);
        doctor_check_daemon(checks, client, response.json);
    } else {
        if (alive)
            check_add(checks, CHECK_FAIL, "daemon", "see the daemon's log; start it again", "%s",
                      err.message);
        doctor_check_data(checks, data, false);
        doctor_check_server_programs(checks);
    }
    response_free(&response);
    client_free(client);
}

/* ---- Saying them ---- */

static void print_clean(const char *text)
{
    struct buffer clean = {0};
    text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
    fputs(clean.data != NULL ? clean.data : "", stdout);
    buffer_free(&clean);
}

static int print_checks(const struct checks *checks)
{
    const struct terminal terminal = terminal_of(stdout);
    int counts[3] = {0};
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *check = &checks->rows[i];
        counts[check->state]++;
        printf("%s%-4s%s  %-10s ", terminal_style(&terminal, state_styles[check->state]),
               state_names[check->state], terminal_style(&terminal, STYLE_NONE), check->part);
        print_clean(check->finding);
        putchar('\n');
        if (*check->advice == '\0') continue;
        printf("%17s-> ", "");
        print_clean(check->advice);
        putchar('\n');
    }
    printf("\n%d ok, %d warn, %d fail\n", counts[CHECK_OK], counts[CHECK_WARN], counts[CHECK_FAIL]);
    return command_finish();
}

static int print_json(const struct checks *checks)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *check = &checks->rows[i];
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "state",
                                              state_names[check->state], "part", check->part,
                                              "finding", check->finding, "advice", check->advice));
    }
    json_t *whole =
        json_pack("{s:b, s:o}", "ok", checks_worst(checks) != CHECK_FAIL, "checks", rows);
    const int result = command_print_json(whole);
    json_decref(whole);
    return result;
}

static int run(const struct arguments *arguments)
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;

    struct checks checks = {0};
    run_checks(&checks);
    int result = EXIT_FAILED;
    if (checks.failed)
        command_note("out of memory");
    else
        result = json ? print_json(&checks) : print_checks(&checks);
    if (checks_worst(&checks) == CHECK_FAIL) result = EXIT_FAILED;
    checks_free(&checks);
    return result;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "check every part and say what to do about what is wrong",
    .help = help,
    .run = run,
};
