/* server_binaries.h: finds the programs of an installed PostgreSQL server. */
#ifndef STORAGE_SERVER_BINARIES_H
#define STORAGE_SERVER_BINARIES_H

#include "storage/base/error.h"

#include <limits.h>

struct server_binaries {
    char directory[PATH_MAX]; /* with initdb, pg_ctl and postgres */
    int major;                /* 15 */
};

/* Where distributions put them (patterns of glob), NULL-terminated. The directory that pg_config
 * names is looked at too. */
extern const char *const server_binaries_places[];

/* The newest server in one of the places, or the one of the given major version where that is not
 * 0. Errors: ERR_NOT_FOUND where there is none at all; ERR_CONFLICT where there is none of that
 * version, which names the ones that there are. */
int server_binaries_find(const char *const *places, int major, struct server_binaries *binaries,
                         struct error *err);

/* The same for other programs of the package (names, NULL-terminated), of that version or else of
 * the newest later one. Returns -1 where there are none. */
int server_programs_find(const char *const *places, const char *const *names, int major,
                         struct server_binaries *binaries);

#endif
