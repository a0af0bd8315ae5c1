#include "storage/postmaster.h"

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

/* The lines of postmaster.pid: process, data directory, start, port, socket directory, ... */
void postmaster_read(const char *data_directory, struct postmaster *postmaster)
{
    char path[PATH_MAX], line[PATH_MAX];
    *postmaster = (struct postmaster){0};
    snprintf(path, sizeof(path), "%s/postmaster.pid", data_directory);
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    for (int i = 1; i <= 5 && fgets(line, sizeof(line), file) != NULL; i++) {
        line[strcspn(line, "\n")] = '\0';
        if (i == 1) postmaster->pid = (pid_t)strtol(line, NULL, 10);
        if (i == 5)
            snprintf(postmaster->socket_directory, sizeof(postmaster->socket_directory), "%s",
                     line);
    }
    fclose(file);
    if (postmaster->pid <= 0) {
        postmaster->pid = 0; /* a standalone server writes a negative number; it is not ours */
        return;
    }
    struct stat directory;
    char number[24];
    snprintf(number, sizeof(number), "%d", (int)postmaster->pid);
    postmaster->alive = kill(postmaster->pid, 0) == 0 || errno == EPERM;
    postmaster->ours =
        postmaster->alive && stat(data_directory, &directory) == 0 && works_in(number, &directory);
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
