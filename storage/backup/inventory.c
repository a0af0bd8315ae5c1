#include "storage/backup/inventory.h"

#include "storage/conninfo.h"
#include "storage/feed.h"
#include "storage/pool.h"
#include "storage/roles.h"
#include "storage/sql.h"

#include <stdlib.h>
#include <string.h>

const char *const backup_passing_tables[] = {"tekupdb.\"Change\"", "tekupdb.\"Feed\"",
                                             "tekupdb.\"Follower\"", "tekupdb.\"Door\"", NULL};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- The connection -------------------------------------------------------------------------- */

PGconn *backup_connect(const char *conninfo, struct error *err)
{
    enum { MOST = 64, OWN = 2 };
    const char *keywords[MOST + OWN + 1], *values[MOST + OWN + 1];
    size_t count = 0;
    PQconninfoOption *options = conninfo_parse(conninfo, err);
    if (options == NULL) return NULL;
    for (const PQconninfoOption *option = options; option->keyword != NULL && count < MOST;
         option++)
        if (option->val != NULL) {
            keywords[count] = option->keyword;
            values[count++] = option->val;
        }
    keywords[count] = "client_encoding";
    values[count++] = "UTF8";
    keywords[count] = "fallback_application_name";
    values[count++] = "tekup";
    keywords[count] = values[count] = NULL;
    PGconn *conn = PQconnectdbParams(keywords, values, 0);
    PQconninfoFree(options);
    if (PQstatus(conn) == CONNECTION_OK) return conn;
    pool_error(conn, NULL, err);
    PQfinish(conn);
    return NULL;
}

int backup_conninfo(PGconn *conn, struct buffer *conninfo, struct error *err)
{
    PQconninfoOption *options = PQconninfo(conn);
    for (const PQconninfoOption *option = options; options != NULL && option->keyword != NULL;
         option++) {
        if (option->val == NULL || *option->val == '\0' || *option->dispchar == '*') continue;
        buffer_format(conninfo, "%s%s='", conninfo->length > 0 ? " " : "", option->keyword);
        for (const char *at = option->val; *at != '\0'; at++) {
            if (*at == '\'' || *at == '\\') buffer_text(conninfo, "\\");
            buffer_append(conninfo, at, 1);
        }
        buffer_text(conninfo, "'");
    }
    PQconninfoFree(options);
    return conninfo->failed || conninfo->length == 0 ? out_of_memory(err) : 0;
}

/* ---- One value ------------------------------------------------------------------------------- */

/* The text that a question has for an answer, "" where it is NULL. */
static char *ask_text(PGconn *conn, const char *question, struct error *err)
{
    bool failed = false;
    PGresult *result = sql_execute(conn, question, NULL, err);
    if (result == NULL) return NULL;
    char *text = PQntuples(result) == 1 && !sql_is_null(result, 0, 0)
                     ? sql_copy_text(result, 0, 0, &failed)
                     : strdup("");
    PQclear(result);
    if (text == NULL) out_of_memory(err);
    return text;
}

static int ask_there(PGconn *conn, const char *relation, bool *there, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, relation);
    PGresult *result = sql_execute(conn, "SELECT to_regclass($1) IS NOT NULL", &sql, err);
    if (result == NULL) return -1;
    *there = sql_get_bool(result, 0, 0);
    PQclear(result);
    return 0;
}

char *backup_identity(PGconn *conn, struct error *err)
{
    bool there;
    char identity[FEED_IDENTITY_SIZE] = "";
    if (ask_there(conn, "tekupdb.\"Feed\"", &there, err) != 0) return NULL;
    if (there && feed_identify(conn, identity, err) != 0) return NULL;
    char *copy = strdup(identity);
    if (copy == NULL) out_of_memory(err);
    return copy;
}

/* ---- Schemas and tables ---------------------------------------------------------------------- */

#define NO_SYSTEM(n) n ".nspname !~ '^pg_' AND " n ".nspname <> 'information_schema'"
#define NO_MEMBER(class, oid)                                                                      \
    "NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '" class "'::regclass"                  \
                                                                    " AND x.objid = " oid          \
                                                                    " AND x.deptype = 'e')"

static const char schemas_query[] =
    "SELECT n.nspname::text FROM pg_namespace n WHERE " NO_SYSTEM("n") " AND " NO_MEMBER(
        "pg_namespace",
        "n.oid") " AND (n.nspname <> 'public'"
                 " OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND " NO_MEMBER(
                     "pg_class",
                     "c.oid") ")"
                              " OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid "
                              "AND " NO_MEMBER("pg_proc",
                                               "p.oid") ")"
                                                        " OR EXISTS (SELECT FROM pg_type t WHERE "
                                                        "t.typnamespace = n.oid AND " NO_MEMBER(
                                                            "pg_type", "t.oid") "))"
                                                                                " ORDER BY 1";

static const char tables_query[] =
    "SELECT n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname) AS name"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND " NO_SYSTEM(
        "n") " AND " NO_MEMBER("pg_class", "c.oid") " ORDER BY 1, 2";

static int take_schemas(PGconn *conn, struct backup_inventory *inventory, struct error *err)
{
    bool failed = false;
    PGresult *rows = sql_execute(conn, schemas_query, NULL, err);
    if (rows == NULL) return -1;
    const int count = PQntuples(rows);
    inventory->schemas = calloc((size_t)count + 1, sizeof(*inventory->schemas));
    for (int i = 0; i < count && inventory->schemas != NULL && !failed; i++)
        inventory->schemas[inventory->schema_count++] = sql_copy_text(rows, i, 0, &failed);
    PQclear(rows);
    return failed || inventory->schemas == NULL ? out_of_memory(err) : 0;
}

static bool is_passing(const char *name)
{
    for (const char *const *at = backup_passing_tables; *at != NULL; at++)
        if (strcmp(*at, name) == 0) return true;
    return false;
}

PGresult *backup_ask_table(PGconn *conn, const char *before, const char *table, const char *after,
                           struct error *err)
{
    struct buffer question = {0};
    buffer_format(&question, "%s%s%s", before, table, after);
    PGresult *result = question.failed ? NULL : sql_execute(conn, question.data, NULL, err);
    if (question.failed) out_of_memory(err);
    buffer_free(&question);
    return result;
}

static int count_rows(PGconn *conn, const char *name, int64_t *count, struct error *err)
{
    PGresult *result = backup_ask_table(conn, "SELECT count(*) FROM ", name, "", err);
    if (result == NULL) return -1;
    *count = sql_get_int8(result, 0, 0);
    PQclear(result);
    return 0;
}

static int take_tables(PGconn *conn, struct backup_inventory *inventory, struct error *err)
{
    bool failed = false;
    PGresult *rows = sql_execute(conn, tables_query, NULL, err);
    if (rows == NULL) return -1;
    int rc = 0;
    inventory->tables = calloc((size_t)PQntuples(rows) + 1, sizeof(*inventory->tables));
    if (inventory->tables == NULL) rc = out_of_memory(err);
    for (int i = 0; inventory->tables != NULL && rc == 0 && i < PQntuples(rows); i++) {
        if (is_passing(sql_get_text(rows, i, 2))) continue;
        struct backup_table *table = &inventory->tables[inventory->table_count++];
        table->schema = sql_copy_text(rows, i, 0, &failed);
        table->name = sql_copy_text(rows, i, 1, &failed);
        rc = failed ? out_of_memory(err)
                    : count_rows(conn, sql_get_text(rows, i, 2), &table->rows, err);
    }
    PQclear(rows);
    return rc;
}

/* ---- Roles ----------------------------------------------------------------------------------- */

/* Each row is a statement. Superusers are the server's own business; of the others those that
 * something in this database belongs to or that have a right on something in it, and those that
 * tekupdb makes. What cannot be granted where it is restored is a warning; what needs it fails by
 * itself. Passwords stay with the server. Settings that are lists are quoted already. */
static const char roles_query[] =
    "WITH known AS (SELECT r.* FROM pg_roles r WHERE NOT r.rolsuper AND r.rolname !~ '^pg_'"
    "  AND (r.rolname = ANY (string_to_array($1, ' ')) OR EXISTS (SELECT FROM pg_shdepend d"
    "   WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND (d.dbid = (SELECT oid"
    "   FROM pg_database WHERE datname = current_database()) OR (d.classid = "
    "'pg_database'::regclass"
    "   AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))))),"
    " statements AS ("
    " SELECT 1 AS part, rolname::text AS name, '' AS rest, false AS may_fail, format('CREATE ROLE "
    "%I %s %s %s"
    " %s CONNECTION LIMIT %s', rolname, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,"
    " CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,"
    " CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,"
    " CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, rolconnlimit) AS statement"
    " FROM known"
    " UNION ALL SELECT 2, m.rolname, g.rolname, true, format('GRANT %I TO %I', g.rolname, "
    "m.rolname)"
    " FROM pg_auth_members a JOIN known g ON g.oid = a.roleid JOIN known m ON m.oid = a.member"
    " UNION ALL SELECT 3, coalesce(k.rolname, ''), a.privilege_type, true,"
    " format('GRANT %s ON DATABASE @database@ TO %s', a.privilege_type,"
    " CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(k.rolname) END)"
    " FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN known k ON k.oid = a.grantee"
    " WHERE d.datname = current_database() AND (a.grantee = 0 OR k.oid IS NOT NULL)"
    " UNION ALL SELECT 4, coalesce(k.rolname, ''), c.setting, true,"
    " CASE WHEN s.setrole = 0 THEN 'ALTER DATABASE @database@'"
    " ELSE format('ALTER ROLE %I IN DATABASE @database@', k.rolname) END || ' SET ' ||"
    " split_part(c.setting, '=', 1) || ' TO ' || CASE WHEN split_part(c.setting, '=', 1) IN "
    "('search_path',"
    " 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')"
    " THEN substr(c.setting, strpos(c.setting, '=') + 1)"
    " ELSE quote_literal(substr(c.setting, strpos(c.setting, '=') + 1)) END"
    " FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
    " AND d.datname = current_database() LEFT JOIN known k ON k.oid = s.setrole,"
    " unnest(s.setconfig) AS c (setting) WHERE s.setrole = 0 OR k.oid IS NOT NULL)"
    " SELECT string_agg(format('DO $tekup$ BEGIN EXECUTE replace(%L, ''@database@'',"
    " quote_ident(current_database())); EXCEPTION WHEN %s END $tekup$;', statement,"
    " CASE WHEN may_fail THEN 'OTHERS THEN RAISE WARNING ''%'', SQLERRM;'"
    " ELSE 'duplicate_object OR unique_violation THEN NULL;' END),"
    " E'\\n' ORDER BY part, name, rest) || E'\\n' FROM statements";

static char *take_roles(PGconn *conn, struct error *err)
{
    struct buffer names = {0};
    struct sql sql = {0};
    bool failed = false;
    for (size_t i = 0; i < role_count; i++)
        buffer_format(&names, "%s%s", i > 0 ? " " : "", role_names[i]);
    if (names.failed) {
        out_of_memory(err);
        return NULL;
    }
    sql_text(&sql, names.data);
    PGresult *result = sql_execute(conn, roles_query, &sql, err);
    buffer_free(&names);
    if (result == NULL) return NULL;
    char *text = sql_is_null(result, 0, 0) ? strdup("") : sql_copy_text(result, 0, 0, &failed);
    PQclear(result);
    if (text == NULL) out_of_memory(err);
    return text;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static const char begin[] = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                            "SET LOCAL statement_timeout TO 0;"
                            "SET LOCAL idle_in_transaction_session_timeout TO 0";

/* What tekupdb has only where it has been. */
static int take_own(PGconn *conn, struct backup_inventory *inventory, struct error *err)
{
    bool migrated, sources;
    if (ask_there(conn, "tekupdb.\"Migration\"", &migrated, err) != 0 ||
        ask_there(conn, "tekupdb.\"Source\"", &sources, err) != 0)
        return -1;
    if (migrated) {
        PGresult *result = sql_execute(
            conn, "SELECT coalesce(max(\"version\"), 0) FROM tekupdb.\"Migration\"", NULL, err);
        if (result == NULL) return -1;
        inventory->migration = sql_get_int4(result, 0, 0);
        PQclear(result);
    }
    inventory->sources = sources ? ask_text(conn,
                                            "SELECT coalesce(json_agg(\"config\"), '[]')::text FROM"
                                            " tekupdb.\"Source\"",
                                            err)
                                 : strdup("[]");
    return inventory->sources != NULL ? 0 : -1;
}

int backup_inventory_take(PGconn *conn, struct backup_inventory *inventory, struct error *err)
{
    if (sql_run(conn, begin, err) != 0) return -1;
    inventory->server_version = PQserverVersion(conn);
    inventory->snapshot = ask_text(conn, "SELECT pg_export_snapshot()", err);
    if (inventory->snapshot == NULL) return -1;
    inventory->identity = backup_identity(conn, err);
    if (inventory->identity == NULL) return -1;
    inventory->roles = take_roles(conn, err);
    if (inventory->roles == NULL) return -1;
    if (take_own(conn, inventory, err) != 0 || take_schemas(conn, inventory, err) != 0) return -1;
    return take_tables(conn, inventory, err);
}

void backup_inventory_free(struct backup_inventory *inventory)
{
    for (size_t i = 0; i < inventory->schema_count; i++) free(inventory->schemas[i]);
    for (size_t i = 0; i < inventory->table_count; i++) {
        free(inventory->tables[i].schema);
        free(inventory->tables[i].name);
    }
    free(inventory->schemas);
    free(inventory->tables);
    free(inventory->snapshot);
    free(inventory->identity);
    free(inventory->roles);
    free(inventory->sources);
    *inventory = (struct backup_inventory){0};
}
