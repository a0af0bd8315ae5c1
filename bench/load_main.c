/*
 * tekup-load: asks a server over its UNIX socket, with many clients or one, and says how many
 * answers came in a second and how long they took. bench/serving makes the questions.
 */
#include "bench/load.h"
#include "bench/statistics.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: tekup-load --socket PATH --questions FILE [options]\n"
    "\n"
    "Asks a server the questions of a file, over and over, and prints what came of it as JSON.\n"
    "FILE has messages: each a little-endian uint32, its length, and so many bytes.\n"
    "\n"
    "  --socket PATH      the server's UNIX socket\n"
    "  --questions FILE   what to ask, as it goes over the wire\n"
    "  --postgres         the server speaks PostgreSQL's protocol (HTTP/1.1)\n"
    "  --hello FILE       what each client says before it asks, in the same form\n"
    "  --clients N        that ask at the same time (1)\n"
    "  --look             one client looks for its answer until it comes, instead of sleeping\n"
    "  --seconds S        of measuring (5)\n"
    "  --warm S           of asking before that (0.5)\n"
    "  --record FILE      asks each question once instead, and writes the answers to this file\n"
    "\n"
    "Exit status: 0, 1 (failed, or an answer was an error; the reason is on stderr), 2 (usage).\n";

struct arguments {
    const char *questions, *hello, *record;
    struct load_options load;
};

static void wrong(const char *message, const char *word)
{
    fprintf(stderr, "tekup-load: %s%s\n%s", message, word, usage);
    exit(2);
}

static double number(const char *name, const char *text, double least, double most)
{
    char *end;
    const double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= least && value <= most))
        wrong("not what it takes: ", name);
    return value;
}

static void parse(int argc, char **argv, struct arguments *out)
{
    enum { SOCKET = 256, QUESTIONS, POSTGRES, HELLO, CLIENTS, LOOK, SECONDS, WARM, RECORD, HELP };
    static const struct option options[] = {{"socket", required_argument, NULL, SOCKET},
                                            {"questions", required_argument, NULL, QUESTIONS},
                                            {"postgres", no_argument, NULL, POSTGRES},
                                            {"hello", required_argument, NULL, HELLO},
                                            {"clients", required_argument, NULL, CLIENTS},
                                            {"look", no_argument, NULL, LOOK},
                                            {"seconds", required_argument, NULL, SECONDS},
                                            {"warm", required_argument, NULL, WARM},
                                            {"record", required_argument, NULL, RECORD},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    *out = (struct arguments){.load = {.clients = 1, .seconds = 5, .warm_s = 0.5}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case SOCKET:
            out->load.socket = optarg;
            break;
        case QUESTIONS:
            out->questions = optarg;
            break;
        case POSTGRES:
            out->load.protocol = LOAD_POSTGRES;
            break;
        case HELLO:
            out->hello = optarg;
            break;
        case CLIENTS:
            out->load.clients = (unsigned)number("--clients", optarg, 1, 10000);
            break;
        case LOOK:
            out->load.looks = true;
            break;
        case SECONDS:
            out->load.seconds = number("--seconds", optarg, 0.01, 86400);
            break;
        case WARM:
            out->load.warm_s = number("--warm", optarg, 0, 86400);
            break;
        case RECORD:
            out->record = optarg;
            break;
        case HELP:
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc) wrong("what is this: ", argv[optind]);
    if (out->load.socket == NULL || out->questions == NULL)
        wrong("--socket and --questions are needed", "");
}

static int record(const struct arguments *arguments, tk_error *err)
{
    FILE *out = fopen(arguments->record, "wb");
    if (out == NULL) return fail(err, "%s cannot be written", arguments->record);
    int rc = load_record(&arguments->load, out, err);
    if (fclose(out) != 0 && rc == 0) rc = fail(err, "%s cannot be written", arguments->record);
    return rc;
}

static int measure(const struct arguments *arguments, tk_error *err)
{
    struct load_figures figures;
    if (load_run(&arguments->load, &figures, err) != 0) return -1;
    const uint32_t *sorted = figures.latencies;
    const size_t n = figures.answers;
    printf("{\"answers\": %zu, \"errors\": %zu, \"seconds\": %g, \"rate\": %.1f, \"p50\": %.1f, "
           "\"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}\n",
           n, figures.errors, figures.seconds, (double)n / figures.seconds,
           percentile(sorted, n, 0.5) / 1e3, percentile(sorted, n, 0.9) / 1e3,
           percentile(sorted, n, 0.99) / 1e3, percentile(sorted, n, 0.999) / 1e3,
           percentile(sorted, n, 1) / 1e3);
    free(figures.latencies);
    if (figures.errors == 0) return 0;
    return fail(err, "%zu answers were errors, the first one: %.200s", figures.errors,
                figures.first_error);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct messages questions = {0}, hello = {0};
    tk_error err = {{0}};
    parse(argc, argv, &arguments);
    int rc = messages_read(arguments.questions, &questions, &err);
    if (rc == 0 && arguments.hello != NULL) rc = messages_read(arguments.hello, &hello, &err);
    if (rc == 0 && questions.count == 0) rc = fail(&err, "%s is empty", arguments.questions);
    arguments.load.questions = &questions;
    arguments.load.hello = &hello;
    if (rc == 0)
        rc = arguments.record != NULL ? record(&arguments, &err) : measure(&arguments, &err);
    if (rc != 0) fprintf(stderr, "tekup-load: %s\n", err.message);
    messages_free(&questions);
    messages_free(&hello);
    return rc == 0 ? 0 : 1;
}
