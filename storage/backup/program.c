#include "storage/backup/program.h"

#include "storage/cluster/process.h"
#include "storage/cluster/server_binaries.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LIST_FD = 3, FIRST_FREE_FD = 4, HIGH_FD = 64, SAID_MOST = 64 * 1024 };

/* ---- Where ----------------------------------------------------------------------------------- */

int program_directory(int major, char directory[PATH_MAX], int *found, struct error *err)
{
    static const char *const names[] = {"pg_dump", "pg_restore", NULL};
    struct server_binaries binaries;
    if (server_programs_find(server_binaries_places, names, major, &binaries) != 0)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "pg_dump and pg_restore of PostgreSQL %d or newer are not installed: "
                         "install the package postgresql-client-%d",
                         major, major);
    snprintf(directory, PATH_MAX, "%s", binaries.directory);
    *found = binaries.major;
    return 0;
}

/* ---- Starting -------------------------------------------------------------------------------- */

/* This process's environment, with the password and in the language that messages are read in. */
static char **make_environment(const char *password, char *variable, size_t size)
{
    static char locale[] = "LC_ALL=C";
    size_t count = 0, kept = 0;
    while (environ[count] != NULL) count++;
    char **environment = calloc(count + 3, sizeof(*environment));
    if (environment == NULL) return NULL;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "PGPASSWORD=", 11) != 0 && strncmp(environ[i], "LC_ALL=", 7) != 0 &&
            strncmp(environ[i], "PGOPTIONS=", 10) != 0)
            environment[kept++] = environ[i];
    environment[kept++] = locale;
    if (password != NULL && *password != '\0') {
        snprintf(variable, size, "PGPASSWORD=%s", password);
        environment[kept] = variable;
    }
    return environment;
}

_Noreturn static void run_child(const char *const *argv, char *const *environment, int in, int out,
                                int said, int list)
{
    const int null = open("/dev/null", O_RDONLY);
    const int high_in = fcntl(in >= 0 ? in : null, F_DUPFD, HIGH_FD);
    const int high_out = fcntl(out, F_DUPFD, HIGH_FD);
    const int high_said = fcntl(said, F_DUPFD, HIGH_FD);
    const int high_list = list >= 0 ? fcntl(list, F_DUPFD, HIGH_FD) : -1;
    dup2(high_in, STDIN_FILENO);
    dup2(high_out, STDOUT_FILENO);
    dup2(high_said, STDERR_FILENO);
    if (high_list >= 0) dup2(high_list, LIST_FD);
    close_range(high_list >= 0 ? FIRST_FREE_FD : LIST_FD, ~0U, 0);
    signal(SIGPIPE, SIG_DFL);
    execve(argv[0], (char *const *)(const void *)argv, environment);
    dprintf(STDERR_FILENO, "error: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

int program_start(struct program *program, const char *const *argv, const char *password,
                  bool feeds, int list, struct error *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    const size_t size = password != NULL ? strlen(password) + sizeof("PGPASSWORD=") : 1;
    char *variable = malloc(size);
    char **environment = variable != NULL ? make_environment(password, variable, size) : NULL;
    const char *slash = strrchr(argv[0], '/');
    *program = (struct program){.name = slash != NULL ? slash + 1 : argv[0], .in = -1, .out = -1};
    program->said = memfd_create("said", MFD_CLOEXEC);
    int rc = -1;
    if (environment == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    } else if (program->said < 0 || pipe2(out, O_CLOEXEC) != 0 ||
               (feeds && pipe2(in, O_CLOEXEC) != 0) || (program->pid = fork()) < 0) {
        error_set(err, ERR_IO, NULL, "cannot start %s: %s", program->name, strerror(errno));
        program->pid = 0;
    } else {
        if (program->pid == 0) run_child(argv, environment, in[0], out[1], program->said, list);
        program->in = in[1];
        program->out = out[0];
        in[1] = out[0] = -1;
        rc = 0;
    }
    for (int i = 0; i < 2; i++) {
        close_fd(&in[i]);
        close_fd(&out[i]);
    }
    if (rc != 0) close_fd(&program->said);
    if (variable != NULL) explicit_bzero(variable, size);
    free(variable);
    free(environment);
    return rc;
}

/* ---- Its end --------------------------------------------------------------------------------- */

static void read_said(const struct program *program, struct buffer *said)
{
    char bytes[4096];
    ssize_t got;
    off_t at = 0;
    while (at < SAID_MOST && (got = pread(program->said, bytes, sizeof(bytes), at)) > 0) {
        buffer_append(said, bytes, (size_t)got);
        at += got;
    }
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return status;
}

int program_end(struct program *program, struct error *err)
{
    struct buffer said = {0};
    char complaint[400];
    int rc = 0;
    close_fd(&program->in);
    close_fd(&program->out);
    if (program->pid <= 0) return 0;
    const int status = wait_for(program->pid);
    read_said(program, &said);
    process_complaint(&said, complaint, sizeof(complaint));
    if (WIFSIGNALED(status))
        rc = error_set(err, ERR_IO, NULL, "%s was ended by signal %d (%s)", program->name,
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (status != 0)
        rc = error_set(err, ERR_UNAVAILABLE, NULL, "%s", complaint);
    buffer_free(&said);
    close_fd(&program->said);
    program->pid = 0;
    return rc;
}

void program_drop(struct program *program)
{
    if (program->pid > 0) kill(program->pid, SIGTERM);
    program_end(program, NULL);
}
