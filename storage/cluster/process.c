/* Between fork and exec only calls are made that a child of a process with threads may make. */
#include "storage/cluster/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum stage { STAGE_USER, STAGE_DIRECTORY, STAGE_EXEC };

/* What a child that did not come as far as its program sends to its parent. */
struct report {
    enum stage stage;
    int error;
};

enum { REPORT_FD = 3, KEEP_FD = 4, FIRST_FREE_FD = 5, HIGH_FD = 64 };

/* ---- The child ---- */

_Noreturn static void give_up(enum stage stage)
{
    const struct report report = {stage, errno};
    const ssize_t ignored = write(REPORT_FD, &report, sizeof(report));
    (void)ignored;
    _exit(127);
}

/* Puts the files at the numbers the program expects and closes all others. They are first copied
 * out of the way, since any of them may have one of those numbers already. */
static void arrange_files(int output, int report, int keep)
{
    const int null = open("/dev/null", O_RDONLY);
    const int high_null = fcntl(null, F_DUPFD, HIGH_FD);
    const int high_output = fcntl(output, F_DUPFD, HIGH_FD);
    const int high_report = fcntl(report, F_DUPFD, HIGH_FD);
    const int high_keep = keep >= 0 ? fcntl(keep, F_DUPFD, HIGH_FD) : -1;
    dup2(high_null, STDIN_FILENO);
    dup2(high_output, STDOUT_FILENO);
    dup2(high_output, STDERR_FILENO);
    dup2(high_report, REPORT_FD);
    fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
    if (high_keep >= 0) dup2(high_keep, KEEP_FD);
    close_range(high_keep >= 0 ? FIRST_FREE_FD : KEEP_FD, ~0U, 0);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL); /* those that cannot be set stay */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void run_child(const struct process *process, char *const *environment, int output,
                                int report)
{
    const struct system_user *user = process->user;
    setpgid(0, 0);
    umask(077);
    arrange_files(output, report, process->keep_fd);
    reset_signals();
    if (user->change &&
        (setgroups(1, &user->gid) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0))
        give_up(STAGE_USER);
    if (chdir(process->directory) != 0) give_up(STAGE_DIRECTORY);
    if (process->argv == NULL) _exit(0);
    /* execvpe takes the strings as const in all but its type. */
    execvpe(process->argv[0], (char *const *)(const void *)process->argv, environment);
    give_up(STAGE_EXEC);
}

/* ---- The parent ---- */

/* Only what a program needs to be found and to run: variables of libpq and of the locale would
 * change what it does and says, and a server that runs for months has no business with the daemon's
 * secrets.
 */
static char **clean_environment(void)
{
    static const char *const kept[] = {"PATH=", "LD_LIBRARY_PATH=", "TMPDIR=", "TZ="};
    enum { KEPT = sizeof(kept) / sizeof(*kept) };
    static char locale[] = "LC_ALL=C";
    char **clean = calloc(KEPT + 2, sizeof(*clean));
    if (clean == NULL) return NULL;
    size_t used = 0;
    for (size_t i = 0; i < KEPT; i++)
        for (char **at = environ; *at != NULL; at++)
            if (strncmp(*at, kept[i], strlen(kept[i])) == 0) {
                clean[used++] = *at;
                break;
            }
    clean[used] = locale;
    return clean;
}

/* Names the first directory on the way that the user has no right to pass, as far as the modes
 * tell.
 */
static void blocking_directory(const struct system_user *user, const char *path, char *out,
                               size_t size)
{
    snprintf(out, size, "%s", path);
    for (char *at = out; at != NULL; at = strchr(at + 1, '/')) {
        char keep = '\0';
        if (at != out) {
            keep = *at;
            *at = '\0';
        }
        struct stat status;
        const bool known = stat(at == out ? "/" : out, &status) == 0;
        const mode_t bit = !known                       ? 0
                           : status.st_uid == user->uid ? S_IXUSR
                           : status.st_gid == user->gid ? S_IXGRP
                                                        : S_IXOTH;
        if (!known || (status.st_mode & bit) == 0) return;
        if (at != out) *at = keep;
    }
}

static int report_error(const struct process *process, const struct report *report,
                        struct error *err)
{
    char directory[4096];
    switch (report->stage) {
    case STAGE_USER:
        return error_set(err, ERR_IO, NULL, "cannot become the user %s: %s", process->user->name,
                         strerror(report->error));
    case STAGE_DIRECTORY:
        blocking_directory(process->user, process->directory, directory, sizeof(directory));
        if (report->error == EACCES)
            return error_set(err, ERR_IO, NULL,
                             "the user %s, who runs PostgreSQL, may not pass through %s on the way "
                             "to %s; allow it (chmod o+x %s) or choose another place",
                             process->user->name, directory, process->directory, directory);
        return error_set(err, ERR_IO, NULL, "cannot enter %s: %s", process->directory,
                         strerror(report->error));
    case STAGE_EXEC:
        break;
    }
    return error_set(err, ERR_IO, NULL, "cannot run %s: %s", process->argv[0],
                     strerror(report->error));
}

/* Reads to the end of the file into the buffer, or past it. */
static void read_all(int fd, struct buffer *buffer)
{
    char bytes[4096];
    for (;;) {
        const ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        if (buffer != NULL) buffer_append(buffer, bytes, (size_t)got);
    }
}

static int wait_for(pid_t pid, int *status, struct error *err)
{
    int wait_status;
    while (waitpid(pid, &wait_status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, ERR_INTERNAL, NULL, "waitpid: %s", strerror(errno));
    *status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    return 0;
}

int process_run(const struct process *process, int *status, struct buffer *output,
                struct error *err)
{
    int out[2] = {-1, -1}, report[2] = {-1, -1};
    struct buffer said = {0};
    int rc = -1;
    char **environment = clean_environment();
    if (environment == NULL || pipe2(out, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
        error_set(err, ERR_IO, NULL, "cannot start a program: %s", strerror(errno));
        goto out;
    }
    const pid_t pid = fork();
    if (pid == 0) run_child(process, environment, out[1], report[1]);
    if (pid < 0) {
        error_set(err, ERR_IO, NULL, "cannot start a program: %s", strerror(errno));
        goto out;
    }
    close(out[1]);
    close(report[1]);
    out[1] = report[1] = -1;
    read_all(report[0], &said);
    read_all(out[0], output);
    rc = wait_for(pid, status, err);
    if (rc == 0 && said.length == sizeof(struct report)) {
        struct report what;
        memcpy(&what, said.data, sizeof(what));
        rc = report_error(process, &what, err);
    }
out:
    for (int i = 0; i < 2; i++) {
        if (out[i] >= 0) close(out[i]);
        if (report[i] >= 0) close(report[i]);
    }
    buffer_free(&said);
    free(environment);
    return rc;
}

/* ---- What it said ---- */

void process_complaint(const struct buffer *output, char *out, size_t size)
{
    /* In the order of what they tell. */
    static const char *const signs[] = {
        "No space left on device", "PANIC:", "FATAL:", "error:", "ERROR:", "could not"};
    const char *text = output->data != NULL ? output->data : "";
    const char *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof(signs) / sizeof(*signs); i++)
        found = strstr(text, signs[i]);
    if (found == NULL) {
        /* The last line, then. */
        size_t end = strlen(text);
        while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' ')) end--;
        found = text + end;
    }
    while (found > text && found[-1] != '\n') found--;
    const size_t length = strcspn(found, "\n");
    if (length > 0)
        snprintf(out, size, "%.*s", (int)length, found);
    else
        snprintf(out, size, "it gave no reason");
}
