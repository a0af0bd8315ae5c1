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

int options_parse(const struct arguments *arguments, const struct option_spec *specs, int least,
                  int most, const char *names, char ***words)
{
    struct option longs[OPTIONS_MAX + 1] = {0};
    int count = 0;
    for (; specs[count].name != NULL; count++) {
        if (count == OPTIONS_MAX) abort();
        longs[count].name = specs[count].name;
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
                options_wrong(arguments, "--%s takes no value", specs[optopt - FIRST].name);
            else if (optopt != 0)
                options_wrong(arguments, "there is no option -%c", optopt);
            else
                options_wrong(arguments, "there is no option %s", word);
            return -1;
        }
        const struct option_spec *spec = &specs[found - FIRST];
        if (spec->value != NULL)
            *spec->value = optarg;
        else
            *spec->flag = true;
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
