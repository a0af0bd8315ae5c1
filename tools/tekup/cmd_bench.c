/*
 * cmd_bench.c: tekup bench: runs tekup-bench, the program that measures, in the place of this one,
 * so that signals and exit status are its own. With --vault it is given the running vault's vectors
 * in a file without a name.
 */
#include "tools/tekup/command.h"
#include "tools/tekup/text.h"
#include "tools/tekup/vault_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "tekup-bench"

enum { PLAIN_SECONDS = 5, PATHS = 3 };

static const char help[] =
    "Usage: tekup bench --base FILE [--queries FILE] [OPTIONS]\n"
    "       tekup bench --vault [--queries FILE] [OPTIONS]\n"
    "       tekup bench --synthetic N,LID [OPTIONS]\n"
    "\n"
    "Measures the vector index and other engines in the same run: recall against searches per\n"
    "second, latencies, building, memory, loading, filters, and searching while vectors change.\n"
    "With --vault on the vectors of the running daemon, which go on being searched meanwhile.\n"
    "\n"
    "Data:\n"
    "  --base FILE           the vectors to index: .i8, .f32, .fvecs, .fbin\n"
    "  --queries FILE        the vectors to look for; without it a tenth of the others, at most\n"
    "                        1,000, are held out for that\n"
    "  --vault               the vectors of the running vault instead of a file\n"
    "  --synthetic N,LID     N made vectors of the local intrinsic dimension LID instead\n"
    "  --format FORMAT       of the files where their names do not tell it: raw-i8, raw-f32,\n"
    "                        fvecs, fbin; --base-format of the base alone\n"
    "  --dim D               dimension of raw and of made vectors (1536)\n"
    "  --name NAME           what the reports call the data\n"
    "\n"
    "Engines:\n"
    "  --peers LIST          hnswlib, faiss, pgvector, or none (hnswlib,faiss)\n"
    "  --pgvector-dsn DSN    the PostgreSQL server to measure pgvector in\n"
    "\n"
    "Measuring:\n"
    "  --threads N           to build with, and to search with beside one alone (2)\n"
    "  --k K                 neighbours to find (10)\n"
    "  --ef LIST             search settings to measure, e.g. 10,20,40\n"
    "  --repeats N           times every speed is measured; medians are reported (5)\n"
    "  --build-repeats N     times every index is built (3)\n"
    "  --cpu-time            processor time instead of time on the wall\n"
    "  --only LIST           of build,search,threads,churn,filters,load,growth (all)\n"
    "\n"
    "Reports, beside the table on the terminal:\n"
    "  --json FILE           everything that was measured; - for standard output\n"
    "  --svg FILE            a picture of recall against speed; the same\n"
    "\n"
    "Examples:\n"
    "  tekup bench --vault --peers none\n"
    "  tekup bench --base docs.fvecs --queries asked.fvecs --json out.json --svg out.svg\n"
    "  tekup bench --synthetic 20000,16 --peers hnswlib --only build,search\n";

/* ---- The program ---- */

/* The directory that this program lies in, without a final '/'; false where /proc does not say. */
static bool own_directory(struct buffer *directory)
{
    char path[PATHS_SIZE];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length <= 0) return false;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) return false;
    *slash = '\0';
    buffer_text(directory, path);
    return !directory->failed;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), size = strlen(end);
    return length >= size && strcmp(text + length - size, end) == 0;
}

/* Where tekup-bench may be: in the directory of the build where this program lies in one, where it
 * was installed with this program, wherever that has been moved to since, and where it was to be
 * installed. Returns how many there are. */
static int list_paths(struct buffer paths[PATHS])
{
    int count = 0;
    struct buffer own = {0};
    if (own_directory(&own)) {
        if (ends_with(own.data, "/tools/tekup"))
            buffer_format(&paths[count++], "%s/../../bench/" PROGRAM, own.data);
        buffer_format(&paths[count++], "%s/" TEKUP_LIBEXEC_FROM_BIN "/" PROGRAM, own.data);
    }
    buffer_format(&paths[count++], "%s/" PROGRAM, TEKUP_LIBEXEC);
    buffer_free(&own);
    return count;
}

/* Runs tekup-bench in the place of this process; returns only when that cannot be done. */
static int become(char **argv)
{
    struct buffer paths[PATHS] = {0};
    const int count = list_paths(paths);
    const char *found = NULL;
    for (int i = 0; i < count && found == NULL; i++)
        if (!paths[i].failed && access(paths[i].data, F_OK) == 0) found = paths[i].data;
    if (found != NULL) {
        execv(found, argv);
        command_note("cannot run %s: %s", found, strerror(errno));
    } else {
        command_note("%s is not there: it belongs at %s. It is built and installed with the rest "
                     "unless -DTEKUP_BENCH=OFF says otherwise, as ./tools/run does: 'cmake "
                     "--preset release -DTEKUP_BENCH=ON && cmake --build --preset release'",
                     PROGRAM, paths[0].data != NULL ? paths[0].data : TEKUP_LIBEXEC);
    }
    for (int i = 0; i < count; i++) buffer_free(&paths[i]);
    return EXIT_FAILED;
}

/* ---- The vault ---- */

/* The vault's vectors as a descriptor that the program will inherit, and what to call them. */
static int fetch_vault(struct buffer *name, int *fd, struct error *err)
{
    const struct terminal terminal = terminal_of(stderr);
    struct progress *progress = progress_create(stderr, &terminal, PLAIN_SECONDS);
    struct response status = {0};
    size_t count = 0;
    int result = -1;
    *fd = -1;
    struct client *client = client_create(err);
    if (client == NULL || client_call(client, "GET", "/v1/status", NULL, &status, err) != 0)
        goto out;
    const long long vectors = field_integer(json_object_get(status.json, "database"), "embeddings");
    buffer_format(name, "vault, %s",
                  field_text(json_object_get(status.json, "embedding"), "model"));
    *fd = vault_file_make(client, vectors > 0 ? (size_t)vectors : 0, progress, &count, err);
    if (*fd < 0) goto out;
    if (count == 0) {
        error_set(err, ERR_NOT_FOUND, NULL,
                  "the vault has no vectors to measure on: 'tekup sources add --help' says how "
                  "documents get in");
    } else if (name->failed || fcntl(*fd, F_SETFD, 0) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "the vault's vectors cannot be passed on");
    } else {
        result = 0;
    }
out:
    progress_free(progress);
    response_free(&status);
    client_free(client);
    return result;
}

/* Copies the arguments, without --vault, behind those that say where the vault's vectors are. The
 * caller's own come last, so that a --name of theirs counts. */
static int bench_vault(const struct arguments *arguments, char **rest, int count)
{
    struct buffer name = {0}, path = {0};
    struct error err = {0};
    int fd, result = EXIT_FAILED;
    char **argv = calloc((size_t)count + 8, sizeof(*argv));
    if (argv == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    if (fetch_vault(&name, &fd, &err) != 0) {
        command_failed(&err, NULL, false);
    } else {
        static char base[] = "--base", format[] = "--base-format", fbin[] = "fbin";
        static char label[] = "--name";
        buffer_format(&path, "/proc/self/fd/%d", fd);
        char *const added[] = {
            (char *)arguments->command, base, path.data, format, fbin, label, name.data};
        enum { ADDED = sizeof(added) / sizeof(*added) };
        memcpy(argv, added, sizeof(added));
        memcpy(argv + ADDED, rest, (size_t)count * sizeof(*rest));
        if (!path.failed) result = become(argv);
    }
    if (fd >= 0) close(fd);
    buffer_free(&path);
    buffer_free(&name);
    free(argv);
    return result;
}

/* ---- The command ---- */

/* Whether the argument is this option, with or without its value. */
static bool is_option(const char *argument, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 &&
           (argument[length] == '\0' || argument[length] == '=');
}

static int run(const struct arguments *arguments)
{
    char **argv = arguments->argv;
    const char *other = NULL;
    bool vault = false;
    int count = 0;
    for (int i = 1; i < arguments->argc; i++) {
        if (is_option(argv[i], "--base") || is_option(argv[i], "--synthetic")) other = argv[i];
        if (strcmp(argv[i], "--vault") == 0)
            vault = true;
        else
            argv[1 + count++] = argv[i];
    }
    argv[1 + count] = NULL;
    if (vault && other != NULL)
        return options_wrong(arguments, "--vault and %.*s: only one of them can bring the vectors",
                             (int)strcspn(other, "="), other);
    if (vault) return bench_vault(arguments, argv + 1, count);
    argv[0] = (char *)arguments->command;
    return become(argv);
}

const struct command command_bench = {
    .name = "bench",
    .summary = "measure the index, and other engines beside it",
    .help = help,
    .run = run,
};
