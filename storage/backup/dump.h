/* dump.h: a database as pg_dump writes it (its custom format), a piece at a time. */
#ifndef STORAGE_BACKUP_DUMP_H
#define STORAGE_BACKUP_DUMP_H

#include "storage/backup/inventory.h"
#include "storage/backup/program.h"

struct dump {
    struct program program;
    int major; /* pg_dump's version */
};

/* Begins one of the whole database as the inventory's transaction sees it, on a connection of
 * pg_dump's own with conn's parameters. compression: 0 to 9. */
int dump_start(struct dump *dump, PGconn *conn, const struct backup_inventory *inventory,
               int compression, struct error *err);

/* Fills the buffer as far as there is something; *length is less than size at the end only. */
int dump_read(struct dump *dump, char *bytes, size_t size, size_t *length, struct error *err);

/* Waits for pg_dump's end. Errors: its own words. */
int dump_end(struct dump *dump, struct error *err);
void dump_drop(struct dump *dump);

#endif
