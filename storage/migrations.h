/* migrations.h: the files of storage/migrations as they were compiled in, in their order. */
#ifndef STORAGE_MIGRATIONS_H
#define STORAGE_MIGRATIONS_H

#include <stddef.h>

struct migration {
    int version;      /* 1, 2, 3, ... without a gap */
    const char *name; /* NNNN_name */
    const char *sql;  /* NUL-terminated */
    size_t length;
};

extern const struct migration migrations[];
extern const size_t migration_count;

#endif
