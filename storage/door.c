#include "storage/door.h"

#include "storage/base/digest.h"
#include "storage/base/log.h"
#include "storage/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const char as_admin[] = "BEGIN;"
                               "SET LOCAL statement_timeout TO 0;"
                               "SET LOCAL ROLE tekup_admin";

/* ---- The function ---- */

int door_define(PGconn *conn, bool *dblink, struct error *err)
{
    PGresult *result = sql_execute(conn, "SELECT tekupdb.define_match_documents()", NULL, err);
    if (result == NULL) return -1;
    if (dblink != NULL) *dblink = sql_get_bool(result, 0, 0);
    PQclear(result);
    return 0;
}

/* 1 where dblink is installed, 0 where it could be, -1 where the server has no such files, -2 on
 * failure. */
static int look_for_dblink(PGconn *conn, struct error *err)
{
    PGresult *result =
        sql_execute(conn,
                    "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'dblink'),"
                    " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'dblink')",
                    NULL, err);
    if (result == NULL) return -2;
    const int there = sql_get_bool(result, 0, 0) ? 1 : sql_get_bool(result, 0, 1) ? 0 : -1;
    PQclear(result);
    return there;
}

/* Whoever may call dblink's functions may connect this server to others; PostgreSQL lets everybody.
 * tekup_admin, whom vault.match_documents runs as, is asked for a password all the same. */
static const char make_dblink[] =
    "DO $$ DECLARE one regprocedure; BEGIN"
    " CREATE SCHEMA IF NOT EXISTS tekupdb AUTHORIZATION tekup_admin;"
    " CREATE EXTENSION dblink SCHEMA tekupdb;"
    " FOR one IN SELECT d.objid::regprocedure FROM pg_depend d"
    "  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'dblink'"
    "  WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass"
    "  AND d.deptype = 'e' LOOP"
    "  EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);"
    "  IF one::text NOT LIKE '%dblink\\_connect\\_u%' THEN"
    "   EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tekup_admin', one);"
    "  END IF;"
    " END LOOP; END $$";

int door_make_dblink(PGconn *conn, struct error *why, struct error *err)
{
    const int there = look_for_dblink(conn, err);
    if (there == -2) return -1;
    if (there == 1) return 0;
    if (there == -1) {
        error_set(why, ERR_NOT_FOUND, NULL, "the server has no dblink (postgresql-contrib)");
        return 0;
    }
    if (sql_run(conn, make_dblink, why) == 0 || PQstatus(conn) == CONNECTION_OK) return 0;
    if (err != NULL) *err = *why;
    return -1;
}

static int prepare_dblink(PGconn *conn, struct error *err)
{
    struct error why = {0};
    if (door_make_dblink(conn, &why, err) != 0) return -1;
    if (why.code == ERR_NONE) return 0;
    log_warn("match.no_dblink", "reason=%s effect=%s hint=%s", log_quote(why.message),
             log_quote("vault.match_documents compares with every embedding instead of asking the "
                       "index"),
             log_quote("let an administrator run CREATE EXTENSION dblink SCHEMA tekupdb, and "
                       "restart tekupd"));
    return 0;
}

/* A setting of the role's, so that it is there however a client comes; one that somebody has made
 * is left alone. */
static const char set_search_path[] =
    "DO $$ DECLARE vector name; BEGIN"
    " IF EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole"
    "  JOIN pg_database d ON d.datname = current_database() AND s.setdatabase IN (0, d.oid),"
    "  unnest(s.setconfig) AS c (setting)"
    "  WHERE r.rolname = 'tekup_vault' AND starts_with(c.setting, 'search_path=')) THEN RETURN;"
    " END IF;"
    " SELECT n.nspname INTO vector FROM pg_extension e JOIN pg_namespace n ON n.oid = "
    "e.extnamespace"
    "  WHERE e.extname = 'vector' AND n.nspname NOT IN ('public', 'pg_catalog');"
    " EXECUTE format('ALTER ROLE tekup_vault IN DATABASE %I SET search_path TO vault, public',"
    "                current_database()) || coalesce(', ' || quote_ident(vector), '');"
    " END $$";

static int prepare_search_path(PGconn *conn, struct error *err)
{
    struct error why = {0};
    if (sql_run(conn, set_search_path, &why) == 0) return 0;
    if (PQstatus(conn) != CONNECTION_OK) {
        if (err != NULL) *err = why;
        return -1;
    }
    log_warn("match.no_search_path", "reason=%s effect=%s hint=%s", log_quote(why.message),
             log_quote("tekup_vault has to write vault.match_documents, not match_documents"),
             log_quote("let an administrator run ALTER ROLE tekup_vault IN DATABASE ... SET "
                       "search_path TO vault, public"));
    return 0;
}

int door_prepare(PGconn *conn, bool *dblink, struct error *err)
{
    if (prepare_dblink(conn, err) != 0 || prepare_search_path(conn, err) != 0) return -1;
    if (sql_run(conn, as_admin, err) != 0 || door_define(conn, dblink, err) != 0) return -1;
    return sql_commit(conn, err);
}

/* ---- The daemons ---- */

int door_make_secret(char secret[DOOR_SECRET_SIZE], struct error *err)
{
    uint8_t bytes[(DOOR_SECRET_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_set(err, ERR_IO, NULL, "no random numbers: %s", strerror(errno));
    digest_hex(bytes, sizeof(bytes), secret);
    return 0;
}

static int write_row(PGconn *conn, const struct door *door, struct error *err)
{
    static const char upsert[] =
        "INSERT INTO tekupdb.\"Door\" AS d (\"host\", \"run\", \"secret\", \"identity\", \"model\","
        " \"answers\") VALUES ($1, $2, $3, tekupdb.feed_identity(), $4, $5 <> 0)"
        " ON CONFLICT (\"host\", \"run\") DO UPDATE SET \"secret\" = EXCLUDED.\"secret\","
        " \"identity\" = EXCLUDED.\"identity\", \"model\" = EXCLUDED.\"model\","
        " \"answers\" = EXCLUDED.\"answers\", \"writtenAt\" = EXCLUDED.\"writtenAt\"";
    char host[256] = "";
    struct sql sql = {0};
    gethostname(host, sizeof(host) - 1);
    sql_text(&sql, host);
    sql_text(&sql, door->run);
    sql_text(&sql, door->secret);
    sql_text(&sql, door->model);
    sql_int4(&sql, door->answers);
    PGresult *result = sql_execute(conn, upsert, &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

static int remove_old(PGconn *conn, struct error *err)
{
    struct sql sql = {0};
    sql_int4(&sql, DOOR_LIFE_S);
    PGresult *result = sql_execute(conn,
                                   "DELETE FROM tekupdb.\"Door\""
                                   " WHERE \"writtenAt\" < now() - $1 * interval '1 second'",
                                   &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

int door_open(struct pool *pool, const struct door *door, struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    int rc = write_row(conn, door, err);
    if (rc == 0) rc = remove_old(conn, err);
    pool_release(pool, conn);
    return rc;
}

int door_identify(struct pool *pool, char identity[FEED_IDENTITY_SIZE], struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = feed_identify(conn, identity, err);
    pool_release(pool, conn);
    return rc;
}

int door_close(struct pool *pool, const char *run, struct error *err)
{
    char host[256] = "";
    struct sql sql = {0};
    PGconn *conn = pool_lease(pool, 1000, err);
    if (conn == NULL) return -1;
    gethostname(host, sizeof(host) - 1);
    sql_text(&sql, host);
    sql_text(&sql, run);
    PGresult *result = sql_execute(
        conn, "DELETE FROM tekupdb.\"Door\" WHERE \"host\" = $1 AND \"run\" = $2", &sql, err);
    PQclear(result);
    pool_release(pool, conn);
    return result != NULL ? 0 : -1;
}
