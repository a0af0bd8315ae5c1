"""pg_dump and pg_restore by the daemon's socket: what is dumped is to the byte what PostgreSQL's socket
gives, and a restored database is the same."""

import re

import pytest

DUMPED = ["vault", "billy", "renos", "crm", "flow", "shared", "tekupdb"]


@pytest.fixture(scope="module")
def filled(doors):
    """Some rows in every kind of column."""
    doors.superuser("""
        INSERT INTO billy."BillyOrganization" (id, name, "billyApiKey", "billyOrgId", settings, "updatedAt")
            SELECT 'o' || g, 'Organization ' || g || E' \\u00e6\\n\\t\\\\', 'key', 'org' || g, '{"a": [1, null]}', '2026-01-01'
            FROM generate_series(1, 200) g;
        INSERT INTO billy."BillyCache" (id, "organizationId", "cacheKey", data, "expiresAt")
            SELECT 'c' || g, 'o' || 1 + g % 200, 'key' || g, to_jsonb(repeat('x', g % 3000)), '2026-01-01'
            FROM generate_series(1, 5000) g;
        INSERT INTO renos."RenosCustomer" (id, name, tags, "updatedAt") VALUES ('c', 'n', '{a,"b,c",NULL}', '2026-01-01');
        INSERT INTO flow."FlowWorkflow" (id, name, trigger, nodes, edges, owner, "updatedAt")
            VALUES ('w', 'n', '{}', '[]', '[]', 'me', '2026-01-01');
        INSERT INTO flow."FlowExecution" (id, "workflowId", "updatedAt") VALUES ('e', 'w', '2026-01-01');
        INSERT INTO flow."FlowExecutionLog" ("executionId", level, message) SELECT 'e', 'info', g FROM generate_series(1, 50) g;
        INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")
            SELECT 'd' || g, 'github', 'r', g, 'text', '2026-01-01' FROM generate_series(1, 20) g;
        INSERT INTO vault."VaultEmbedding" ("documentId", embedding)
            SELECT 'd' || g, array_agg(sin(g * i)::real) FROM generate_series(1, 20) g, generate_series(1, 1536) i GROUP BY g;
        """)


def dump(doors, host, *options, role="tekup_admin", database=None):
    done = doors.run(["pg_dump", *options, *(["-d", database] if database else [])], host, role)
    assert done.returncode == 0, done.stderr
    # Since 2025 each dump is guarded by a word of its own.
    return re.sub(r"(?m)^\\(un)?restrict .*\n", "", done.stdout)


def test_a_dump_is_the_same(doors, filled):
    # The daemon itself writes to tekupdb at any moment: its feed is trimmed, its positions move.
    schemas = [f"--schema={schema}" for schema in DUMPED] + ["--exclude-table-data=tekupdb.*"]
    through = dump(doors, doors.through, *schemas)
    assert through == dump(doors, doors.direct, *schemas)
    assert through.count("\nCREATE TABLE ") >= 32 and "\nCOPY billy.\"BillyCache\"" in through


def test_a_service_dumps_its_schema(doors, filled):
    assert dump(doors, doors.through, "--schema=billy", role="tekup_billy") == \
        dump(doors, doors.direct, "--schema=billy", role="tekup_billy")
    refused = doors.run(["pg_dump", "--schema=vault"], doors.through, "tekup_billy")
    assert refused.returncode != 0 and "permission denied for schema vault" in refused.stderr


def test_a_restored_database_is_the_same(doors, filled, tmp_path):
    """Dumped by three connections at once, which share a snapshot."""
    # The daemon itself writes to tekupdb at any moment: its feed is trimmed, its positions move.
    schemas = [f"--schema={schema}" for schema in DUMPED] + ["--exclude-table-data=tekupdb.*"]
    dump(doors, doors.through, "-Fd", "-j", "3", "-f", tmp_path / "dump", *schemas)
    doors.superuser("CREATE DATABASE restored TEMPLATE template0", "postgres")
    try:
        done = doors.run(["pg_restore", "-d", "restored", tmp_path / "dump"], doors.direct, "postgres")
        assert done.returncode == 0, done.stderr
        assert dump(doors, doors.direct, *schemas, role="postgres", database="restored") == \
            dump(doors, doors.direct, *schemas, role="postgres")
    finally:
        doors.superuser("DROP DATABASE restored", "postgres")


def test_rows_come_back_by_the_socket(doors, filled, tmp_path):
    before = dump(doors, doors.direct, "--schema=billy")
    dump(doors, doors.through, "-Fc", "-a", "-f", tmp_path / "rows", "--schema=billy", role="tekup_billy")
    doors.superuser('TRUNCATE billy."BillyOrganization" CASCADE')
    assert dump(doors, doors.direct, "--schema=billy") != before
    done = doors.run(["pg_restore", "-d", "tekup_db", "-a", tmp_path / "rows"], doors.through, "tekup_billy")
    assert done.returncode == 0, done.stderr
    assert dump(doors, doors.direct, "--schema=billy") == before
