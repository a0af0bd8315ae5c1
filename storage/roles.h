/*
 * roles.h: the roles of the database, which belong to the whole server and so stand outside the
 * migrations: tekup_admin, who owns the schema, and one for each service.
 */
#ifndef STORAGE_ROLES_H
#define STORAGE_ROLES_H

#include "storage/base/error.h"

#include <libpq-fe.h>
#include <stddef.h>

extern const char *const role_names[]; /* tekup_admin first */
extern const size_t role_count;

/* Makes the roles that are missing, sees to it that the current role can act as tekup_admin, that
 * tekup_admin may create schemas in this database and that the services may connect to it. May run
 * in several processes at once. Errors: ERR_INVALID (field "DATABASE_URL") that names the
 * statements an administrator has to run where the current role may not. */
int roles_ensure(PGconn *conn, struct error *err);

#endif
