/*
 * backup_file.h: the file of a backup: a tar archive that people can unpack without tekup.
 *
 *     tekupdb-backup.json       what it is and what is in it (backup_manifest.h)
 *     roles.sql                 the roles, and their rights on the database
 *     config/tekupd.conf        the configuration file
 *     secrets/NAME              with --secrets
 *     database.dump.00000000    a dump of pg_dump in its custom format, in parts that follow each
 *     database.dump.00000001    other
 *     ...
 *     SHA256SUMS                of everything before it, as sha256sum -c reads it
 *
 * What ends before SHA256SUMS is not complete. Nothing of it is held in memory but a part.
 */
#ifndef TEKUP_BACKUP_FILE_H
#define TEKUP_BACKUP_FILE_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "tools/tekup/backup_input.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define BACKUP_MANIFEST "tekupdb-backup.json"
#define BACKUP_ROLES "roles.sql"
#define BACKUP_DUMP "database.dump."
#define BACKUP_SUMS "SHA256SUMS"

enum { BACKUP_PART = 4 * 1024 * 1024, BACKUP_ENTRY_MOST = 64 * 1024 * 1024 };

/* ---- Writing ---- */

struct backup_writer;

/* path "-" is stdout. The file is not seen under its name, and none that is there is touched,
 * before backup_writer_finish. Errors: ERR_INVALID, ERR_IO. */
struct backup_writer *backup_writer_create(const char *path, struct error *err);

/* Errors: ERR_IO, which says so where the disk is full. */
int backup_writer_add(struct backup_writer *writer, const char *name, const void *bytes,
                      size_t length, struct error *err);

/* Writes the sums, sees to it that everything is on the disk and gives it its name. */
int backup_writer_finish(struct backup_writer *writer, struct error *err);

unsigned long long backup_writer_bytes(const struct backup_writer *writer);

/* What was not finished is gone. NULL is allowed. */
void backup_writer_free(struct backup_writer *writer);

/* ---- Reading ---- */

/* Called with each entry's name and content; a nonzero return ends the reading. */
typedef int (*backup_entry_fn)(void *arg, const char *name, const char *bytes, size_t length,
                               struct error *err);

/* Reads the whole backup and compares it with its sums. tick(arg, bytes) (may be NULL) is called
 * after each entry. entry (may be NULL) is called with those that are no part of the dump, before
 * they are known to be right. Errors: ERR_INVALID where it is no backup, not complete or damaged;
 * ERR_IO. */
int backup_check(const struct backup_input *input, backup_entry_fn entry,
                 void (*tick)(void *arg, size_t bytes), void *arg, struct error *err);

/* Writes the dump to the descriptor, from its beginning; that nobody reads it any more ends it
 * without an error. */
int backup_feed(const struct backup_input *input, int fd, atomic_ullong *fed, struct error *err);

#endif
