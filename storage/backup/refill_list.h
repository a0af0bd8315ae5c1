/*
 * refill_list.h: which entries of a dump are restored: the table of contents as pg_restore --list
 * prints it, without what stays as it is in the database.
 */
#ifndef STORAGE_BACKUP_REFILL_LIST_H
#define STORAGE_BACKUP_REFILL_LIST_H

#include "storage/base/buffer.h"

#include <stddef.h>

/* Appends to kept the lines of contents that are to be restored. Left out are extensions and their
 * comments; the schemas that are kept (NULL-terminated); and the rights on functions and schemas
 * that the dump does not make itself, which are those of extensions and of public. */
void refill_list_keep(const char *contents, const char *const *schemas, struct buffer *kept);

/* Appends the names of the extensions in it, each followed by '\n'. */
void refill_list_extensions(const char *contents, struct buffer *names);

#endif
