/*
 * backup_files.h: the files that belong to a daemon beside its database: its configuration, and
 * those with secrets that the configuration and the sources name.
 */
#ifndef TEKUP_BACKUP_FILES_H
#define TEKUP_BACKUP_FILES_H

#include "storage/base/error.h"
#include "tools/tekup/backup_file.h"

#include <jansson.h>

enum { BACKUP_FILES_MOST = 64, BACKUP_FILE_SIZE_MOST = 1024 * 1024 };

struct backup_extra {
    char *name; /* in the backup: config/tekupd.conf, secrets/1-drive-key.json */
    char *path; /* where it is */
    char *why;  /* it is not saved; NULL where it is */
    struct buffer content;
};

/* Starts as {0}. */
struct backup_files {
    struct backup_extra extras[BACKUP_FILES_MOST];
    size_t count;
};

void backup_files_free(struct backup_files *files);

/* Reads the configuration file and those with secrets. config is its path, or NULL:
 * DATA/tekupd.conf or else the system's, if there is one. sources is a JSON array of the settings
 * of the sources. Secrets are read with secrets only; without, and where a file cannot be read, it
 * is listed with the reason. Errors: ERR_INTERNAL (memory). */
int backup_files_read(struct backup_files *files, const char *config, const char *sources,
                      bool secrets, struct error *err);

/* For the manifest: [{"name", "path", "saved", "why"}]. */
json_t *backup_files_list(const struct backup_files *files);

/* Adds those that were read to the backup. */
int backup_files_add(const struct backup_files *files, struct backup_writer *writer,
                     struct error *err);

#endif
