/*
 * options.h: the arguments of one command: --name, --name VALUE, --name=VALUE and words, in any
 * order; after "--" everything is a word. A wrong argument is said on stderr.
 */
#ifndef TEKUP_OPTIONS_H
#define TEKUP_OPTIONS_H

#include <stdbool.h>

enum { OPTIONS_MAX = 24, OPTION_VALUES_MAX = 64 };

/* An option has a value or is a flag: one of the two pointers is set. One that may be given several
 * times has a name that ends with "...", and its value is an array of OPTION_VALUES_MAX + 1, all of
 * it NULL, that takes them in their order. */
struct option_spec {
    const char *name; /* without "--"; a list ends with a NULL name */
    const char **value;
    bool *flag;
};

struct arguments {
    const char *command; /* as it was typed: "tekup documents put" */
    int argc;
    char **argv; /* argv[0] is the command's own word */
};

/* Reads the options and moves the words to the front: (*words)[0 .. return value - 1]. Returns -1
 * after saying what is wrong when an option is unknown or lacks its value, or when there are fewer
 * than least or more than most words; names says what they are called ("SOURCE REPOSITORY"). */
int options_parse(const struct arguments *arguments, const struct option_spec *specs, int least,
                  int most, const char *names, char ***words);

/* Says on stderr what is wrong with the arguments and where to read more; returns EXIT_USAGE. */
int options_wrong(const struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
