/*
 * Whoever migrates holds an advisory lock of the session from its first look at the database to its
 * last, so that several daemons which are started at once take turns; a lock cannot be left behind
 * by one that dies. Each migration's transaction takes the same lock again, then reads the record,
 * then applies the next one that is missing.
 */
#include "storage/migrate.h"

#include "storage/base/digest.h"
#include "storage/base/log.h"
#include "storage/door.h"
#include "storage/migrations.h"
#include "storage/roles.h"
#include "storage/sql.h"

#include <string.h>

/* Everything that is created belongs to tekup_admin. The lock's number is "tekupdb" in ASCII. */
#define LOCK "32762643847541858"
static const char begin[] = "BEGIN;"
                            "SET LOCAL statement_timeout TO 0;"
                            "SET LOCAL ROLE tekup_admin;"
                            "SELECT pg_advisory_xact_lock(" LOCK ")";

static int make_record_table(PGconn *conn, struct error *err)
{
    PGresult *result =
        sql_execute(conn, "SELECT to_regclass('tekupdb.\"Migration\"') IS NOT NULL", NULL, err);
    if (result == NULL) return -1;
    const bool there = sql_get_bool(result, 0, 0);
    PQclear(result);
    if (there) return 0;
    return sql_run(conn,
                   "CREATE SCHEMA IF NOT EXISTS tekupdb;"
                   "CREATE TABLE tekupdb.\"Migration\" ("
                   " \"version\" integer PRIMARY KEY,"
                   " \"name\" text NOT NULL,"
                   " \"checksum\" bytea NOT NULL," /* SHA-256 of the file */
                   " \"appliedAt\" timestamp(3) NOT NULL DEFAULT timezone('UTC', now()))",
                   err);
}

/* One row of the record against the migration that the program has in its place. */
static int check_row(const PGresult *record, int row, struct error *err)
{
    const struct migration *migration = &migrations[row];
    const int version = sql_get_int4(record, row, 0);
    const char *name = sql_get_text(record, row, 1);
    uint8_t checksum[SHA256_SIZE];
    if (version != migration->version)
        return error_set(err, ERR_CONFLICT, NULL,
                         "tekupdb.\"Migration\" has no row for the migration %d, but one for %d",
                         migration->version, version);
    digest_sha256(migration->sql, migration->length, checksum);
    if (strcmp(name, migration->name) != 0 || PQgetlength(record, row, 2) != SHA256_SIZE ||
        memcmp(PQgetvalue(record, row, 2), checksum, SHA256_SIZE) != 0)
        return error_set(err, ERR_CONFLICT, NULL,
                         "the migration %s was applied to this database as another text (%s) than "
                         "this tekupdb has: an applied migration must not be edited; undo the edit "
                         "and add a new one instead",
                         migration->name, name);
    return 0;
}

static int check_rows(const PGresult *record, struct error *err)
{
    const int rows = PQntuples(record);
    const int newest = rows > 0 ? sql_get_int4(record, rows - 1, 0) : 0;
    /* A database of a newer version is told as that first, whatever else differs. */
    if (newest > (int)migration_count)
        return error_set(err, ERR_CONFLICT, NULL,
                         "the database has the migration %d (%s), which this tekupdb %s does not "
                         "know: a newer version made it; run that one",
                         newest, sql_get_text(record, rows - 1, 1), TEKUP_VERSION);
    int rc = 0;
    for (int row = 0; rc == 0 && row < rows; row++) rc = check_row(record, row, err);
    return rc;
}

static int check_record(PGconn *conn, int *applied, struct error *err)
{
    PGresult *record = sql_execute(
        conn, "SELECT \"version\", \"name\", \"checksum\" FROM tekupdb.\"Migration\" ORDER BY 1",
        NULL, err);
    if (record == NULL) return -1;
    const int rc = check_rows(record, err);
    *applied = PQntuples(record);
    PQclear(record);
    return rc;
}

static int apply(PGconn *conn, const struct migration *migration, struct error *err)
{
    if (sql_run(conn, migration->sql, err) != 0)
        return error_prefix(err, "migration %s", migration->name);
    uint8_t checksum[SHA256_SIZE];
    digest_sha256(migration->sql, migration->length, checksum);
    struct sql sql = {0};
    sql_int4(&sql, migration->version);
    sql_text(&sql, migration->name);
    sql_bytes(&sql, SQL_BYTEA, checksum, sizeof(checksum));
    PGresult *result =
        sql_execute(conn,
                    "INSERT INTO tekupdb.\"Migration\" (\"version\", \"name\", \"checksum\")"
                    " VALUES ($1, $2, $3)",
                    &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

/* Applies the next missing migration. *version is the newest applied one; *done says that there is
 * nothing left to do. */
static int apply_next(PGconn *conn, int *version, bool *done, struct error *err)
{
    if (sql_run(conn, begin, err) != 0) return -1;
    if (make_record_table(conn, err) != 0) return -1;
    if (check_record(conn, version, err) != 0) return -1;
    *done = *version == (int)migration_count;
    if (!*done) {
        const struct migration *migration = &migrations[*version];
        if (apply(conn, migration, err) != 0) return -1;
        *version = migration->version;
    }
    return sql_commit(conn, err);
}

/* ---- pgvector ---- */

/* Whether vault."VaultEmbedding" is there (0 or 1, -1 on failure), and whether with vectors. */
static int embedding_column(PGconn *conn, bool *vector, struct error *err)
{
    PGresult *result = sql_execute(conn,
                                   "SELECT t.typname = 'vector' FROM pg_attribute a"
                                   " JOIN pg_type t ON t.oid = a.atttypid"
                                   " WHERE a.attrelid = to_regclass('vault.\"VaultEmbedding\"')"
                                   " AND a.attname = 'embedding' AND NOT a.attisdropped",
                                   NULL, err);
    if (result == NULL) return -1;
    const int there = PQntuples(result);
    *vector = there > 0 && sql_get_bool(result, 0, 0);
    PQclear(result);
    return there;
}

/* Installs the extension where the server has its files and the current role may. */
static int make_extension(PGconn *conn, bool *available, struct error *err)
{
    PGresult *result =
        sql_execute(conn,
                    "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector'),"
                    " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')",
                    NULL, err);
    if (result == NULL) return -1;
    const bool installed = sql_get_bool(result, 0, 0);
    *available = installed || sql_get_bool(result, 0, 1);
    PQclear(result);
    if (installed || !*available) return 0;
    return sql_run(conn, "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public", err);
}

/* A vault that is made now is made with vectors where that can be had. That it cannot is no
 * error, since real[] does as well. */
static int prepare_extension(PGconn *conn, struct error *err)
{
    bool vector, available = false;
    const int there = embedding_column(conn, &vector, err);
    if (there != 0) return there < 0 ? -1 : 0;
    struct error why = {0};
    if (make_extension(conn, &available, &why) != 0) {
        if (PQstatus(conn) != CONNECTION_OK) {
            if (err != NULL) *err = why;
            return -1;
        }
        log_warn("migrate.no_pgvector", "reason=%s hint=%s", log_quote(why.message),
                 log_quote("let an administrator run CREATE EXTENSION vector in this database"));
    }
    return 0;
}

static int check_database(PGconn *conn, struct error *err)
{
    PGresult *result = sql_execute(conn,
                                   "SELECT pg_encoding_to_char(encoding)::text FROM pg_database"
                                   " WHERE datname = current_database()",
                                   NULL, err);
    if (result == NULL) return -1;
    const char *encoding = PQntuples(result) == 1 ? sql_get_text(result, 0, 0) : "";
    const int rc = strcmp(encoding, "UTF8") == 0
                       ? 0
                       : error_set(err, ERR_INVALID, "DATABASE_URL",
                                   "the database %s has the encoding %s; tekupdb needs UTF8 "
                                   "(CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0)",
                                   PQdb(conn), encoding);
    PQclear(result);
    return rc;
}

static int migrate_locked(PGconn *conn, struct migration_result *result, struct error *err)
{
    bool done = false;
    int rc = check_database(conn, err);
    if (rc == 0) rc = roles_ensure(conn, err);
    if (rc == 0) rc = prepare_extension(conn, err);
    while (rc == 0 && !done) {
        rc = apply_next(conn, &result->version, &done, err);
        if (rc == 0 && !done) {
            result->applied++;
            log_info("migrate.applied", "migration=%s", migrations[result->version - 1].name);
        }
    }
    if (rc == 0) rc = door_prepare(conn, &result->dblink, err);
    if (rc == 0 && embedding_column(conn, &result->pgvector, err) < 0) rc = -1;
    return rc;
}

/* A wait for longer than a statement may take is begun again by whoever called. */
int migrate(struct pool *pool, struct migration_result *result, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    *result = (struct migration_result){0};
    int rc = sql_run(conn, "SELECT pg_advisory_lock(" LOCK ")", err);
    if (rc == 0) {
        rc = migrate_locked(conn, result, err);
        /* A failure may have left a transaction open, in which nothing else is heard. */
        if (PQtransactionStatus(conn) != PQTRANS_IDLE) sql_run(conn, "ROLLBACK", NULL);
        sql_run(conn, "SELECT pg_advisory_unlock(" LOCK ")", NULL);
    }
    pool_release(pool, conn);
    return rc;
}

static int convert(PGconn *conn, bool *converted, struct error *err)
{
    bool vector = false;
    if (sql_run(conn, begin, err) != 0) return -1;
    const int there = embedding_column(conn, &vector, err);
    if (there < 0) return -1;
    if (there == 0)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "this database has no vault yet; migrate it first");
    if (!vector) {
        static const char statement[] =
            "DO $$ DECLARE extension_schema name; BEGIN"
            " SELECT n.nspname INTO STRICT extension_schema FROM pg_extension e"
            " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';"
            " ALTER TABLE vault.\"VaultEmbedding\""
            " DROP CONSTRAINT IF EXISTS \"VaultEmbedding_embedding_check\";"
            " EXECUTE format('ALTER TABLE vault.\"VaultEmbedding\" ALTER COLUMN \"embedding\""
            " TYPE %I.vector(1536)', extension_schema); END $$";
        if (sql_run(conn, statement, err) != 0 || door_define(conn, NULL, err) != 0) return -1;
    }
    if (sql_commit(conn, err) != 0) return -1;
    *converted = !vector;
    if (!vector) log_info("migrate.to_pgvector", "table=%s", "vault.VaultEmbedding");
    return 0;
}

int migrate_to_pgvector(struct pool *pool, bool *converted, struct error *err)
{
    *converted = false;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    bool vector = false, available = false;
    int rc = embedding_column(conn, &vector, err) < 0 ? -1 : 0;
    if (rc == 0 && !vector) {
        rc = make_extension(conn, &available, err);
        if (rc != 0)
            error_prefix(err, "the extension pgvector could not be installed in this database");
        else if (!available)
            rc = error_set(err, ERR_NOT_FOUND, NULL,
                           "the database server has no pgvector; install it there "
                           "(postgresql-%d-pgvector on Debian)",
                           PQserverVersion(conn) / 10000);
        if (rc == 0) rc = convert(conn, converted, err);
    }
    if (PQtransactionStatus(conn) != PQTRANS_IDLE) sql_run(conn, "ROLLBACK", NULL);
    pool_release(pool, conn);
    return rc;
}
