#include "storage/backup/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int dump_start(struct dump *dump, PGconn *conn, const struct backup_inventory *inventory,
               int compression, struct error *err)
{
    enum { MOST = 24 };
    char directory[PATH_MAX], path[PATH_MAX + 16], level[16], snapshot[128];
    char passing[8][64];
    const char *argv[MOST];
    int count = 0;
    struct buffer conninfo = {0};
    *dump = (struct dump){.program = {.in = -1, .out = -1, .said = -1}};
    if (program_directory(inventory->server_version / 10000, directory, &dump->major, err) != 0 ||
        backup_conninfo(conn, &conninfo, err) != 0) {
        buffer_free(&conninfo);
        return -1;
    }
    snprintf(path, sizeof(path), "%s/pg_dump", directory);
    snprintf(level, sizeof(level), "%d", compression);
    snprintf(snapshot, sizeof(snapshot), "--snapshot=%s", inventory->snapshot);
    argv[count++] = path;
    argv[count++] = "--format=custom";
    argv[count++] = "--compress";
    argv[count++] = level;
    argv[count++] = "--no-password";
    argv[count++] = "--no-publications";
    argv[count++] = "--no-subscriptions";
    argv[count++] = snapshot;
    for (size_t i = 0; backup_passing_tables[i] != NULL && i < sizeof(passing) / sizeof(*passing);
         i++) {
        snprintf(passing[i], sizeof(passing[i]), "--exclude-table-data=%s",
                 backup_passing_tables[i]);
        argv[count++] = passing[i];
    }
    argv[count++] = "--dbname";
    argv[count++] = conninfo.data;
    argv[count] = NULL;
    const int rc = program_start(&dump->program, argv, PQpass(conn), false, -1, err);
    buffer_free(&conninfo);
    return rc;
}

int dump_read(struct dump *dump, char *bytes, size_t size, size_t *length, struct error *err)
{
    *length = 0;
    while (*length < size) {
        const ssize_t got = read(dump->program.out, bytes + *length, size - *length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return error_set(err, ERR_IO, NULL, "cannot read from pg_dump: %s", strerror(errno));
        if (got == 0) break;
        *length += (size_t)got;
    }
    return 0;
}

int dump_end(struct dump *dump, struct error *err)
{
    return program_end(&dump->program, err);
}

void dump_drop(struct dump *dump)
{
    program_drop(&dump->program);
}
