#include "tools/tekup/options.h"

#include "tools/tekup/command.h"
#include "tools/tekup/text.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* getopt's number of the first option: above every character, so that it cannot be mistaken. */
enum { FIRST = 256 };

int options_wrong(const struct arguments *arguments, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct buffer clean = {0};
    text_clean(&clean, message, strlen(message), TEXT_ONE_LINE);
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", arguments->command,
            clean.data != NULL ? clean.data : "out of memory", arguments->command);
    buffer_free(&clean);
    return EXIT_USAGE;
}

/* The name as it is typed, and whether the option may be given several times. */
static bool split_name(const char *name, char typed[32])
{
    snprintf(typed, 32, "%s", name);
    char *dots = strstr(typed, "...");
    if (dots != NULL) *dots = '\0';
    return dots != NULL;
}

static int add_value(const struct arguments *arguments, const char **values, const char *name,
                     const char *value)
{
    int count = 0;
    while (values[count] != NULL) count++;
    if (count == OPTION_VALUES_MAX) {
        options_wrong(arguments, "--%s is given more than %d times", name, OPTION_VALUES_MAX);
        return -1;
    }
    values[count] = value;
    return 0;
}

int options_parse(const struct arguments *arguments, const struct option_spec *specs, int least,
                  int most, const char *names, char ***words)
{
    struct option longs[OPTIONS_MAX + 1] = {0};
    char typed[OPTIONS_MAX][32];
    bool repeats[OPTIONS_MAX];
    int count = 0;
    for (; specs[count].name != NULL; count++) {
        if (count == OPTIONS_MAX) abort();
        repeats[count] = split_name(specs[count].name, typed[count]);
        longs[count].name = typed[count];
        longs[count].has_arg = specs[count].value != NULL ? required_argument : no_argument;
        longs[count].val = FIRST + count;
    }
    opterr = 0;
    optind = 0; /* 0 and not 1: glibc starts over and forgets the command line before */
    for (;;) {
        const int found = getopt_long(arguments->argc, arguments->argv, ":", longs, NULL);
        if (found == -1) break;
        const char *word = arguments->argv[optind - 1];
        if (found == ':') {
            options_wrong(arguments, "%s needs a value", word);
            return -1;
        }
        if (found == '?') {
            if (optopt >= FIRST)
                options_wrong(arguments, "--%s takes no value", typed[optopt - FIRST]);
            else if (optopt != 0)
                options_wrong(arguments, "there is no option -%c", optopt);
            else
                options_wrong(arguments, "there is no option %s", word);
            return -1;
        }
        const struct option_spec *spec = &specs[found - FIRST];
        if (repeats[found - FIRST]) {
            if (add_value(arguments, spec->value, typed[found - FIRST], optarg) != 0) return -1;
        } else if (spec->value != NULL) {
            *spec->value = optarg;
        } else {
            *spec->flag = true;
        }
    }
    const int given = arguments->argc - optind;
    *words = arguments->argv + optind;
    if (given < least) {
        options_wrong(arguments, "%s is missing", names);
        return -1;
    }
    if (given > most) {
        if (most == 0)
            options_wrong(arguments, "'%s' is too much: it takes no argument but options",
                          (*words)[0]);
        else
            options_wrong(arguments, "'%s' is too much: the arguments are %s", (*words)[most],
                          names);
        return -1;
    }
    return given;
}
