#include "storage/roles.h"

#include "storage/sql.h"

#include <stdbool.h>
#include <string.h>

const char *const role_names[] = {"tekup_admin", "tekup_vault", "tekup_billy",
                                  "tekup_renos", "tekup_crm",   "tekup_flow"};
const size_t role_count = sizeof(role_names) / sizeof(*role_names);

/* One boolean of the catalogue. Returns 0 or 1, or -1 on failure. */
static int ask(PGconn *conn, const char *question, const char *role, struct error *err)
{
    struct sql sql = {0};
    if (role != NULL) sql_text(&sql, role);
    PGresult *result = sql_execute(conn, question, &sql, err);
    if (result == NULL) return -1;
    const int answer = PQntuples(result) == 1 && sql_get_bool(result, 0, 0);
    PQclear(result);
    return answer;
}

/* Runs before, the quoted name and after as one statement: a name cannot be a parameter. */
static int run_named(PGconn *conn, const char *before, const char *name, const char *after,
                     struct error *err)
{
    struct buffer statement = {0};
    char *quoted = PQescapeIdentifier(conn, name, strlen(name));
    int rc = -1;
    if (quoted != NULL) buffer_format(&statement, "%s %s %s", before, quoted, after);
    if (quoted == NULL || statement.failed)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else
        rc = sql_run(conn, statement.data, err);
    PQfreemem(quoted);
    buffer_free(&statement);
    return rc;
}

/* Roles are the server's, not the database's: a migration of another database may make the same one
 * at the same moment, and then it is there, which is all that is wanted. */
static int create_role(PGconn *conn, const char *name, struct error *err)
{
    return run_named(conn, "DO $$ BEGIN CREATE ROLE", name,
                     "LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
                     err);
}

static int refuse(PGconn *conn, const struct buffer *missing, struct error *err)
{
    return error_set(err, ERR_INVALID, "DATABASE_URL",
                     "the role %s may not create roles, and these are missing; an administrator of "
                     "the server has to run:%s",
                     PQuser(conn), missing->data);
}

static int create_missing(PGconn *conn, struct error *err)
{
    static const char can_create[] =
        "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user";
    bool absent[sizeof(role_names) / sizeof(*role_names)];
    struct buffer statements = {0};
    int rc = 0;
    for (size_t i = 0; i < role_count; i++) {
        const int there = ask(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)",
                              role_names[i], err);
        if (there < 0) {
            rc = -1;
            goto out;
        }
        absent[i] = there == 0;
        if (absent[i]) buffer_format(&statements, " CREATE ROLE %s LOGIN;", role_names[i]);
    }
    if (statements.length == 0) goto out;
    const int may = ask(conn, can_create, NULL, err);
    if (may <= 0) {
        rc = may == 0 ? refuse(conn, &statements, err) : -1;
        goto out;
    }
    for (size_t i = 0; rc == 0 && i < role_count; i++)
        if (absent[i]) rc = create_role(conn, role_names[i], err);
out:
    buffer_free(&statements);
    return rc;
}

/* What a statement was to bring about is asked for again after it, whatever it answered: of two
 * processes that grant the same at once one fails, and has what it wanted. */

/* Whoever made tekup_admin may give it; PostgreSQL 16 wants to be told that it is to be inherited
 * and set. */
static int become_member(PGconn *conn, struct error *err)
{
    const bool options = PQserverVersion(conn) >= 160000;
    const char *question = options ? "SELECT pg_has_role('tekup_admin', 'SET')"
                                   : "SELECT pg_has_role('tekup_admin', 'MEMBER')";
    int member = ask(conn, question, NULL, err);
    if (member != 0) return member < 0 ? -1 : 0;
    sql_run(conn,
            options ? "GRANT tekup_admin TO CURRENT_USER WITH INHERIT TRUE, SET TRUE"
                    : "GRANT tekup_admin TO CURRENT_USER",
            NULL);
    member = ask(conn, question, NULL, err);
    if (member != 0) return member < 0 ? -1 : 0;
    return error_set(err, ERR_INVALID, "DATABASE_URL",
                     "the role %s is no member of tekup_admin, which owns the schema; an "
                     "administrator of the server has to run: GRANT tekup_admin TO %s;",
                     PQuser(conn), PQuser(conn));
}

/* Grants on the database what the question finds that the role has not. */
static int allow(PGconn *conn, const char *question, const char *role, const char *grant,
                 const char *grantees, struct error *err)
{
    int has = ask(conn, question, role, err);
    if (has != 0) return has < 0 ? -1 : 0;
    run_named(conn, grant, PQdb(conn), grantees, NULL);
    has = ask(conn, question, role, err);
    if (has != 0) return has < 0 ? -1 : 0;
    return error_set(err, ERR_INVALID, "DATABASE_URL",
                     "the role %s may not give %s its rights on the database; its owner has to "
                     "run: GRANT CONNECT, CREATE ON DATABASE \"%s\" TO tekup_admin; GRANT CONNECT "
                     "ON DATABASE \"%s\" TO tekup_vault, tekup_billy, tekup_renos, tekup_crm, "
                     "tekup_flow;",
                     PQuser(conn), role, PQdb(conn), PQdb(conn));
}

static int allow_database(PGconn *conn, struct error *err)
{
    if (allow(conn, "SELECT has_database_privilege($1, current_database(), 'CREATE')",
              role_names[0], "GRANT CONNECT, CREATE ON DATABASE", "TO tekup_admin", err) != 0)
        return -1;
    for (size_t i = 1; i < role_count; i++) {
        if (allow(conn, "SELECT has_database_privilege($1, current_database(), 'CONNECT')",
                  role_names[i], "GRANT CONNECT ON DATABASE",
                  "TO tekup_vault, tekup_billy, tekup_renos, tekup_crm, tekup_flow", err) != 0)
            return -1;
        /* Tables of a session's own, which PostgreSQL allows everybody where nobody has revoked it.
         */
        if (ask(conn, "SELECT has_database_privilege($1, current_database(), 'TEMPORARY')",
                role_names[i], NULL) == 0)
            run_named(conn, "GRANT TEMPORARY ON DATABASE", PQdb(conn),
                      "TO tekup_vault, tekup_billy, tekup_renos, tekup_crm, tekup_flow", NULL);
    }
    return 0;
}

int roles_ensure(PGconn *conn, struct error *err)
{
    if (create_missing(conn, err) != 0) return -1;
    if (become_member(conn, err) != 0) return -1;
    return allow_database(conn, err);
}
