/* What the private cluster's superuser does once: the database, its owner and the extensions. */
#include "storage/base/log.h"
#include "storage/cluster/cluster_internal.h"
#include "storage/door.h"
#include "storage/pool.h"
#include "storage/sql.h"

#include <libpq-fe.h>

static PGconn *connect_as_superuser(const struct cluster *cluster, const char *database,
                                    struct error *err)
{
    const char *const keywords[] = {
        "host",       "hostaddr",        "port", "user", "dbname", "sslmode", "options",
        "gssencmode", "client_encoding", NULL};
    const char *const values[] = {cluster->socket_directory,
                                  "",
                                  "5432",
                                  "postgres",
                                  database,
                                  "disable",
                                  "",
                                  "disable",
                                  "UTF8",
                                  NULL};
    PGconn *conn = PQconnectdbParams(keywords, values, 0);
    if (PQstatus(conn) == CONNECTION_OK) return conn;
    pool_error(conn, NULL, err);
    PQfinish(conn);
    return NULL;
}

/* Runs the statement where the question's answer is false. */
static int unless(PGconn *conn, const char *question, const char *statement, struct error *err)
{
    PGresult *result = sql_execute(conn, question, NULL, err);
    if (result == NULL) return -1;
    const bool done = PQntuples(result) == 1 && sql_get_bool(result, 0, 0);
    PQclear(result);
    return done ? 0 : sql_run(conn, statement, err);
}

static int make_database(const struct cluster *cluster, struct error *err)
{
    PGconn *conn = connect_as_superuser(cluster, "postgres", err);
    if (conn == NULL) return -1;
    int rc = unless(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tekup_admin')",
                    "CREATE ROLE tekup_admin LOGIN CREATEROLE", err);
    if (rc == 0)
        rc = unless(conn, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'tekup_db')",
                    "CREATE DATABASE tekup_db OWNER tekup_admin TEMPLATE template0 ENCODING 'UTF8'",
                    err);
    PQfinish(conn);
    return rc;
}

/* What only a superuser may do inside the database. That an extension cannot be had is no error;
 * the migrations say what is missing for want of dblink. */
static int furnish_database(const struct cluster *cluster, struct error *err)
{
    struct error why = {0};
    PGconn *conn = connect_as_superuser(cluster, "tekup_db", err);
    if (conn == NULL) return -1;
    int rc = sql_run(conn,
                     "REVOKE ALL ON DATABASE tekup_db FROM PUBLIC;"
                     "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                     err);
    if (rc == 0 &&
        unless(conn,
               "SELECT NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
               " OR EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')",
               "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public", &why) != 0) {
        if (PQstatus(conn) == CONNECTION_OK)
            log_warn("cluster.no_pgvector", "reason=%s", log_quote(why.message));
        else
            rc = error_set(err, why.code, NULL, "%s", why.message);
    }
    if (rc == 0) rc = door_make_dblink(conn, &why, err);
    PQfinish(conn);
    return rc;
}

/* A backup that is being restored ends every session when it is done. */
int cluster_furnish(const struct cluster *cluster, struct error *err)
{
    enum { TRIES = 3 };
    struct error why = {0};
    for (int i = 0; i < TRIES; i++) {
        why = (struct error){0};
        if (make_database(cluster, &why) == 0 && furnish_database(cluster, &why) == 0) return 0;
        if (why.code != ERR_UNAVAILABLE) break;
        log_warn("cluster.furnish", "error=%s", log_quote(why.message));
    }
    if (err != NULL) *err = why;
    return -1;
}
