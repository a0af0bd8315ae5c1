/*
 * drive_key.h: a service account's key, and what it signs: a JSON Web Token (RFC 7519) with RS256
 * (RFC 7518), which Google's token endpoint takes for an access token (RFC 7523).
 */
#ifndef INGEST_DRIVE_KEY_H
#define INGEST_DRIVE_KEY_H

#include "storage/base/error.h"

#include <stddef.h>
#include <time.h>

struct drive_key {
    char *email, *key_id; /* key_id may be NULL */
    char *token_url;      /* "token_uri"; may be NULL */
    void *private_key;    /* EVP_PKEY */
};

/* text is the JSON file that Google gives for the account. `field` is named in errors: ERR_INVALID.
 * No error repeats anything of it. The caller calls drive_key_free, also after an error. */
int drive_key_read(const char *text, const char *field, struct drive_key *key, struct error *err);
void drive_key_free(struct drive_key *key);

/* A token that is good from a minute before `now`, since clocks differ, to nearly an hour later.
 * subject: the person that the account acts for, or NULL. The caller frees it. NULL with err set:
 * ERR_INTERNAL. A key may be used by several threads. */
char *drive_key_sign(const struct drive_key *key, const char *scope, const char *audience,
                     const char *subject, time_t now, struct error *err);

#endif
