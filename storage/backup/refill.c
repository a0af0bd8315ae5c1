/*
 * refill.c: the order of things, and who has to make room.
 *
 * The dump is read four times: its contents, what is made before the rows, the rows, what is made
 * after them. Only the third reads all of it.
 */
#include "storage/backup/refill.h"

#include "storage/backup/program.h"
#include "storage/backup/refill_list.h"
#include "storage/backup/refill_script.h"
#include "storage/pool.h"
#include "storage/sql.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOCK_TRIES = 6 };

struct work {
    PGconn *conn;
    const struct refill *refill;
    char pg_restore[PATH_MAX + 16];
    char *contents; /* as pg_restore --list prints them */
    char **kept;    /* schemas in which an extension is; NULL-terminated */
    int list;       /* a file of the entries to restore, -1 before it is there */
    atomic_ullong fed;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void tell(const struct work *work, const char *doing)
{
    if (work->refill->progress != NULL)
        work->refill->progress(work->refill->watcher, atomic_load(&work->fed), doing);
}

/* ---- pg_restore ------------------------------------------------------------------------------ */

struct feeder {
    struct work *work;
    struct program program;
    pthread_t thread;
    int rc;
    struct error err;
};

static void *feed(void *arg)
{
    struct feeder *feeder = arg;
    const struct refill *refill = feeder->work->refill;
    feeder->rc = refill->feed(refill->arg, feeder->program.in, &feeder->work->fed, &feeder->err);
    close(feeder->program.in);
    feeder->program.in = -1;
    return NULL;
}

static int feeder_start(struct feeder *feeder, struct work *work, const char *option,
                        struct error *err)
{
    const char *const listing[] = {work->pg_restore, option, NULL};
    const char *const writing[] = {work->pg_restore, option,       "--file=-",
                                   "--use-list",     PROGRAM_LIST, NULL};
    atomic_store(&work->fed, 0);
    *feeder = (struct feeder){.work = work};
    if (program_start(&feeder->program, work->list < 0 ? listing : writing, NULL, true, work->list,
                      err) != 0)
        return -1;
    if (pthread_create(&feeder->thread, NULL, feed, feeder) == 0) return 0;
    program_drop(&feeder->program);
    return error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
}

/* rc: how reading its output went, with the reason in err. What failed first explains the rest. */
static int feeder_end(struct feeder *feeder, int rc, struct error *err)
{
    struct error said = {0};
    if (rc != 0) kill(feeder->program.pid, SIGTERM);
    close(feeder->program.out);
    feeder->program.out = -1;
    pthread_join(feeder->thread, NULL);
    const int ended = program_end(&feeder->program, &said);
    if (rc != 0) return rc;
    if (feeder->rc != 0) {
        if (err != NULL) *err = feeder->err;
        return -1;
    }
    if (ended != 0 && err != NULL) *err = said;
    return ended;
}

static int read_contents(struct work *work, struct error *err)
{
    struct feeder feeder;
    struct buffer text = {0};
    char bytes[16 * 1024];
    ssize_t got;
    if (feeder_start(&feeder, work, "--list", err) != 0) return -1;
    while ((got = read(feeder.program.out, bytes, sizeof(bytes))) > 0 ||
           (got < 0 && errno == EINTR))
        if (got > 0) buffer_append(&text, bytes, (size_t)got);
    int rc = feeder_end(&feeder, 0, err);
    work->contents = buffer_take(&text);
    if (rc == 0 && work->contents == NULL) rc = out_of_memory(err);
    return rc;
}

static void say_rows(void *arg)
{
    tell(arg, "rows");
}

static int run_section(struct work *work, const char *option, bool rows, struct error *err)
{
    struct feeder feeder;
    if (feeder_start(&feeder, work, option, err) != 0) return -1;
    const int rc = rows ? refill_rows(work->conn, feeder.program.out, say_rows, work, err)
                        : refill_statements(work->conn, feeder.program.out, err);
    return feeder_end(&feeder, rc, err);
}

/* ---- What is there --------------------------------------------------------------------------- */

static PGresult *ask_schemas(struct work *work, const char *question, struct error *err)
{
    /* An array in text form: names are quoted by the server's own rules. */
    struct buffer array = {0};
    const struct backup_inventory *inventory = work->refill->inventory;
    buffer_text(&array, "{");
    for (size_t i = 0; i < inventory->schema_count; i++) {
        buffer_text(&array, i > 0 ? ",\"" : "\"");
        for (const char *at = inventory->schemas[i]; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\') buffer_text(&array, "\\");
            buffer_append(&array, at, 1);
        }
        buffer_text(&array, "\"");
    }
    buffer_text(&array, "}");
    struct sql sql = {0};
    PGresult *result = NULL;
    if (array.failed) {
        out_of_memory(err);
    } else {
        sql_text(&sql, array.data);
        result = sql_execute(work->conn, question, &sql, err);
    }
    buffer_free(&array);
    return result;
}

/* Tables with something of somebody's in them: those of the services, and the sources. What tekupdb
 * notes for itself does not count. */
static const char filled_query[] =
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY ($1::text[])"
    " AND (n.nspname <> 'tekupdb' OR c.relname = 'Source')"
    " AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass"
    "  AND x.objid = c.oid AND x.deptype = 'e') ORDER BY n.nspname = 'vault' DESC, 1";

static int has_rows(PGconn *conn, const char *table, bool *has, struct error *err)
{
    PGresult *result = backup_ask_table(conn, "SELECT EXISTS (SELECT FROM ", table, ")", err);
    if (result == NULL) return -1;
    *has = sql_get_bool(result, 0, 0);
    PQclear(result);
    return 0;
}

static int check_empty(struct work *work, struct error *err)
{
    if (work->refill->replace) return 0;
    PGresult *tables = ask_schemas(work, filled_query, err);
    if (tables == NULL) return -1;
    bool has = false;
    int rc = 0;
    for (int i = 0; rc == 0 && !has && i < PQntuples(tables); i++) {
        rc = has_rows(work->conn, sql_get_text(tables, i, 0), &has, err);
        if (rc == 0 && has)
            rc = error_set(err, ERR_CONFLICT, NULL,
                           "the database is not empty: there are rows in %s, for one; --force "
                           "replaces everything in it",
                           sql_get_text(tables, i, 0));
    }
    PQclear(tables);
    return rc;
}

/* ---- Others ---------------------------------------------------------------------------------- */

static const char others_query[] =
    "SELECT a.pid, a.usename::text, me.rolsuper OR (NOT them.rolsuper AND (pg_has_role(a.usesysid,"
    " 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER')))"
    " FROM pg_stat_activity a JOIN pg_roles them ON them.oid = a.usesysid,"
    " (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) AS me"
    " WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()"
    /* Of the sessions of others not everybody is told that. */
    " AND (a.backend_type IS NULL OR a.backend_type = 'client backend')";

/* Whether the sessions of others may be ended; and ends them, where that is wanted. */
static int end_others(struct work *work, bool end, struct error *err)
{
    PGresult *sessions = sql_execute(work->conn, others_query, NULL, err);
    if (sessions == NULL) return -1;
    int rc = 0;
    for (int i = 0; rc == 0 && i < PQntuples(sessions); i++)
        if (!sql_get_bool(sessions, i, 2))
            rc = error_set(err, ERR_CONFLICT, NULL,
                           "the role %s may not end the sessions of %s, which have to read the "
                           "database anew: restore as that role (--url-env), or stop what is "
                           "connected first",
                           PQuser(work->conn), sql_get_text(sessions, i, 1));
    /* One that has ended by itself meanwhile is a warning to PostgreSQL. */
    if (end && rc == 0) rc = sql_run(work->conn, "SET client_min_messages TO error", err);
    for (int i = 0; end && rc == 0 && i < PQntuples(sessions); i++) {
        struct sql sql = {0};
        sql_int4(&sql, sql_get_int4(sessions, i, 0));
        PGresult *result = sql_execute(work->conn, "SELECT pg_terminate_backend($1)", &sql, err);
        if (result == NULL) rc = -1;
        PQclear(result);
    }
    PQclear(sessions);
    return rc;
}

static const char begin[] = "BEGIN;"
                            "SET LOCAL statement_timeout TO 0;"
                            "SET LOCAL idle_in_transaction_session_timeout TO 0;"
                            "SET LOCAL client_min_messages TO warning;"
                            "SET LOCAL lock_timeout TO '10s'";

static const char lock_query[] =
    "SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname = ANY ($1::text[])"
    " AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass"
    "  AND x.objid = c.oid AND x.deptype = 'e')";

static int lock_tables(struct work *work, struct error *err)
{
    PGresult *names = ask_schemas(work, lock_query, err);
    struct buffer statement = {0};
    int rc = 0;
    if (names == NULL) return -1;
    if (!sql_is_null(names, 0, 0)) {
        buffer_format(&statement, "LOCK TABLE %s IN ACCESS EXCLUSIVE MODE",
                      sql_get_text(names, 0, 0));
        rc = statement.failed ? out_of_memory(err) : sql_run(work->conn, statement.data, err);
    }
    buffer_free(&statement);
    PQclear(names);
    return rc;
}

/* Who is in the way is waited for, and then ended. */
static int begin_alone(struct work *work, struct error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (sql_run(work->conn, begin, err) != 0) return -1;
        if (lock_tables(work, err) == 0) return 0;
        const bool in_the_way = err->code == ERR_UNAVAILABLE || err->code == ERR_CONFLICT;
        if (PQstatus(work->conn) != CONNECTION_OK || sql_run(work->conn, "ROLLBACK", NULL) != 0 ||
            !in_the_way || end_others(work, true, err) != 0)
            return -1;
    }
    return error_prefix(err, "others hold the tables");
}

/* ---- Taking away ----------------------------------------------------------------------------- */

static int find_kept(struct work *work, struct error *err)
{
    static const char question[] =
        "SELECT DISTINCT n.nspname::text FROM pg_namespace n WHERE n.nspname = 'public' OR EXISTS"
        " (SELECT FROM pg_extension e WHERE e.extnamespace = n.oid)";
    bool failed = false;
    PGresult *rows = sql_execute(work->conn, question, NULL, err);
    if (rows == NULL) return -1;
    const int count = PQntuples(rows);
    work->kept = calloc((size_t)count + 1, sizeof(*work->kept));
    for (int i = 0; work->kept != NULL && i < count && !failed; i++)
        work->kept[i] = sql_copy_text(rows, i, 0, &failed);
    PQclear(rows);
    return work->kept == NULL || failed ? out_of_memory(err) : 0;
}

/* What is in a schema that cannot go, because of an extension: everything that depends on it but
 * for the extension's own, and sequences that go with their column. Names that one CASCADE has
 * taken along are passed over. */
static const char members_query[] =
    "SELECT string_agg(format('DROP %s IF EXISTS %s CASCADE', CASE i.type WHEN 'composite type'"
    " THEN 'TYPE' WHEN 'statistics object' THEN 'STATISTICS' ELSE upper(i.type) END, i.identity),"
    " ';' ORDER BY d.classid <> 'pg_class'::regclass, i.identity)"
    " FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) AS i"
    " WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'"
    " AND d.refobjid = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1)"
    " AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_extension'::regclass)"
    " AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = d.classid AND x.objid = d.objid"
    "  AND (x.deptype = 'e' OR (i.type = 'sequence' AND x.deptype IN ('i', 'a'))))";

static int empty_schema(PGconn *conn, const char *schema, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, schema);
    PGresult *result = sql_execute(conn, members_query, &sql, err);
    if (result == NULL) return -1;
    const char *statements = sql_get_text(result, 0, 0);
    const int rc = statements != NULL ? sql_run(conn, statements, err) : 0;
    PQclear(result);
    return rc;
}

static int drop_schema(PGconn *conn, const char *schema, struct error *err)
{
    struct buffer statement = {0};
    char *quoted = PQescapeIdentifier(conn, schema, strlen(schema));
    buffer_format(&statement, "DROP SCHEMA IF EXISTS %s CASCADE", quoted != NULL ? quoted : "");
    const int rc = quoted == NULL || statement.failed ? out_of_memory(err)
                                                      : sql_run(conn, statement.data, err);
    PQfreemem(quoted);
    buffer_free(&statement);
    return rc;
}

static bool is_kept(const struct work *work, const char *schema)
{
    for (char **kept = work->kept; *kept != NULL; kept++)
        if (strcmp(*kept, schema) == 0) return true;
    return false;
}

static int take_away(struct work *work, struct error *err)
{
    const struct backup_inventory *inventory = work->refill->inventory;
    for (size_t i = 0; i < inventory->schema_count; i++) {
        const char *schema = inventory->schemas[i];
        const int rc = is_kept(work, schema) ? empty_schema(work->conn, schema, err)
                                             : drop_schema(work->conn, schema, err);
        if (rc != 0) return error_prefix(err, "dropping the schema %s", schema);
    }
    return 0;
}

/* ---- Extensions and roles -------------------------------------------------------------------- */

/* tekupdb makes dblink itself, where it may. */
static int make_extension(struct work *work, const char *name, struct error *err)
{
    struct buffer statement = {0};
    if (strcmp(name, "dblink") == 0 || strcmp(name, "plpgsql") == 0) return 0;
    char *quoted = PQescapeIdentifier(work->conn, name, strlen(name));
    buffer_format(&statement, "CREATE EXTENSION IF NOT EXISTS %s CASCADE",
                  quoted != NULL ? quoted : "");
    int rc = quoted == NULL || statement.failed ? out_of_memory(err)
                                                : sql_run(work->conn, statement.data, err);
    if (rc != 0) error_prefix(err, "the backup needs the extension %s", name);
    PQfreemem(quoted);
    buffer_free(&statement);
    return rc;
}

static int make_extensions(struct work *work, struct error *err)
{
    struct buffer names = {0};
    refill_list_extensions(work->contents, &names);
    int rc = names.failed ? out_of_memory(err) : 0;
    char *rest = names.data != NULL ? names.data : NULL, *name;
    while (rc == 0 && rest != NULL && (name = strsep(&rest, "\n")) != NULL)
        if (*name != '\0') rc = make_extension(work, name, err);
    buffer_free(&names);
    return rc;
}

static int make_list(struct work *work, struct error *err)
{
    struct buffer kept = {0};
    int rc = 0;
    refill_list_keep(work->contents, (const char *const *)work->kept, &kept);
    work->list = memfd_create("list", MFD_CLOEXEC);
    if (kept.failed)
        rc = out_of_memory(err);
    else if (work->list < 0 || write(work->list, kept.data != NULL ? kept.data : "", kept.length) !=
                                   (ssize_t)kept.length)
        rc = error_set(err, ERR_IO, NULL, "cannot keep a list: %s", strerror(errno));
    buffer_free(&kept);
    return rc;
}

/* ---- At the end ------------------------------------------------------------------------------ */

/* Positions in the feed mean nothing here any more, so it begins anew as another one. */
static int begin_feed(struct work *work, struct error *err)
{
    static const char statement[] =
        "DO $$ BEGIN IF to_regclass('tekupdb.\"Feed\"') IS NOT NULL THEN"
        " INSERT INTO tekupdb.\"Feed\" (\"trimmed\") VALUES (pg_current_xact_id());"
        " END IF; END $$";
    return sql_run(work->conn, statement, err);
}

static int count_rows(struct work *work, struct error *err)
{
    const struct backup_inventory *inventory = work->refill->inventory;
    for (size_t i = 0; i < inventory->table_count; i++) {
        const struct backup_table *table = &inventory->tables[i];
        struct buffer question = {0};
        char *schema = PQescapeIdentifier(work->conn, table->schema, strlen(table->schema));
        char *name = PQescapeIdentifier(work->conn, table->name, strlen(table->name));
        PGresult *result = NULL;
        int rc = -1;
        if (schema != NULL && name != NULL)
            buffer_format(&question, "SELECT count(*) FROM %s.%s", schema, name);
        if (question.length == 0 || question.failed)
            out_of_memory(err);
        else
            result = sql_execute(work->conn, question.data, NULL, err);
        if (result != NULL) {
            const long long found = sql_get_int8(result, 0, 0);
            rc = found == table->rows
                     ? 0
                     : error_set(err, ERR_INTERNAL, NULL,
                                 "%s.%s has %lld rows after the restore, and had %lld", schema,
                                 name, found, (long long)table->rows);
        }
        PQclear(result);
        PQfreemem(schema);
        PQfreemem(name);
        buffer_free(&question);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int within(struct work *work, struct error *err)
{
    if (check_empty(work, err) != 0 || find_kept(work, err) != 0 || make_list(work, err) != 0)
        return -1;
    if (sql_run(work->conn, "SET LOCAL lock_timeout TO 0", err) != 0) return -1;
    if (work->refill->inventory->roles[0] != '\0' &&
        sql_run(work->conn, work->refill->inventory->roles, err) != 0)
        return error_prefix(err, "making the roles");
    if (make_extensions(work, err) != 0 || take_away(work, err) != 0) return -1;
    tell(work, "tables");
    if (run_section(work, "--section=pre-data", false, err) != 0) return -1;
    if (run_section(work, "--section=data", true, err) != 0) return -1;
    tell(work, "indexes");
    if (run_section(work, "--section=post-data", false, err) != 0) return -1;
    tell(work, "counting");
    if (begin_feed(work, err) != 0 || count_rows(work, err) != 0) return -1;
    if (sql_run(work->conn, "RESET search_path", err) != 0) return -1;
    if (end_others(work, true, err) != 0) return -1;
    return sql_commit(work->conn, err);
}

static void take_notice(void *arg, const PGresult *result)
{
    const struct refill *refill = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (severity != NULL && strcmp(severity, "WARNING") == 0 && message != NULL)
        refill->note(refill->watcher, message);
}

static int check_server(const struct work *work, struct error *err)
{
    const int from = work->refill->inventory->server_version / 10000;
    const int to = PQserverVersion(work->conn) / 10000;
    if (to >= from) return 0;
    return error_set(err, ERR_INVALID, NULL,
                     "it is of PostgreSQL %d, and this server is PostgreSQL %d: it needs that one "
                     "or a newer",
                     from, to);
}

static int prepare(struct work *work, struct error *err)
{
    char directory[PATH_MAX];
    int major;
    if (check_server(work, err) != 0) return -1;
    if (program_directory(work->refill->major, directory, &major, err) != 0) return -1;
    snprintf(work->pg_restore, sizeof(work->pg_restore), "%s/pg_restore", directory);
    if (check_empty(work, err) != 0 || end_others(work, false, err) != 0) return -1;
    return read_contents(work, err);
}

int refill_run(PGconn *conn, const struct refill *refill, char **identity, struct error *err)
{
    struct work work = {.conn = conn, .refill = refill, .list = -1};
    *identity = NULL;
    const PQnoticeReceiver receiver = PQsetNoticeReceiver(conn, NULL, NULL);
    if (refill->note != NULL) PQsetNoticeReceiver(conn, take_notice, (void *)(uintptr_t)refill);
    int rc = prepare(&work, err);
    if (rc == 0) rc = begin_alone(&work, err);
    if (rc == 0) rc = within(&work, err);
    PQsetNoticeReceiver(conn, receiver, NULL);
    if (rc != 0 && PQtransactionStatus(conn) != PQTRANS_IDLE) sql_run(conn, "ROLLBACK", NULL);
    if (rc == 0) {
        /* What the planner knows of the tables is not in the dump; without it they are only slow.
         */
        tell(&work, "statistics");
        sql_run(conn, "SET client_min_messages TO error; ANALYZE", NULL);
        *identity = backup_identity(conn, err);
        rc = *identity != NULL ? 0 : -1;
    }
    for (char **kept = work.kept; kept != NULL && *kept != NULL; kept++) free(*kept);
    free(work.kept);
    free(work.contents);
    if (work.list >= 0) close(work.list);
    return rc;
}
