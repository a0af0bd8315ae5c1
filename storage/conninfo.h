/*
 * conninfo.h: reads DATABASE_URL, which people share between tekupdb and Prisma.
 *
 * Prisma's URLs carry parameters that libpq refuses; those are left out. A parameter that neither
 * knows is an error rather than ignored: a mistyped sslmode must not quietly turn TLS off. Nothing
 * of the string is repeated in an error, since any part of it may belong to a password.
 */
#ifndef STORAGE_CONNINFO_H
#define STORAGE_CONNINFO_H

#include "storage/base/error.h"

#include <libpq-fe.h>

/* Released with PQconninfoFree. NULL: ERR_INVALID, field "DATABASE_URL". */
PQconninfoOption *conninfo_parse(const char *conninfo, struct error *err);

#endif
