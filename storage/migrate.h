/*
 * migrate.h: brings a database to the schema of this version.
 *
 * Migrations are the files storage/migrations/NNNN_name.sql, compiled into the program. Each is
 * applied once, in its number's order, in a transaction of its own, and recorded in
 * tekupdb."Migration" with the SHA-256 of its text. Only one process migrates a database at a time
 * (an advisory lock). A database whose record shows another checksum, or a migration that this
 * program does not know, is refused with an error that names it.
 */
#ifndef STORAGE_MIGRATE_H
#define STORAGE_MIGRATE_H

#include "storage/base/error.h"
#include "storage/pool.h"

struct migration_result {
    int applied;   /* migrations applied by this call */
    int version;   /* the newest applied one */
    bool pgvector; /* embeddings are vector(1536), not real[] */
    bool dblink;   /* vault.match_documents can ask an index */
};

int migrate(struct pool *pool, struct migration_result *result, struct error *err);

/* Converts the embedding column from real[] to vector(1536), and vault.match_documents with it,
 * once the pgvector extension can be had (ERR_NOT_FOUND: it cannot). Whoever reads or writes
 * embeddings waits meanwhile. *converted: whether it was still real[]. */
int migrate_to_pgvector(struct pool *pool, bool *converted, struct error *err);

#endif
