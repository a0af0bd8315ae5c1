/*
 * main.c: tekup, the command line of tekupdb. Finds the command that was typed, answers --help and
 * --version, and hands the rest to the command's own file (cmd_*.c).
 */
#include "tools/tekup/command.h"
#include "tools/tekup/text.h"

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_search,  &command_sources, &command_sync,   &command_documents, &command_events,
    &command_status,  &command_console, &command_doctor, &command_db,        &command_backup,
    &command_restore, &command_bench,   &command_mcp};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static const char overview_head[] =
    "tekup: documents searched by similarity, from the command line.\n"
    "\n"
    "Usage: tekup COMMAND [ARGUMENTS]\n"
    "\n"
    "Commands:\n";

static const char overview_tail[] =
    "\n"
    "  tekup COMMAND --help     how a command is used, with examples\n"
    "  tekup --version\n"
    "\n"
    "A first round:\n"
    "  tekup sources add local handbook --path /srv/handbook   what is to be searched\n"
    "  tekup sync                                              takes it in\n"
    "  tekup search \"how do I book a day off\"                  finds it\n"
    "  tekup doctor                                            when something is wrong\n"
    "\n"
    "Every command but mcp takes --json for machines (bench: --json FILE). Exit status: 0 done,\n"
    "1 failed, 2 wrong usage.\n"
    "\n"
    "Environment:\n"
    "  TEKUP_RUN    directory of the daemon's socket; else /run/tekupdb for root, and for a\n"
    "               person $XDG_RUNTIME_DIR/tekupdb (or /tmp/tekupdb-UID), then /run/tekupdb\n"
    "  TEKUP_DATA   directory of the daemon's data; else /var/lib/tekupdb for root, and for a\n"
    "               person $XDG_DATA_HOME/tekupdb or ~/.local/share/tekupdb\n"
    "  NO_COLOR     set: no colours\n";

static void print_overview(FILE *out)
{
    fputs(overview_head, out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fputs(overview_tail, out);
}

static void print_help(const struct command *command, FILE *out)
{
    fputs(command->help, out);
    if (command->commands == NULL) return;
    fputs("\nCommands:\n", out);
    for (const struct command *sub = command->commands; sub->name != NULL; sub++)
        fprintf(out, "  %-7s %s\n", sub->name, sub->summary);
    fprintf(out, "\n'tekup %s COMMAND --help' says more about each.\n", command->name);
}

/* Whether --help (or -h) stands among the arguments, before any "--". */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static const struct command *find_sub(const struct command *command, const char *name)
{
    for (const struct command *sub = command->commands; sub->name != NULL; sub++)
        if (strcmp(sub->name, name) == 0) return sub;
    return NULL;
}

/* argv[0] is the command's word. */
static int run(const struct command *command, const char *typed, int argc, char **argv)
{
    char deeper[64];
    if (command->commands != NULL && argc > 1) {
        const struct command *sub = find_sub(command, argv[1]);
        if (sub != NULL) {
            snprintf(deeper, sizeof(deeper), "%s %s", typed, sub->name);
            return run(sub, deeper, argc - 1, argv + 1);
        }
    }
    if (wants_help(argc, argv)) {
        print_help(command, stdout);
        return command_finish();
    }
    const struct arguments arguments = {typed, argc, argv};
    if (command->commands == NULL) return command->run(&arguments);
    if (argc < 2) {
        print_help(command, stderr);
        return EXIT_USAGE;
    }
    return options_wrong(&arguments, "there is no command '%s'", argv[1]);
}

int main(int argc, char **argv)
{
    text_init();
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("tekup " TEKUP_VERSION);
        return command_finish();
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
        (strcmp(word, "help") == 0 && argc == 2)) {
        print_overview(stdout);
        return command_finish();
    }

    const bool help = strcmp(word, "help") == 0;
    if (help) {
        argv++;
        argc--;
        word = argv[1];
    }
    const struct command *command = find(word);
    if (command == NULL) {
        const struct arguments all = {"tekup", argc, argv};
        return options_wrong(&all, "there is no command '%s'", word);
    }
    if (help) {
        const struct command *sub =
            command->commands != NULL && argc > 2 ? find_sub(command, argv[2]) : NULL;
        print_help(sub != NULL ? sub : command, stdout);
        return command_finish();
    }
    char typed[32];
    snprintf(typed, sizeof(typed), "tekup %s", command->name);
    return run(command, typed, argc - 1, argv + 1);
}
