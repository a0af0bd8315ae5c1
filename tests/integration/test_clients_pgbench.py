"""pgbench by the daemon's socket: 50 clients on 10 server connections in each of its three protocols, and
not a cent is lost."""

import re

import pytest

from daemon import sanitizer

CLIENTS = 50
CONNECTIONS = 10


@pytest.fixture(scope="module")
def bank(doors):
    """pgbench's own tables, made by an administrator for a service."""
    assert doors.run(["pgbench", "-i", "-q", "-s", "3"], doors.direct, "postgres").returncode == 0
    doors.superuser("GRANT ALL ON pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history TO tekup_billy")


def pgbench(doors, *options, role="tekup_billy"):
    done = doors.run(["pgbench", "-n", "-c", CLIENTS, "-j", 2, *options], doors.through, role)
    assert done.returncode == 0, done.stderr
    assert re.search(r"number of failed transactions: 0 ", done.stdout) or "failed" not in done.stdout, done.stdout
    return int(re.search(r"actually processed: (\d+)", done.stdout).group(1))


def few_connections(doors):
    """The server ends a session a moment after it was closed, when another has taken its place."""
    doors.wait_sql(f"count(*) BETWEEN 1 AND {CONNECTIONS} FROM pg_stat_activity WHERE usename = 'tekup_billy'",
                   "the server to have a few connections")


@pytest.mark.plain
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_nothing_is_lost(doors, bank, mode):
    doors.superuser("TRUNCATE pgbench_history; UPDATE pgbench_accounts SET abalance = 0;"
                    "UPDATE pgbench_branches SET bbalance = 0; UPDATE pgbench_tellers SET tbalance = 0")
    processed = pgbench(doors, "-M", mode, "-t", 10 if sanitizer() else 40)
    few_connections(doors)
    sums = doors.superuser("SELECT (SELECT count(*) FROM pgbench_history), (SELECT sum(delta) FROM pgbench_history) ="
                           " (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches) ="
                           " (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(abalance) FROM pgbench_accounts) ="
                           " (SELECT sum(tbalance) FROM pgbench_tellers)")
    assert sums == f"{processed}|t|t|t"


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_many_read(doors, bank, mode):
    assert pgbench(doors, "-M", mode, "-S", "-t", 40) == 40 * CLIENTS
    few_connections(doors)


def test_a_connection_for_each_transaction(doors, bank):
    assert pgbench(doors, "-C", "-S", "-t", 5) == 5 * CLIENTS
    few_connections(doors)


def test_a_pipeline(doors, bank, tmp_path):
    """Statements that are sent without waiting for the answers of those before."""
    script = tmp_path / "script"
    script.write_text("\\set aid random(1, 300000)\n\\startpipeline\n" +
                      "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n" * 20 +
                      "BEGIN;\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\nCOMMIT;\n\\endpipeline\n")
    for mode in "extended", "prepared":
        assert pgbench(doors, "-M", mode, "-f", script, "-t", 10) == 10 * CLIENTS
