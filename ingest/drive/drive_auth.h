/*
 * drive_auth.h: access tokens for Google's API, made when they are needed from a service account's
 * key or a person's refresh token, and kept until shortly before they expire.
 *
 * May be used from any thread: while one asks for a token the others wait for it.
 */
#ifndef INGEST_DRIVE_AUTH_H
#define INGEST_DRIVE_AUTH_H

#include "ingest/drive/drive_config.h"
#include "ingest/source_kind.h"

struct drive_auth;

/* Reads the secrets; asks nobody yet. config and context outlive it. NULL with err set: ERR_INVALID
 * with the field, ERR_IO. */
struct drive_auth *drive_auth_open(const struct drive_config *config,
                                   const struct source_context *context, struct error *err);
void drive_auth_close(struct drive_auth *auth);

/* *value: of the header Authorization, which the caller gives to secret_forget. rejected: one that
 * the API has refused, which is not given again; or NULL. Errors: ERR_UNAVAILABLE with what is
 * wrong with the credentials in words, ERR_CANCELLED. */
int drive_auth_get(struct drive_auth *auth, const char *rejected, char **value, struct error *err);

/* The service account's address; NULL for a person. */
const char *drive_auth_email(const struct drive_auth *auth);

#endif
