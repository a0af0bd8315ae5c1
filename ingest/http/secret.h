/*
 * secret.h: tokens and keys. They come from the environment or from a file, never from the
 * configuration of a source or from the database.
 */
#ifndef INGEST_SECRET_H
#define INGEST_SECRET_H

#include "storage/base/error.h"

#include <stdbool.h>

/* Whether `name` may name an environment variable: letters, digits and '_', no digit first. */
bool secret_env_name_is_valid(const char *name);

/* Reads the environment variable `env`, or where that is NULL the file, without the white space at
 * its end. *secret is NULL where both are NULL. Errors, with `field`: ERR_INVALID (not set, empty,
 * several lines, no absolute path, a file that others than its owner and group can read), ERR_IO.
 * The caller calls secret_forget. */
int secret_read(const char *env, const char *file, const char *field, char **secret,
                struct error *err);

/* Overwrites and frees it. NULL is allowed. */
void secret_forget(char *secret);

#endif
