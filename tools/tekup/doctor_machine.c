#include "tools/tekup/doctor.h"
#include "tools/tekup/figures.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Below the first PostgreSQL soon cannot write its log; below the second it is time to look. */
static const double disk_fail = 200e6, disk_warn = 2e9;

bool doctor_check_run(struct checks *checks, const char *run)
{
    char socket[PATHS_SIZE + sizeof(PATHS_SOCKET)];
    snprintf(socket, sizeof(socket), "%s/%s", run, PATHS_SOCKET);
    struct stat found;
    if (stat(run, &found) != 0)
        check_add(checks, errno == ENOENT ? CHECK_WARN : CHECK_FAIL, "run",
                  errno == ENOENT ? "tekupd makes it when it starts"
                                  : "look at the permissions of the directories above it",
                  "%s: %s", run, strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        check_add(checks, CHECK_FAIL, "run", "remove it, or set TEKUP_RUN to another directory",
                  "%s is not a directory", run);
    else if (geteuid() != 0 && found.st_uid != geteuid() && found.st_uid != 0 &&
             strncmp(run, "/tmp/", 5) == 0)
        check_add(checks, CHECK_FAIL, "run", "remove it, or set TEKUP_RUN to a directory of yours",
                  "%s belongs to another user (%lu)", run, (unsigned long)found.st_uid);
    else
        check_add(checks, CHECK_OK, "run", "", "%s", run);

    struct error err = {0};
    switch (client_probe(socket, &err)) {
    case SOCKET_ALIVE:
        check_add(checks, CHECK_OK, "socket", "", "%s answers", socket);
        return true;
    case SOCKET_MISSING:
        check_add(
            checks, CHECK_FAIL, "socket",
            "start the daemon: 'systemctl start tekupd' where it is a service, else 'tekupd', or "
            "'./tools/run' in the source directory; if it runs elsewhere, set TEKUP_RUN",
            "%s is not there: tekupd is not running", socket);
        return false;
    case SOCKET_STALE:
        check_add(checks, CHECK_FAIL, "socket",
                  "start the daemon again: 'tekupd', or './tools/run' in the source directory; it "
                  "takes the place of the old socket by itself",
                  "%s was left behind by a tekupd that was killed", socket);
        return false;
    case SOCKET_DENIED:
        check_add(checks, CHECK_FAIL, "socket",
                  "run this as root or as the daemon's user, or join the group that 'ls -l' shows",
                  "%s may not be used by this user", socket);
        return false;
    case SOCKET_OTHER:
        break;
    }
    check_add(checks, CHECK_FAIL, "socket", "", "%s", err.message);
    return false;
}

/* The nearest directory that exists at or above path. */
static void nearest_existing(const char *path, char out[PATHS_SIZE])
{
    struct stat found;
    snprintf(out, PATHS_SIZE, "%s", path);
    while (stat(out, &found) != 0) {
        char *slash = strrchr(out, '/');
        if (slash == NULL || slash == out) {
            snprintf(out, PATHS_SIZE, "/");
            return;
        }
        *slash = '\0';
    }
}

static void check_disk(struct checks *checks, const char *data)
{
    char place[PATHS_SIZE], bytes[FIGURE_SIZE];
    struct statvfs disk;
    nearest_existing(data, place);
    if (statvfs(place, &disk) != 0) {
        check_add(checks, CHECK_WARN, "disk", "", "%s: %s", place, strerror(errno));
        return;
    }
    const double left = (double)disk.f_bavail * (double)disk.f_frsize;
    enum check_state state = CHECK_OK;
    if (left < disk_warn) state = CHECK_WARN;
    if (left < disk_fail) state = CHECK_FAIL;
    check_add(checks, state, "disk",
              state == CHECK_OK ? ""
                                : "make room, or move DATA to a larger disk: 1,000 passages take "
                                  "about 16 MB",
              "%s free for %s", figure_bytes(left, bytes), data);
    if (disk.f_files > 0 && disk.f_favail < 1000)
        check_add(checks, CHECK_FAIL, "inodes", "remove files that are not needed",
                  "only %llu more files can be made on the disk of %s",
                  (unsigned long long)disk.f_favail, data);
}

void doctor_check_data(struct checks *checks, const char *data, bool daemon_runs)
{
    struct stat found;
    if (stat(data, &found) != 0) {
        const bool missing = errno == ENOENT;
        const bool hidden = errno == EACCES && daemon_runs;
        check_add(checks,
                  hidden                    ? CHECK_OK
                  : missing && !daemon_runs ? CHECK_WARN
                                            : CHECK_FAIL,
                  "data",
                  hidden                    ? ""
                  : missing && !daemon_runs ? "tekupd makes it when it starts"
                  : missing ? "it was removed under the running daemon: stop tekupd and start it "
                              "again; the documents come back with the next sync"
                            : "look at the permissions of the directories above it",
                  "%s: %s", data, hidden ? "the daemon's own" : strerror(errno));
    } else if (!S_ISDIR(found.st_mode)) {
        check_add(checks, CHECK_FAIL, "data", "remove it, or set TEKUP_DATA to another directory",
                  "%s is not a directory", data);
    } else if (!daemon_runs && access(data, W_OK | X_OK) != 0) {
        check_add(checks, CHECK_FAIL, "data",
                  "start tekupd as the user it belongs to, or set TEKUP_DATA to a directory of "
                  "yours",
                  "%s cannot be written by this user: %s", data, strerror(errno));
    } else {
        check_add(checks, CHECK_OK, "data", "", "%s", data);
    }
    check_disk(checks, data);
}

void doctor_check_server_programs(struct checks *checks)
{
    const char *url = getenv("DATABASE_URL");
    if (url != NULL && *url != '\0') {
        check_add(checks, CHECK_OK, "database", "",
                  "DATABASE_URL is set: tekupd will use that server");
        return;
    }
    glob_t found = {0};
    int newest = 0;
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            const int version = atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));
            if (version > newest) newest = version;
        }
    }
    globfree(&found);
    if (newest > 0)
        check_add(checks, CHECK_OK, "database", "",
                  "PostgreSQL %d is installed: tekupd runs a private cluster with it", newest);
    else
        check_add(checks, CHECK_FAIL, "database",
                  "install it ('apt-get install postgresql'), or set DATABASE_URL to a server",
                  "no PostgreSQL server is installed and DATABASE_URL is not set");
}
