#include "storage/cluster/postmaster.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool works_in(const char *pid, const struct stat *directory)
{
    char path[64];
    struct stat status;
    snprintf(path, sizeof(path), "/proc/%.20s/cwd", pid);
    return stat(path, &status) == 0 && status.st_dev == directory->st_dev &&
           status.st_ino == directory->st_ino;
}

/* Where /proc is not mounted, the number has to do. */
static bool process_works_in(pid_t pid, const char *directory)
{
    struct stat status;
    char number[24];
    if (stat("/proc/self", &status) != 0) return kill(pid, 0) == 0;
    snprintf(number, sizeof(number), "%d", (int)pid);
    return stat(directory, &status) == 0 && works_in(number, &status);
}

/* The first lines of postmaster.pid and of a socket's lock file are the same. */
enum line { LINE_PID, LINE_DATA, LINE_START, LINE_PORT, LINE_SOCKET, LINES };

static int read_lines(const char *path, char lines[LINES][PATH_MAX])
{
    FILE *file = fopen(path, "re");
    for (int i = 0; i < LINES; i++) lines[i][0] = '\0';
    if (file == NULL) return -1;
    for (int i = 0; i < LINES && fgets(lines[i], PATH_MAX, file) != NULL; i++)
        lines[i][strcspn(lines[i], "\n")] = '\0';
    fclose(file);
    return 0;
}

void postmaster_read(const char *data_directory, struct postmaster *postmaster)
{
    char path[PATH_MAX], lines[LINES][PATH_MAX];
    *postmaster = (struct postmaster){0};
    snprintf(path, sizeof(path), "%s/postmaster.pid", data_directory);
    if (read_lines(path, lines) != 0) return;
    const long pid = strtol(lines[LINE_PID], NULL, 10);
    if (pid <= 0 || pid > INT_MAX) return; /* a standalone server writes a negative number */
    postmaster->pid = (pid_t)pid;
    postmaster->alive = kill(postmaster->pid, 0) == 0 || errno == EPERM;
    postmaster->ours = process_works_in(postmaster->pid, data_directory);
    memcpy(postmaster->socket_directory, lines[LINE_SOCKET], PATH_MAX);
}

bool postmaster_holds(const char *socket_lock)
{
    char lines[LINES][PATH_MAX];
    if (read_lines(socket_lock, lines) != 0) return false;
    const long pid = strtol(lines[LINE_PID], NULL, 10);
    return pid > 0 && pid <= INT_MAX && process_works_in((pid_t)pid, lines[LINE_DATA]);
}

bool postmaster_anyone(const char *data_directory)
{
    struct stat directory;
    bool found = false;
    DIR *processes = opendir("/proc");
    if (processes == NULL) return false;
    if (stat(data_directory, &directory) == 0) {
        struct dirent *entry;
        while (!found && (entry = readdir(processes)) != NULL)
            found = isdigit((unsigned char)entry->d_name[0]) && works_in(entry->d_name, &directory);
    }
    closedir(processes);
    return found;
}
