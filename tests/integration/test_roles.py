"""Each service's role may do to its own schema's rows what it likes, reads and writes `shared`, and can do
nothing else: for every role and every schema, every right, and every way to become somebody else. What the
server says of the rights is compared with what is granted, and what it does is tried: directly, and through
the daemon's PostgreSQL socket."""

import psycopg2
import pytest
from psycopg2 import errors

from daemon import Daemon
from server import Server
from vectors import unit

SERVICES = ["vault", "billy", "renos", "crm", "flow"]
SCHEMAS = [*SERVICES, "shared", "tekupdb"]
RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
OWN = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}
SHARED = {"SELECT", "INSERT", "UPDATE", "DELETE"}


def granted(service, schema):
    return OWN if schema == service else SHARED if schema == "shared" else set()


@pytest.fixture(scope="module", params=["private cluster", "DATABASE_URL"])
def daemon(request):
    server = None
    if request.param == "DATABASE_URL":
        server = Server()
        server.start()
        server.create_database("tekup_db")
    daemon = Daemon(database_url=server.url() if server else None)
    daemon.server_socket = server.base if server else daemon.run / "postgres"
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.clean_up()
        if server:
            server.close()


class Ways:
    """Connections of the roles, kept: one for each."""

    def __init__(self, host):
        self.host = host
        self.open = {}

    def __call__(self, role):
        if role not in self.open:
            connection = psycopg2.connect(host=str(self.host), port=5432, user=role, dbname="tekup_db")
            connection.autocommit = True
            self.open[role] = connection
        return self.open[role]


@pytest.fixture(scope="module", params=["directly", "through the daemon"])
def connect(request, daemon):
    if request.param == "directly":
        ways = Ways(daemon.server_socket)
    else:
        assert (daemon.run / ".s.PGSQL.5432").exists()
        ways = Ways(daemon.run)
    yield ways
    for connection in ways.open.values():
        connection.close()


@pytest.fixture(scope="module")
def tables(daemon):
    """The tables of each schema, with a column each."""
    found = {}
    for schema, table, column in daemon.sql(
            "SELECT n.nspname, c.relname, min(a.attname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT attisdropped"
            " AND a.attidentity = '' WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname = ANY(%s)"
            " GROUP BY 1, 2 ORDER BY 1, 2", SCHEMAS):
        found.setdefault(schema, []).append((f'{schema}."{table}"', f'"{column}"'))
    assert sum(len(found[schema]) for schema in SCHEMAS[:6]) == 32
    return found


def attempt(connection, statement, *parameters):
    """The error that the statement meets, or None; in a transaction that comes to nothing."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(statement, parameters)
            return None
        except psycopg2.Error as error:
            return error
        finally:
            cursor.execute("ROLLBACK")


def check(connection, statement, allowed):
    error = attempt(connection, statement)
    refused = isinstance(error, errors.InsufficientPrivilege)
    assert refused != allowed, f"{connection.info.user}: {statement}: {error}"
    if allowed:
        assert error is None or isinstance(error, (psycopg2.IntegrityError, errors.ObjectNotInPrerequisiteState)), (
            f"{connection.info.user}: {statement}: {error}")


# ---- What the server says ----


def test_rights_on_tables(daemon):
    rows = daemon.sql(
        "SELECT r.service, n.nspname, c.relname, p.name FROM unnest(%s) r (service),"
        " pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(%s) p (name)"
        " WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm')"
        " AND has_table_privilege('tekup_' || r.service, c.oid, p.name)", SERVICES, RIGHTS, SCHEMAS)
    names = daemon.sql("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)", SCHEMAS)
    expected = {(service, schema, table, right) for service in SERVICES for schema, table in names
                for right in granted(service, schema)}
    assert set(rows) == expected
    assert daemon.sql(
        "SELECT r.service, c.relname FROM unnest(%s) r (service), pg_class c JOIN pg_namespace n ON n.oid ="
        " c.relnamespace WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND n.nspname NOT IN (r.service, 'shared')"
        " AND has_any_column_privilege('tekup_' || r.service, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')",
        SERVICES, SCHEMAS) == [], "nor on single columns"


def test_rights_on_schemas_and_the_database(daemon):
    rows = daemon.sql(
        "SELECT r.service, n.nspname, p.name FROM unnest(%s) r (service), pg_namespace n,"
        " unnest(ARRAY['USAGE', 'CREATE']) p (name) WHERE n.nspname !~ '^pg_|^information_schema$'"
        " AND has_schema_privilege('tekup_' || r.service, n.oid, p.name)", SERVICES)
    assert set(rows) == {(service, schema, "USAGE") for service in SERVICES
                         for schema in (service, "shared", "public")}
    rows = daemon.sql(
        "SELECT r.service, d.datname, p.name FROM unnest(%s) r (service), pg_database d,"
        " unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p (name) WHERE d.datname = current_database()"
        " AND has_database_privilege('tekup_' || r.service, d.oid, p.name)", SERVICES)
    assert set(rows) == {(service, "tekup_db", right) for service in SERVICES for right in ("CONNECT", "TEMPORARY")}


def test_rights_on_sequences(daemon):
    rows = daemon.sql(
        "SELECT r.service, n.nspname, p.name FROM unnest(%s) r (service), pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p (name)"
        " WHERE c.relkind = 'S' AND n.nspname = ANY(%s)"
        " AND has_sequence_privilege('tekup_' || r.service, c.oid, p.name)", SERVICES, SCHEMAS)
    assert set(rows) == {(schema, schema, right) for schema in ("vault", "flow")
                         for right in ("USAGE", "SELECT", "UPDATE")}


def test_rights_on_functions(daemon):
    rows = daemon.sql(
        "SELECT r.service, n.nspname, p.proname FROM unnest(%s) r (service), pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY(%s)"
        " AND has_function_privilege('tekup_' || r.service, p.oid, 'EXECUTE')", SERVICES, SCHEMAS)
    assert rows == [("vault", "vault", "match_documents")]


def test_security_definers_are_closed(daemon):
    """None is open to everybody, none finds a name by its caller's search_path."""
    rows = daemon.sql(
        "SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner), p.proconfig, EXISTS (SELECT FROM"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)"
        " FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.prosecdef AND l.lanname <> 'c' ORDER BY 1")
    assert len(rows) == 4
    for name, owner, settings, public in rows:
        assert owner == "tekup_admin", name
        assert "search_path=pg_catalog, pg_temp" in settings, name
        assert not public, name


def test_roles_are_plain(daemon):
    rows = daemon.sql(
        "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,"
        " ARRAY(SELECT pg_get_userbyid(m.roleid)::text FROM pg_auth_members m WHERE m.member = r.oid)"
        " FROM pg_roles r WHERE rolname = ANY(%s) ORDER BY 1", [f"tekup_{service}" for service in SERVICES])
    assert rows == [(f"tekup_{service}", False, []) for service in sorted(SERVICES)]
    owned = daemon.sql(
        "SELECT count(*) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid WHERE s.deptype = 'o'"
        " AND r.rolname = ANY(%s)", [f"tekup_{service}" for service in SERVICES])
    assert owned == [(0,)]


def test_what_is_made_later_is_granted_the_same_way(daemon):
    with daemon.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE tekup_admin")
        for schema in SCHEMAS:
            cursor.execute(f'CREATE TABLE {schema}.later (i serial); CREATE FUNCTION {schema}.later() RETURNS int'
                           " LANGUAGE sql AS 'SELECT 1'")
        cursor.execute(
            "SELECT r.service, n.nspname, p.name FROM unnest(%s) r (service), pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace, unnest(%s) p (name) WHERE c.relname = 'later'"
            " AND has_table_privilege('tekup_' || r.service, c.oid, p.name)", (SERVICES, RIGHTS))
        assert set(cursor.fetchall()) == {(service, schema, right) for service in SERVICES for schema in SCHEMAS
                                          for right in granted(service, schema)}
        cursor.execute(
            "SELECT r.service, n.nspname FROM unnest(%s) r (service), pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relname = 'later_i_seq'"
            " AND has_sequence_privilege('tekup_' || r.service, c.oid, 'USAGE')", (SERVICES,))
        assert set(cursor.fetchall()) == {(service, schema) for service in SERVICES for schema in (service, "shared")}
        cursor.execute(
            "SELECT count(*) FROM unnest(%s) r (service), pg_proc p WHERE p.proname = 'later'"
            " AND has_function_privilege('tekup_' || r.service, p.oid, 'EXECUTE')", (SERVICES,))
        assert cursor.fetchone()[0] == 0
        connection.rollback()


# ---- What it does ----


@pytest.mark.parametrize("service", SERVICES)
def test_rows(connect, tables, service):
    connection = connect(f"tekup_{service}")
    for schema in SCHEMAS:
        rights = granted(service, schema)
        names = ", ".join(name for name, _ in tables[schema])
        for name, column in tables[schema]:
            check(connection, f"SELECT {column} FROM {name} LIMIT 1", "SELECT" in rights)
            check(connection, f"SELECT count(*) FROM {name}", "SELECT" in rights)
            check(connection, f"SELECT FROM {name} FOR UPDATE", "UPDATE" in rights)
            check(connection, f"INSERT INTO {name} DEFAULT VALUES", "INSERT" in rights)
            check(connection, f"UPDATE {name} SET {column} = {column}", "UPDATE" in rights)
            check(connection, f"DELETE FROM {name}", "DELETE" in rights)
            check(connection, f"LOCK TABLE {name} IN ACCESS SHARE MODE", "SELECT" in rights)
        check(connection, f"TRUNCATE {names} CASCADE", "TRUNCATE" in rights)


DDL = [
    "ALTER TABLE {table} ADD COLUMN more int",
    "ALTER TABLE {table} OWNER TO tekup_{service}",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "DROP TABLE {table} CASCADE",
    "CREATE INDEX ON {table} ({column})",
    "CREATE TRIGGER t AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO {table} DO NOTHING",
    "CREATE POLICY p ON {table}",
    "COMMENT ON TABLE {table} IS 'x'",
    "CREATE TABLE {schema}.x (i int)",
    "CREATE VIEW {schema}.x AS SELECT 1",
    "CREATE SEQUENCE {schema}.x",
    "CREATE TYPE {schema}.x AS (i int)",
    "CREATE FUNCTION {schema}.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER SCHEMA {schema} RENAME TO x",
    "DROP SCHEMA {schema} CASCADE",
    "ALTER DEFAULT PRIVILEGES FOR ROLE tekup_admin IN SCHEMA {schema} GRANT ALL ON TABLES TO PUBLIC",
]


@pytest.mark.parametrize("service", SERVICES)
def test_definitions(connect, tables, service):
    connection = connect(f"tekup_{service}")
    for schema in SCHEMAS:
        table, column = tables[schema][0]
        for statement in DDL:
            check(connection, statement.format(table=table, column=column, schema=schema, service=service), False)
        # PostgreSQL only warns of a grant that grants nothing.
        for statement in (f"GRANT SELECT ON {table} TO PUBLIC", f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC"):
            attempt(connection, statement)
    for statement in ("CREATE SCHEMA x", "CREATE TABLE public.x (i int)", "CREATE EXTENSION hstore",
                      "CREATE ROLE x", "ALTER DATABASE tekup_db SET work_mem TO '1MB'",
                      "CREATE EVENT TRIGGER x ON ddl_command_end EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
                      "CREATE PUBLICATION x FOR ALL TABLES", "ALTER SYSTEM SET work_mem TO '1MB'"):
        error = attempt(connection, statement)
        assert isinstance(error, (errors.InsufficientPrivilege, errors.ActiveSqlTransaction,
                                  errors.FeatureNotSupported, errors.UndefinedFile)), f"{statement}: {error}"


@pytest.mark.parametrize("service", SERVICES)
def test_sequences_and_functions(connect, service):
    connection = connect(f"tekup_{service}")
    sequence = "'vault.\"VaultEmbedding_id_seq\"'"
    for call in (f"nextval({sequence})", f"setval({sequence}, 1000000)"):
        check(connection, f"SELECT {call}", service == "vault")
    check(connection, "SELECT nextval('tekupdb.\"Change_seq_seq\"')", False)
    vector = "{" + ",".join(map(str, unit(0))) + "}"
    check(connection, f"SELECT * FROM vault.match_documents('{vector}'::real[])", service == "vault")
    for function in ("tekupdb.feed_identity()", "tekupdb.define_match_documents()",
                     "tekupdb.ask_index(NULL, 0, 1, NULL, NULL)", "tekupdb.dblink_get_connections()",
                     "tekupdb.dblink_connect('host=/tmp')", "tekupdb.dblink_connect_u('host=/tmp')",
                     "tekupdb.record_documents()", "pg_read_file('/etc/passwd')", "pg_ls_dir('.')",
                     "lo_import('/etc/passwd')", "pg_reload_conf()"):
        check(connection, f"SELECT {function}", False)
    for statement in ("COPY shared.\"SharedUser\" TO '/tmp/x'", "COPY shared.\"SharedUser\" TO PROGRAM 'cat'",
                      "DO LANGUAGE plpgsql $$ BEGIN PERFORM * FROM tekupdb.\"Door\"; END $$"):
        check(connection, statement, False)


# ---- Becoming somebody else ----


@pytest.mark.parametrize("service,other", [(service, other) for service in SERVICES
                                           for other in [*SERVICES, "admin"] if other != service])
def test_nobody_becomes_another(connect, service, other):
    connection = connect(f"tekup_{service}")
    for statement in (f"SET ROLE tekup_{other}", f"SET LOCAL ROLE tekup_{other}",
                      f"SET SESSION AUTHORIZATION tekup_{other}", f"SET LOCAL SESSION AUTHORIZATION tekup_{other}",
                      f"SELECT set_config('role', 'tekup_{other}', true)",
                      f"SELECT set_config('session_authorization', 'tekup_{other}', true)",
                      f"GRANT tekup_{other} TO tekup_{service}", f"ALTER ROLE tekup_{other} PASSWORD 'x'",
                      f"ALTER ROLE tekup_{other} SET search_path TO x", f"DROP ROLE tekup_{other}",
                      f"REASSIGN OWNED BY tekup_{other} TO tekup_{service}", "SET ROLE postgres",
                      "SET SESSION AUTHORIZATION postgres", f"ALTER ROLE tekup_{service} SUPERUSER",
                      f"ALTER ROLE tekup_{service} CREATEROLE"):
        check(connection, statement, False)
    with connection.cursor() as cursor:
        for statement in ("RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION",
                          "SET SESSION AUTHORIZATION DEFAULT", f"SET ROLE tekup_{service}", "RESET ROLE"):
            cursor.execute(statement)
            cursor.execute("SELECT current_user, session_user")
            assert cursor.fetchone() == (f"tekup_{service}", f"tekup_{service}"), statement
    table = 'crm."CrmCompany"' if service != "crm" else 'billy."BillyInvoice"'
    check(connection, f"TABLE {table}", False)


def test_triggers_write_the_feed_for_whom_may_not(connect, daemon):
    """A SECURITY DEFINER function does for the caller what the caller could not, and no more."""
    connection = connect("tekup_vault")
    with connection.cursor() as cursor:
        cursor.execute('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                       " VALUES ('feed', 's', 'r', 'p', 'c', now()) RETURNING current_user::text")
        assert cursor.fetchone()[0] == "tekup_vault"
        cursor.execute("DELETE FROM vault.\"VaultDocument\" WHERE id = 'feed'")
    check(connection, 'TABLE tekupdb."Change"', False)
    assert daemon.sql("SELECT DISTINCT action FROM tekupdb.\"Change\" WHERE id = 'feed'") in ([], [("i",), ("d",)], [("d",), ("i",)])
