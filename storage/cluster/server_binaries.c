#include "storage/cluster/server_binaries.h"

#include "storage/cluster/process.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const server_binaries_places[] = {
    "/usr/lib/postgresql/*/bin", /* Debian, Ubuntu */
    "/usr/pgsql-*/bin",          /* the PostgreSQL project's RPMs */
    "/usr/libexec/postgresql*",  /* Alpine */
    "/usr/local/pgsql/bin",      /* PostgreSQL built from its sources */
    "/usr/local/bin",
    "/usr/bin", /* Fedora, Arch */
    NULL,
};

struct search {
    const char *const *names; /* the programs that have to be there; the first tells the version */
    int major;                /* wanted, 0 for the newest */
    bool later;               /* a later one will do where there is none of that version */
    struct server_binaries best;
    struct buffer others; /* versions that are there and not wanted: ", 14, 15" */
};

/* The first line that a program writes, run as this process's own user. Empty when it fails. */
static void ask(const char *program, const char *option, char *line, size_t size)
{
    const struct system_user self = {.change = false};
    const char *const argv[] = {program, option, NULL};
    const struct process process = {.user = &self, .directory = "/", .argv = argv, .keep_fd = -1};
    struct buffer output = {0};
    int status;
    line[0] = '\0';
    if (process_run(&process, &status, &output, NULL) == 0 && status == 0 && output.data != NULL)
        snprintf(line, size, "%.*s", (int)strcspn(output.data, "\n"), output.data);
    buffer_free(&output);
}

static bool has_programs(const char *directory, const char *const *names)
{
    char path[PATH_MAX];
    for (; *names != NULL; names++) {
        snprintf(path, sizeof(path), "%s/%s", directory, *names);
        if (access(path, X_OK) != 0) return false;
    }
    return true;
}

/* Reads the version out of "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)". */
static int major_version(const char *directory, const char *name)
{
    char path[PATH_MAX], line[256];
    static const char before[] = "(PostgreSQL) ";
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    ask(path, "--version", line, sizeof(line));
    const char *at = strstr(line, before);
    return at != NULL ? (int)strtol(at + sizeof(before) - 1, NULL, 10) : 0;
}

static void consider(struct search *search, const char *directory)
{
    if (!has_programs(directory, search->names)) return;
    const int major = major_version(directory, search->names[0]);
    const int wanted = search->major, best = search->best.major;
    if (major == 0) return;
    if (wanted != 0 && major != wanted && !(search->later && major > wanted)) {
        buffer_format(&search->others, "%s%d", search->others.length > 0 ? ", " : "", major);
        return;
    }
    if (best != 0 && (best == wanted || (major <= best && major != wanted))) return;
    snprintf(search->best.directory, sizeof(search->best.directory), "%s", directory);
    search->best.major = major;
}

static void look(struct search *search, const char *const *places)
{
    char configured[PATH_MAX];
    for (; *places != NULL; places++) {
        glob_t found;
        if (glob(*places, 0, NULL, &found) == 0)
            for (size_t i = 0; i < found.gl_pathc; i++) consider(search, found.gl_pathv[i]);
        globfree(&found);
    }
    if (search->best.major == 0) {
        ask("pg_config", "--bindir", configured, sizeof(configured));
        if (configured[0] == '/') consider(search, configured);
    }
}

int server_binaries_find(const char *const *places, int major, struct server_binaries *binaries,
                         struct error *err)
{
    static const char *const names[] = {"postgres", "initdb", "pg_ctl", NULL};
    struct search search = {.names = names, .major = major};
    look(&search, places);
    int rc = 0;
    if (search.best.major != 0)
        *binaries = search.best;
    else if (search.others.length > 0)
        rc = error_set(err, ERR_CONFLICT, NULL,
                       "it was made by PostgreSQL %d, and the installed server is PostgreSQL %s: "
                       "install postgresql-%d, or upgrade it with pg_upgrade",
                       major, search.others.data, major);
    else
        rc = error_set(err, ERR_NOT_FOUND, NULL,
                       "no PostgreSQL server is installed (initdb, pg_ctl and postgres): install "
                       "the package postgresql, or set DATABASE_URL to use another server");
    buffer_free(&search.others);
    return rc;
}

int server_programs_find(const char *const *places, const char *const *names, int major,
                         struct server_binaries *binaries)
{
    struct search search = {.names = names, .major = major, .later = true};
    look(&search, places);
    buffer_free(&search.others);
    *binaries = search.best;
    return search.best.major != 0 ? 0 : -1;
}
