/* scratch.h: directories for tests, and how they are cleared away. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SCRATCH_UNUSED __attribute__((unused))

/* A new directory with a short path, since sockets go below it, that the cluster's user can pass;
 * in memory where there is enough of it, since PostgreSQL waits for the disk. */
SCRATCH_UNUSED static void scratch_directory(char out[32])
{
    struct statvfs memory;
    const bool roomy = statvfs("/dev/shm", &memory) == 0 && memory.f_bavail > 0 &&
                       (unsigned long long)memory.f_bavail * memory.f_frsize > 2ULL << 30;
    snprintf(out, 32, "%s/tk-XXXXXX", roomy ? "/dev/shm" : "/tmp");
    if (mkdtemp(out) == NULL || chmod(out, 0711) != 0) {
        perror("mkdtemp");
        abort();
    }
}

SCRATCH_UNUSED static void scratch_remove(const char *directory)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    if (system(command) != 0) fprintf(stderr, "could not remove %s\n", directory);
}

/* Stops what a test left running in the directory's data directory, whatever became of the test. */
SCRATCH_UNUSED static void scratch_stop_server(const char *data)
{
    char path[128], line[32] = "";
    snprintf(path, sizeof(path), "%s/postgres/postmaster.pid", data);
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    if (fgets(line, sizeof(line), file) != NULL && strtol(line, NULL, 10) > 1) {
        char command[192];
        const long pid = strtol(line, NULL, 10);
        /* Until it is gone, or waits for its parent to ask for its exit status. */
        snprintf(command, sizeof(command),
                 "kill -QUIT %ld && for i in $(seq 1200); do"
                 " grep -qs '^State:.[^Z]' /proc/%ld/status || break; sleep 0.05; done",
                 pid, pid);
        if (system(command) != 0) fprintf(stderr, "no server to stop in %s\n", data);
    }
    fclose(file);
}

#endif
