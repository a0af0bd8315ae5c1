#include "bench/output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_directly(struct output *output, tk_error *err)
{
    bool standard = strcmp(output->path, OUTPUT_STANDARD) == 0;
    output->stream = standard ? fdopen(dup(STDOUT_FILENO), "w") : fopen(output->path, "w");
    return output->stream ? 0 : fail(err, "%s: %s", output->path, strerror(errno));
}

int output_open(struct output *output, const char *path, tk_error *err)
{
    struct stat status;
    *output = (struct output){.path = path};
    if (!path) return 0;
    if (strcmp(path, OUTPUT_STANDARD) == 0) return open_directly(output, err);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return fail(err, "%s is a directory", path);
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) return open_directly(output, err);
    int length = snprintf(output->temporary, sizeof(output->temporary), "%s.XXXXXX", path);
    if (length >= (int)sizeof(output->temporary)) {
        output->temporary[0] = '\0';
        return fail(err, "the name of a file to write is too long");
    }
    int file = mkstemp(output->temporary);
    if (file < 0) {
        output->temporary[0] = '\0';
        return fail(err, "%s: %s", path, strerror(errno));
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(file, 0666 & ~mask) == 0) output->stream = fdopen(file, "w");
    if (output->stream) return 0;
    fail(err, "%s: %s", path, strerror(errno));
    close(file);
    output_discard(output);
    return -1;
}

int output_commit(struct output *output, tk_error *err)
{
    if (!output->stream) return 0;
    int failed = ferror(output->stream);
    failed |= fclose(output->stream);
    output->stream = NULL;
    if (!failed && output->temporary[0]) failed = rename(output->temporary, output->path);
    if (!failed) {
        output->temporary[0] = '\0';
        return 0;
    }
    fail(err, "%s: %s", output->path, strerror(errno));
    output_discard(output);
    return -1;
}

void output_discard(struct output *output)
{
    if (output->stream) fclose(output->stream);
    output->stream = NULL;
    if (output->temporary[0]) unlink(output->temporary);
    output->temporary[0] = '\0';
}
