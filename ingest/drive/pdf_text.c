/* pdf_text.c: runs tekup-pdftext: the file in a memory file as its standard input, a pipe for what
 * it writes, and nothing else of this process: neither its environment nor its descriptors. */
#include "ingest/drive/pdf_text.h"

#include "ingest/drive/pdf_limits.h"
#include "storage/base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "tekup-pdftext"

enum { STEP_MS = 200, PIECE = 64 << 10 };

/* ---- The program ---- */

/* Where it may be, seen from this program: in the directory of the build, or where it was installed
 * with this program, wherever that has been moved to since, or where it was to be installed. */
static bool find_program(struct buffer *path)
{
    char own[4096];
    const ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash = NULL;
    if (length > 0) {
        own[length] = '\0';
        slash = strrchr(own, '/');
    }
    if (slash != NULL) *slash = '\0';
    static const char *const beside[] = {"../pdftext", "../tools/pdftext", TEKUP_LIBEXEC_FROM_BIN};
    for (size_t i = 0; slash != NULL && i < sizeof(beside) / sizeof(*beside); i++) {
        buffer_clear(path);
        buffer_format(path, "%s/%s/" PROGRAM, own, beside[i]);
        if (!path->failed && access(path->data, X_OK) == 0) return true;
    }
    buffer_clear(path);
    buffer_format(path, "%s/" PROGRAM, TEKUP_LIBEXEC);
    return !path->failed && access(path->data, X_OK) == 0;
}

/* ---- Running it ---- */

/* The bytes in a file without a name. */
static int make_input(const void *bytes, size_t size)
{
    const int fd = memfd_create("pdf", MFD_CLOEXEC);
    if (fd < 0) return -1;
    const char *from = bytes;
    while (size > 0) {
        const ssize_t written = write(fd, from, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            close(fd);
            return -1;
        }
        from += written;
        size -= (size_t)written;
    }
    return fd;
}

static int spawn(const char *program, size_t most, int input, int output, pid_t *pid)
{
    char number[24];
    char *const argv[] = {(char *)PROGRAM, number, NULL};
    char *const environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LANG=C.UTF-8", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    snprintf(number, sizeof(number), "%zu", most);
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int fault = posix_spawn_file_actions_init(&actions);
    if (fault != 0) return fault;
    fault = posix_spawnattr_init(&attributes);
    if (fault != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return fault;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    if ((fault = posix_spawn_file_actions_adddup2(&actions, input, 0)) == 0 &&
        (fault = posix_spawn_file_actions_adddup2(&actions, output, 1)) == 0 &&
        (fault = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) == 0 &&
        (fault = posix_spawn_file_actions_addclosefrom_np(&actions, 3)) == 0)
        fault = posix_spawn(pid, program, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return fault;
}

static time_t now_steady(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

enum reading { READ_ALL, READ_TOO_MUCH, READ_TOO_LONG, READ_STOPPED, READ_FAILED };

static enum reading read_output(int fd, size_t most, const atomic_bool *stop, struct buffer *text)
{
    char *piece = malloc(PIECE);
    const time_t end = now_steady() + PDF_WALL_S;
    enum reading result = piece != NULL ? READ_ALL : READ_FAILED;
    while (piece != NULL) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int ready = poll(&wait, 1, STEP_MS);
        if (stop != NULL && atomic_load(stop))
            result = READ_STOPPED;
        else if (now_steady() > end)
            result = READ_TOO_LONG;
        else if (ready < 0 && errno != EINTR)
            result = READ_FAILED;
        if (result != READ_ALL) break;
        if (ready <= 0) continue;
        const ssize_t got = read(fd, piece, PIECE);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        buffer_append(text, piece, got > 0 ? (size_t)got : 0);
        if (got < 0 || text->failed)
            result = READ_FAILED;
        else if (text->length > most)
            result = READ_TOO_MUCH;
        if (result != READ_ALL) break;
    }
    free(piece);
    return result;
}

static int wait_for_end(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return status;
}

static int skip(enum skip_reason *reason, enum skip_reason value, const char **why,
                const char *words)
{
    *reason = value;
    *why = words;
    return 1;
}

static int judge(enum reading reading, int status, enum skip_reason *reason, const char **why,
                 struct error *err)
{
    if (reading == READ_STOPPED) return error_set(err, ERR_CANCELLED, NULL, "interrupted");
    if (reading == READ_TOO_MUCH) return skip(reason, SKIP_TOO_LARGE, why, "too much text");
    if (reading == READ_TOO_LONG) return skip(reason, SKIP_UNSUPPORTED, why, "beyond the limits");
    if (reading == READ_FAILED || status < 0)
        return error_set(err, ERR_INTERNAL, NULL, PROGRAM " could not be waited for");
    /* Processor time and memory end it by signals, and so does a defect of poppler. */
    if (WIFSIGNALED(status)) return skip(reason, SKIP_UNSUPPORTED, why, "beyond the limits");
    switch (WEXITSTATUS(status)) {
    case PDF_OK:
        return 0;
    case PDF_ENCRYPTED:
        return skip(reason, SKIP_UNSUPPORTED, why, "encrypted");
    case PDF_DAMAGED:
        return skip(reason, SKIP_UNSUPPORTED, why, "damaged");
    case PDF_TOO_LONG:
        return skip(reason, SKIP_TOO_LARGE, why, "too much text");
    case PDF_FAILED:
    case 127: /* a library is missing */
        return error_set(err, ERR_IO, NULL, PROGRAM " cannot do its work here");
    default:
        return skip(reason, SKIP_UNSUPPORTED, why, "damaged");
    }
}

static int run(const char *program, int input, size_t most, const atomic_bool *stop,
               struct buffer *text, enum skip_reason *reason, const char **why, struct error *err)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set(err, ERR_IO, NULL, "a pipe cannot be made: %s", strerror(errno));
    const int fault = spawn(program, most, input, ends[1], &pid);
    close(ends[1]);
    if (fault != 0) {
        close(ends[0]);
        return error_set(err, ERR_IO, NULL, "%s cannot be run: %s", program, strerror(fault));
    }
    const enum reading reading = read_output(ends[0], most, stop, text);
    close(ends[0]);
    if (reading != READ_ALL) kill(pid, SIGKILL);
    return judge(reading, wait_for_end(pid), reason, why, err);
}

int pdf_text(const void *bytes, size_t size, size_t most, const atomic_bool *stop, char **text,
             size_t *length, enum skip_reason *reason, const char **why, struct error *err)
{
    struct buffer program = {0}, output = {0};
    *text = NULL;
    *why = NULL;
    if (size > PDF_FILE_MOST) return skip(reason, SKIP_TOO_LARGE, why, "too large");
    if (!find_program(&program)) {
        buffer_free(&program);
        return error_set(err, ERR_IO, NULL,
                         PROGRAM " is not installed beside tekupd (libexec/tekupdb/" PROGRAM
                                 "): without it there is no text of PDF files");
    }
    int status = -1;
    const int input = make_input(bytes, size);
    if (input < 0)
        error_set(err, ERR_IO, NULL, "a file in memory cannot be made: %s", strerror(errno));
    else
        status = run(program.data, input, most, stop, &output, reason, why, err);
    if (input >= 0) close(input);
    buffer_free(&program);
    if (status == 0) {
        *length = output.length;
        *text = buffer_take(&output);
        if (*text == NULL) status = error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    buffer_free(&output);
    return status;
}
