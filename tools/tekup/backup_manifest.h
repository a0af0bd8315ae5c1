/*
 * backup_manifest.h: what a backup says of itself, as JSON: its form and versions, when it was
 * made, and how many rows of which tables are in it.
 */
#ifndef TEKUP_BACKUP_MANIFEST_H
#define TEKUP_BACKUP_MANIFEST_H

#include "storage/backup/inventory.h"

#include <jansson.h>

enum { BACKUP_FORMAT = 1 };

/* files: the other files in it, a JSON array of {"name", "path"}; taken over. major: pg_dump's
 * version. NULL when memory ran out. */
json_t *backup_manifest_make(const struct backup_inventory *inventory, int major, json_t *files);

/* The inventory that a manifest tells of, without its roles, which are a file of their own. Errors:
 * ERR_INVALID where it is none, or of a version of tekupdb that is newer than this. */
int backup_manifest_read(const json_t *manifest, struct backup_inventory *inventory, int *major,
                         struct error *err);

/* Rows of one table; -1 where there is no such table. */
long long backup_manifest_rows(const json_t *manifest, const char *schema, const char *name);

#endif
