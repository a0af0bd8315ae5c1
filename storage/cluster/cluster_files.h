/*
 * cluster_files.h: the directories and configuration files of the private cluster.
 *
 * This process may be root and the directories belong to a user who is not, so nothing here follows
 * a link that user might have put there: files are made new beside the old ones and renamed.
 */
#ifndef STORAGE_CLUSTER_FILES_H
#define STORAGE_CLUSTER_FILES_H

#include "storage/base/error.h"
#include "storage/cluster/process.h"

/* Makes the directory and its parents where they are missing, so that others may pass through but
 * not look (root) or for this user alone. */
int directory_make(const char *path, const struct system_user *user, struct error *err);

/* Makes the directory, or takes the one that is there, gives it to the user with mode 0700. */
int directory_own(const char *path, const struct system_user *user, struct error *err);

/* Removes it with all that is in it, as the user that it belongs to. */
int directory_remove(const char *path, const struct system_user *user, struct error *err);

/* Puts a file with this content and mode 0600 in the place of directory/name. */
int file_replace(const char *directory, const char *name, const char *content,
                 const struct system_user *user, struct error *err);

/* Writes what makes the server ours: tekupdb.conf with the settings, pg_hba.conf and pg_ident.conf
 * with who may connect. */
int cluster_files_write(const char *directory, const char *socket_directory,
                        const struct system_user *user, struct error *err);

/* Makes postgresql.conf include tekupdb.conf. Called once, after initdb. */
int cluster_files_include(const char *directory, const struct system_user *user, struct error *err);

#endif
