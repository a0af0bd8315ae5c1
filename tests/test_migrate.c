#include "tests/cluster_fixture.h"

#include "storage/migrations.h"

#include <errno.h>
#include <pthread.h>

static const char *const services[] = {"vault", "billy", "renos", "crm", "flow"};
static const char *const schemas[] = {"vault", "billy",  "renos",  "crm",
                                      "flow",  "shared", "tekupdb"};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SAYS(err, words) cr_expect_not_null(strstr((err).message, words), "%s", (err).message)

/* An empty database, and a pool on it. */
static struct pool *empty_pool(const char *user, int size, char name[32])
{
    char conninfo[256];
    struct error err = {0};
    fixture_database("template0", name);
    fixture_conninfo(name, user, conninfo, sizeof(conninfo));
    struct pool *pool = pool_create(conninfo, size, &err);
    cr_assert_not_null(pool, "%s", err.message);
    return pool;
}

/* ---- What it makes ---- */

Test(migrate, makes_everything_once)
{
    char name[32];
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = empty_pool("tekup_admin", 1, name);
    cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    cr_expect_eq(result.applied, (int)migration_count);
    cr_expect_eq(result.version, (int)migration_count);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM pg_tables WHERE schemaname IN"
                                         " ('vault','billy','renos','crm','flow','shared')"),
                     "32");
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM tekupdb.\"Migration\""), "16");
    cr_expect_str_eq(
        fixture_value(conn, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables"
                            " WHERE schemaname = 'tekupdb'"),
        "Change Chunk ChunkWords Cursor Delivery Door Feed Follower Migration Model PaidEmbedding "
        "Refused"
        " RejectedChunk Source Staged WordsState");

    cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    cr_expect_eq(result.applied, 0);
    cr_expect_eq(result.version, (int)migration_count);
    cr_expect_str_eq(fixture_value(conn, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                                         " WHERE attrelid = 'vault.\"VaultEmbedding\"'::regclass"
                                         " AND attname = 'embedding'"),
                     result.pgvector ? "vector(1536)" : "real[]");
    PQfinish(conn);
    pool_free(pool);
}

Test(migrate, leaves_everything_to_tekup_admin_whoever_runs_it)
{
    char name[32];
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = empty_pool("postgres", 1, name);
    cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    cr_expect_str_eq(
        fixture_value(conn,
                      "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class c"
                      " JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN"
                      " ('vault','billy','renos','crm','flow','shared','tekupdb')"
                      " AND relname NOT LIKE 'dblink%'"),
        "tekup_admin");
    cr_expect_str_eq(fixture_value(conn,
                                   "SELECT string_agg(DISTINCT pg_get_userbyid(nspowner), ' ') FROM"
                                   " pg_namespace WHERE nspname IN"
                                   " ('vault','billy','renos','crm','flow','shared','tekupdb')"),
                     "tekup_admin");
    PQfinish(conn);
    PGconn *leased = pool_lease(pool, 1000, &err);
    cr_assert_not_null(leased, "%s", err.message);
    cr_expect_str_eq(fixture_value(leased, "SELECT current_user"), "postgres",
                     "the connection's role is as it was");
    pool_release(pool, leased);
    pool_free(pool);
}

Test(migrate, checks_the_embeddings_where_they_are_an_array)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    fixture_run(conn, "INSERT INTO vault.\"VaultDocument\" (id, source, repository, path, content,"
                      " \"updatedAt\") VALUES ('d', 's', 'r', 'p', 'c', now())");
    if (strcmp(fixture_value(conn, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"),
               "0") != 0)
        cr_skip_test("this server has pgvector, whose type checks them");
    static const char *const refused[] = {
        "array_fill(1::real, ARRAY[1535])",
        "array_fill(1::real, ARRAY[1537])",
        "'{}'::real[]",
        "array_fill(1::real, ARRAY[2, 768])",
        "array_fill(NULL::real, ARRAY[1536])",
        "array_fill(1::real, ARRAY[1535]) || NULL::real",
        "NULL",
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        char sql[256];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding)"
                 " VALUES ('d', %s)",
                 refused[i]);
        PGresult *result = PQexec(conn, sql);
        cr_expect_eq(PQresultStatus(result), PGRES_FATAL_ERROR, "%s is taken", refused[i]);
        PQclear(result);
    }
    fixture_run(conn, "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding)"
                      " VALUES ('d', array_fill(1::real, ARRAY[1536]))");
    PQfinish(conn);
    pool_free(pool);
}

/* ---- Several at once, and interruptions ---- */

struct migrator {
    struct pool *pool;
    struct migration_result result;
    struct error err;
    int rc;
};

static void *run_migrator(void *arg)
{
    struct migrator *migrator = arg;
    migrator->rc = migrate(migrator->pool, &migrator->result, &migrator->err);
    return NULL;
}

Test(migrate, is_done_once_by_several_at_the_same_moment)
{
    enum { MIGRATORS = 4 };
    char name[32];
    struct migrator migrators[MIGRATORS] = {0};
    pthread_t threads[MIGRATORS];
    struct pool *pool = empty_pool("tekup_admin", MIGRATORS, name);
    for (int i = 0; i < MIGRATORS; i++) {
        migrators[i].pool = pool;
        cr_assert_eq(pthread_create(&threads[i], NULL, run_migrator, &migrators[i]), 0);
    }
    int applied = 0;
    for (int i = 0; i < MIGRATORS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(migrators[i].rc, 0, "%s", migrators[i].err.message);
        cr_expect_eq(migrators[i].result.version, (int)migration_count);
        applied += migrators[i].result.applied;
    }
    cr_expect_eq(applied, (int)migration_count, "each is applied once");
    pool_free(pool);
}

Test(migrate, keeps_what_is_done_when_one_fails_and_goes_on_from_there)
{
    char name[32];
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = empty_pool("tekup_admin", 1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    fixture_run(conn, "CREATE SCHEMA crm; CREATE TABLE crm.\"CrmTask\" (i int)");
    cr_assert_eq(migrate(pool, &result, &err), -1);
    SAYS(err, "0004_crm");
    SAYS(err, "CrmTask");
    cr_expect_str_eq(fixture_value(conn, "SELECT max(version) FROM tekupdb.\"Migration\""), "3");
    cr_expect_str_eq(fixture_value(conn, "SELECT to_regclass('crm.\"CrmCompany\"') IS NULL"), "t",
                     "nothing of the one that failed is there");
    fixture_run(conn, "DROP TABLE crm.\"CrmTask\"");
    cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    cr_expect_eq(result.applied, (int)migration_count - 3);
    PQfinish(conn);
    pool_free(pool);
}

/* ---- What it refuses ---- */

static void expect_refused(const char *change, const char *first_word, const char *second_word)
{
    char name[32];
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    fixture_run(conn, change);
    cr_expect_eq(migrate(pool, &result, &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT, "%s", err.message);
    SAYS(err, first_word);
    SAYS(err, second_word);
    PQfinish(conn);
    pool_free(pool);
}

Test(migrate, refuses_an_applied_migration_that_was_edited)
{
    expect_refused("UPDATE tekupdb.\"Migration\" SET checksum = sha256('edited') WHERE version = 3",
                   "0003_renos", "must not be edited");
}

Test(migrate, refuses_an_applied_migration_of_another_name)
{
    expect_refused("UPDATE tekupdb.\"Migration\" SET name = '0002_other' WHERE version = 2",
                   "0002_billy", "0002_other");
}

Test(migrate, refuses_a_database_of_a_newer_version)
{
    expect_refused("INSERT INTO tekupdb.\"Migration\" (version, name, checksum)"
                   " VALUES (900, '0900_future', '')",
                   "0900_future", "newer version");
}

Test(migrate, refuses_a_record_with_a_gap)
{
    expect_refused("DELETE FROM tekupdb.\"Migration\" WHERE version = 5", "the migration 5",
                   "one for 6");
}

Test(migrate, refuses_a_database_that_is_not_utf8)
{
    char name[32], conninfo[256], sql[192];
    struct error err = {0};
    struct migration_result result;
    PGconn *conn = fixture_connect("postgres", "postgres");
    snprintf(name, sizeof(name), "test_%d", (int)getpid());
    snprintf(sql, sizeof(sql),
             "CREATE DATABASE %s OWNER tekup_admin TEMPLATE template0 ENCODING 'LATIN1'"
             " LC_COLLATE 'C' LC_CTYPE 'C'",
             name);
    fixture_run(conn, sql);
    PQfinish(conn);
    fixture_conninfo(name, "tekup_admin", conninfo, sizeof(conninfo));
    struct pool *pool = pool_create(conninfo, 1, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_expect_eq(migrate(pool, &result, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "DATABASE_URL");
    SAYS(err, "LATIN1");
    SAYS(err, "UTF8");
    pool_free(pool);
}

/* ---- Roles that may do little ---- */

static char root[32], data[48], run[48];
static struct cluster *own;

/* A cluster that has no roles yet, and lets the role `small` in. */
static void open_own(void)
{
    char path[96];
    struct error err = {0};
    log_set_level(LOG_ERROR);
    scratch_directory(root);
    snprintf(data, sizeof(data), "%s/d", root);
    snprintf(run, sizeof(run), "%s/r", root);
    own = cluster_open(data, run, &err);
    cr_assert_not_null(own, "%s", err.message);
    snprintf(path, sizeof(path), "%s/postgres/pg_ident.conf", data);
    FILE *file = fopen(path, "ae");
    cr_assert_not_null(file, "%s", strerror(errno));
    fputs("tekupdb /^.*$ small\n", file);
    fclose(file);
}

static void close_own(void)
{
    cluster_close(own, NULL);
    scratch_stop_server(data);
    scratch_remove(root);
}

static PGconn *own_connect(const char *database, const char *user, char conninfo[256])
{
    snprintf(conninfo, 256, "host=%s/postgres dbname=%s user=%s", run, database, user);
    PGconn *conn = PQconnectdb(conninfo);
    cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
    return conn;
}

Test(migrate, tells_a_role_that_may_not_create_roles_what_to_ask_for, .init = open_own,
     .fini = close_own)
{
    char conninfo[256];
    struct error err = {0};
    struct migration_result result;
    PGconn *conn = own_connect("postgres", "postgres", conninfo);
    fixture_run(conn, "SELECT pg_reload_conf()");
    fixture_run(conn, "CREATE ROLE small LOGIN");
    fixture_run(conn, "CREATE DATABASE small OWNER small TEMPLATE template0");
    PQfinish(own_connect("small", "small", conninfo));
    struct pool *pool = pool_create(conninfo, 1, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_expect_eq(migrate(pool, &result, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "DATABASE_URL");
    SAYS(err, "role small may not create roles");
    SAYS(err, "CREATE ROLE tekup_vault LOGIN");
    cr_expect_null(strstr(err.message, "CREATE ROLE tekup_admin"), "that one is there: %s",
                   err.message);

    /* The administrator does as told; then it is no member of tekup_admin. */
    for (size_t i = 0; i < COUNT(services); i++) {
        char sql[64];
        snprintf(sql, sizeof(sql), "CREATE ROLE tekup_%s LOGIN", services[i]);
        fixture_run(conn, sql);
    }
    cr_expect_eq(migrate(pool, &result, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    SAYS(err, "GRANT tekup_admin TO small");

    fixture_run(conn, "GRANT tekup_admin TO small");
    cr_expect_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    cr_expect_eq(result.applied, (int)migration_count);
    PQfinish(conn);
    pool_free(pool);
}

Test(migrate, lets_a_role_that_may_create_roles_do_it_all, .init = open_own, .fini = close_own)
{
    char conninfo[256];
    struct error err = {0};
    struct migration_result result;
    PGconn *conn = own_connect("postgres", "postgres", conninfo);
    fixture_run(conn, "SELECT pg_reload_conf()");
    /* As on a hosted server: the owner of a database, with the right to make roles. */
    fixture_run(conn, "CREATE ROLE small LOGIN CREATEROLE");
    fixture_run(conn, "DROP DATABASE tekup_db");
    fixture_run(conn, "DROP ROLE tekup_admin");
    fixture_run(conn, "CREATE DATABASE small OWNER small TEMPLATE template0");
    PQfinish(own_connect("small", "small", conninfo));
    struct pool *pool = pool_create(conninfo, 1, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_expect_eq(migrate(pool, &result, &err), 0, "%s", err.message);
    cr_expect_eq(result.applied, (int)migration_count);
    PGconn *small = pool_lease(pool, 1000, &err);
    cr_assert_not_null(small, "%s", err.message);
    cr_expect_str_eq(fixture_value(small, "SELECT tableowner FROM pg_tables WHERE tablename ="
                                          " 'VaultDocument'"),
                     "tekup_admin");
    cr_expect_str_eq(fixture_value(small, "SELECT count(*) FROM vault.\"VaultDocument\""), "0",
                     "as a member it may read");
    pool_release(pool, small);
    pool_free(pool);
    PQfinish(conn);
}

Test(migrate, tells_a_role_that_does_not_own_the_database_what_to_ask_for, .init = open_own,
     .fini = close_own)
{
    char conninfo[256];
    struct error err = {0};
    struct migration_result result;
    PGconn *conn = own_connect("postgres", "postgres", conninfo);
    fixture_run(conn, "SELECT pg_reload_conf()");
    fixture_run(conn, "CREATE ROLE small LOGIN CREATEROLE");
    fixture_run(conn, "GRANT tekup_admin TO small");
    fixture_run(conn, "CREATE DATABASE others TEMPLATE template0");
    PQfinish(own_connect("others", "small", conninfo));
    struct pool *pool = pool_create(conninfo, 1, &err);
    cr_assert_not_null(pool, "%s", err.message);
    cr_expect_eq(migrate(pool, &result, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    SAYS(err, "GRANT CONNECT, CREATE ON DATABASE \"others\" TO tekup_admin");
    pool_free(pool);
    PQfinish(conn);
}

/* Roles belong to the server, so that even migrations of two databases meet there. */
Test(migrate, is_done_by_several_who_all_find_the_roles_missing, .init = open_own,
     .fini = close_own)
{
    enum { MIGRATORS = 6 };
    char conninfo[256];
    struct migrator migrators[MIGRATORS] = {0};
    pthread_t threads[MIGRATORS];
    PGconn *conn = own_connect("postgres", "postgres", conninfo);
    fixture_run(conn, "CREATE DATABASE even TEMPLATE template0");
    fixture_run(conn, "CREATE DATABASE odd TEMPLATE template0");
    fixture_run(conn, "REVOKE ALL ON DATABASE even, odd FROM PUBLIC");
    for (int i = 0; i < MIGRATORS; i++) {
        PQfinish(own_connect(i % 2 == 0 ? "even" : "odd", "postgres", conninfo));
        migrators[i].pool = pool_create(conninfo, 1, &migrators[i].err);
        cr_assert_not_null(migrators[i].pool, "%s", migrators[i].err.message);
    }
    for (int i = 0; i < MIGRATORS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run_migrator, &migrators[i]), 0);
    int applied = 0;
    for (int i = 0; i < MIGRATORS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(migrators[i].rc, 0, "%s", migrators[i].err.message);
        applied += migrators[i].result.applied;
        pool_free(migrators[i].pool);
    }
    cr_expect_eq(applied, 2 * (int)migration_count);
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM pg_roles WHERE rolname LIKE"
                                         " 'tekup\\_%' AND has_database_privilege(rolname, 'odd',"
                                         " 'CONNECT')"),
                     "6");
    PQfinish(conn);
}

/* ---- Grants ---- */

/* What a role may do with one table, tried rather than looked up: S I U D T (truncate) and C (make
 * a table in the schema). A right that is there may still meet a foreign key, a missing column or
 * the like; only "permission denied" counts as not. */
static void try_rights(PGconn *conn, const char *schema, const char *table, char out[8])
{
    static const struct {
        const char *before, *after;
    } statements[] = {
        {"SELECT FROM", ""},
        {"INSERT INTO", "DEFAULT VALUES"},
        {"UPDATE", "SET \"createdAt\" = now()"},
        {"DELETE FROM", ""},
        {"TRUNCATE", ""},
        {"CREATE TABLE", "(i int)"},
    };
    size_t used = 0;
    for (size_t i = 0; i < COUNT(statements); i++) {
        const bool create = strncmp(statements[i].before, "CREATE", 6) == 0;
        char sql[256];
        fixture_run(conn, "BEGIN");
        snprintf(sql, sizeof(sql), "%s %s.\"%s\" %s", statements[i].before, schema,
                 create ? "Made" : table, statements[i].after);
        PGresult *result = PQexec(conn, sql);
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state == NULL || strcmp(state, "42501") != 0) out[used++] = "SIUDTC"[i];
        PQclear(result);
        fixture_run(conn, "ROLLBACK");
    }
    out[used] = '\0';
}

/* A table of each schema with the column createdAt, so that every statement makes sense. */
static const char *const tables[] = {"VaultDocument", "BillyCache", "RenosLead", "CrmTask",
                                     "FlowSchedule",  "SharedUser", "Source"};

Test(grants, hold_for_every_role_in_every_schema)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    for (size_t i = 0; i < COUNT(services); i++) {
        char role[32];
        snprintf(role, sizeof(role), "tekup_%s", services[i]);
        PGconn *conn = fixture_connect(name, role);
        for (size_t j = 0; j < COUNT(schemas); j++) {
            char rights[8];
            try_rights(conn, schemas[j], tables[j], rights);
            const char *expected = strcmp(schemas[j], services[i]) == 0 ? "SIUDT"
                                   : strcmp(schemas[j], "shared") == 0  ? "SIUD"
                                                                        : "";
            cr_expect_str_eq(rights, expected, "%s in %s: \"%s\" instead of \"%s\"", role,
                             schemas[j], rights, expected);
        }
        PQfinish(conn);
    }
    pool_free(pool);
}

Test(grants, hold_for_every_table_and_sequence)
{
    char name[32], sql[1024];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_admin");
    for (size_t i = 0; i < COUNT(services); i++) {
        /* Relations where a right of the role is not what it should be. */
        snprintf(
            sql, sizeof(sql),
            "SELECT string_agg(c.oid::regclass || ' ' || p, ', ') FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace,"
            " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',"
            " 'TRIGGER']) p WHERE c.relkind = 'r' AND n.nspname IN ('vault', 'billy', 'renos',"
            " 'crm', 'flow', 'shared', 'tekupdb') AND has_table_privilege('tekup_%s', c.oid, p)"
            " <> (p NOT IN ('REFERENCES', 'TRIGGER') AND (n.nspname = '%s'"
            " OR n.nspname = 'shared' AND p <> 'TRUNCATE'))",
            services[i], services[i]);
        cr_expect_str_eq(fixture_value(conn, sql), "", "tekup_%s", services[i]);
        snprintf(sql, sizeof(sql),
                 "SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c"
                 " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND"
                 " has_sequence_privilege('tekup_%s', c.oid, 'USAGE') <> (n.nspname = '%s')",
                 services[i], services[i]);
        cr_expect_str_eq(fixture_value(conn, sql), "", "tekup_%s", services[i]);
    }
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) > 0 FROM pg_class WHERE relkind = 'S'"),
                     "t", "there are sequences to look at");
    PQfinish(conn);
    pool_free(pool);
}

Test(grants, reach_what_is_made_later)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *admin = fixture_connect(name, "tekup_admin");
    fixture_run(admin, "CREATE TABLE crm.\"Later\" (id serial PRIMARY KEY, \"createdAt\" date);"
                       "CREATE TABLE shared.\"Later\" (id serial PRIMARY KEY, \"createdAt\" date);"
                       "CREATE FUNCTION crm.later() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    PGconn *crm = fixture_connect(name, "tekup_crm");
    PGconn *flow = fixture_connect(name, "tekup_flow");
    fixture_run(crm, "INSERT INTO crm.\"Later\" DEFAULT VALUES");
    fixture_run(crm, "INSERT INTO shared.\"Later\" DEFAULT VALUES");
    fixture_run(flow, "INSERT INTO shared.\"Later\" DEFAULT VALUES");
    char rights[8];
    try_rights(flow, "crm", "Later", rights);
    cr_expect_str_eq(rights, "");
    cr_expect_str_eq(fixture_value(admin, "SELECT has_function_privilege('tekup_flow',"
                                          " 'crm.later()', 'EXECUTE')"),
                     "f");
    PQfinish(admin);
    PQfinish(crm);
    PQfinish(flow);
    pool_free(pool);
}

Test(grants, leave_nothing_to_everybody)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_flow");
    for (size_t i = 0; i < COUNT(schemas); i++) {
        char sql[160];
        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = '%s'"
                 " AND grantee = 0",
                 schemas[i]);
        cr_expect_str_eq(fixture_value(conn, sql), "0", "%s", schemas[i]);
    }
    cr_expect_str_eq(fixture_value(conn, "SELECT has_schema_privilege('tekup_flow', 'public',"
                                         " 'CREATE')"),
                     "f");
    cr_expect_str_eq(fixture_value(conn,
                                   "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR"
                                   " rolbypassrls FROM pg_roles WHERE rolname = current_user"),
                     "f");
    PQfinish(conn);
    pool_free(pool);
}

/* Sessions of the services write UTC into Prisma's columns, whatever the machine's zone. */
Test(grants, let_a_service_write_as_prisma_does)
{
    char name[32];
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "tekup_billy");
    fixture_run(conn, "INSERT INTO billy.\"BillyOrganization\" (id, name, \"billyApiKey\","
                      " \"billyOrgId\", \"updatedAt\") VALUES ('o', 'n', 'k', 'b', now())");
    fixture_run(conn,
                "INSERT INTO billy.\"BillyCache\" (id, \"organizationId\", \"cacheKey\", data,"
                " \"expiresAt\") VALUES ('c', 'o', 'k', '{}', now())");
    cr_expect_str_eq(fixture_value(conn,
                                   "SELECT abs(extract(epoch FROM \"createdAt\" -"
                                   " timezone('UTC', now()))) < 60 FROM billy.\"BillyCache\""),
                     "t");
    fixture_run(conn, "DELETE FROM billy.\"BillyOrganization\"");
    cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM billy.\"BillyCache\""), "0",
                     "deleting cascades");
    PQfinish(conn);
    pool_free(pool);
}

/* ---- pgvector ---- */

Test(migrate, converts_to_pgvector_or_says_what_is_missing)
{
    char name[32];
    bool converted;
    struct error err = {0};
    struct migration_result result;
    struct pool *pool = fixture_pool(1, name);
    PGconn *conn = fixture_connect(name, "postgres");
    const bool available = strcmp(fixture_value(conn, "SELECT count(*) FROM pg_available_extensions"
                                                      " WHERE name = 'vector'"),
                                  "0") != 0;
    if (!available) {
        cr_expect_eq(migrate_to_pgvector(pool, &converted, &err), -1);
        cr_expect_eq(err.code, ERR_NOT_FOUND);
        SAYS(err, "pgvector");
        SAYS(err, "install");
    } else {
        /* Back to what a server without the extension has, with a row in it. */
        fixture_run(conn,
                    "ALTER TABLE vault.\"VaultEmbedding\" ALTER COLUMN embedding TYPE real[];"
                    "ALTER TABLE vault.\"VaultEmbedding\" ADD CONSTRAINT"
                    " \"VaultEmbedding_embedding_check\" CHECK (cardinality(embedding) = 1536);"
                    "INSERT INTO vault.\"VaultDocument\" (id, source, repository, path, content,"
                    " \"updatedAt\") VALUES ('d', 's', 'r', 'p', 'c', now());"
                    "INSERT INTO vault.\"VaultEmbedding\" (\"documentId\", embedding)"
                    " VALUES ('d', array_fill(0.5::real, ARRAY[1536]))");
        cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
        cr_expect_not(result.pgvector);
        cr_expect_str_eq(fixture_value(conn, "SELECT id || similarity FROM vault.match_documents("
                                             "array_fill(2::real, ARRAY[1536]))"),
                         "d1");
        for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
            cr_assert_eq(migrate_to_pgvector(pool, &converted, &err), 0, "%s", err.message);
            cr_expect_eq(converted, i == 0);
        }
        cr_assert_eq(migrate(pool, &result, &err), 0, "%s", err.message);
        cr_expect(result.pgvector);
        cr_expect_str_eq(fixture_value(conn, "SELECT vector_dims(embedding) || ' ' ||"
                                             " l2_distance(embedding, embedding) FROM"
                                             " vault.\"VaultEmbedding\""),
                         "1536 0");
        cr_expect_str_eq(fixture_value(conn, "SELECT string_agg(oid::regprocedure::text, ' ') FROM"
                                             " pg_proc WHERE proname = 'match_documents'"),
                         "vault.match_documents(vector,double precision,integer,text,text)");
        cr_expect_str_eq(fixture_value(conn, "SELECT id || similarity FROM vault.match_documents("
                                             "array_fill(2::real, ARRAY[1536])::vector)"),
                         "d1");
        cr_expect_str_eq(fixture_value(conn, "SELECT count(*) FROM pg_constraint WHERE conname ="
                                             " 'VaultEmbedding_embedding_check'"),
                         "0");
    }
    PQfinish(conn);
    pool_free(pool);
}
