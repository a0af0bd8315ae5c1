/*
 * backup_place.h: which database tekup backup and tekup restore are about, and what the daemon says
 * of itself.
 */
#ifndef TEKUP_BACKUP_PLACE_H
#define TEKUP_BACKUP_PLACE_H

#include "storage/base/error.h"
#include "storage/base/paths.h"

#include <jansson.h>
#include <libpq-fe.h>

struct backup_place {
    PGconn *conn;
    json_t *status; /* GET /v1/status; NULL where no daemon answers */
};

/* Connects. url_env is the name of a variable with a connection string, or NULL: then it is the
 * database of the daemon that RUN belongs to, by its private cluster's socket as the superuser, or
 * by its PostgreSQL socket as tekup_admin; the kernel tells either who asks, and they let in root
 * and the daemon's user. Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_UNAVAILABLE. */
int backup_place_open(const char *url_env, struct backup_place *place, struct error *err);
void backup_place_close(struct backup_place *place);

/* What the daemon says by now; NULL where it does not answer. The caller's. */
json_t *backup_place_ask(void);

#endif
