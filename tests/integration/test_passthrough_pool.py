"""Few server connections for many clients: leased for a transaction, waited for in turn, and given
back clean by whoever goes, however that is."""

import signal
import struct
import subprocess
import threading
import time

import psycopg2
import pytest

from daemon import Daemon, is_running, wait_for
from wire import Wire, bind, cancel, execute, message, parse, query, startup, text, SYNC

ROLES = ["tekup_vault", "tekup_billy", "tekup_renos", "tekup_crm", "tekup_flow", "tekup_admin"]


WAIT_S = 10  # for a connection


def superuser(daemon):
    connection = psycopg2.connect(host=str(daemon.run / "postgres"), user="postgres", dbname="tekup_db")
    connection.autocommit = True
    return connection


def ask(daemon, sql):
    connection = superuser(daemon)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall()
    connection.close()
    return rows


def terminate(daemon, condition):
    """Ends server processes and waits until they are gone."""
    connection = superuser(daemon)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pid FROM pg_stat_activity WHERE {condition}")
        pids = [pid for pid, in cursor.fetchall()]
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", (pids,))
    connection.close()
    wait_for(lambda: not any(is_running(pid) for pid in pids), "the server processes to end")


def figures(daemon, role="tekup_billy"):
    roles = daemon.client.status()["passthrough"]["roles"]
    return next(found for found in roles if found["role"] == role)


@pytest.fixture(scope="module")
def daemon():
    daemon = Daemon(config=f"[passthrough]\nconnection_limit = 3\nwait_timeout = {WAIT_S}\n")
    try:
        daemon.start()
        daemon.sql("CREATE TABLE IF NOT EXISTS billy.things (a int)")
        daemon.sql("GRANT ALL ON billy.things TO tekup_billy")
        yield daemon
    finally:
        daemon.clean_up()


@pytest.fixture(autouse=True)
def everything_given_back(daemon):
    """After each test, and after its clients have gone."""
    yield
    wait_for(lambda: figures(daemon)["leased"] == 0, "everything to be given back")


def server_connections(daemon):
    return ask(daemon, "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'tekup%' AND usename <>"
                       " 'tekup_admin'")[0][0]


def test_many_clients_share_few_connections(daemon, wires):
    clients = [wires() for _ in range(50)]
    wrong = []

    def work(client, number):
        for turn in range(20):
            if client.value(f"SELECT {number} * 1000 + {turn}") != str(number * 1000 + turn):
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=pair[::-1]) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, server_connections(daemon))
    for thread in threads:
        thread.join()
    assert not wrong
    assert most <= 3
    assert figures(daemon)["clients"] == 50


def test_every_role_gets_its_turn(daemon):
    """Two roles more than there are connections, each with more clients than it could have."""
    done, failures = {role: 0 for role in ROLES[:5]}, []
    end = time.monotonic() + 2

    def work(role):
        try:
            with Wire(daemon.run, role) as client:
                while time.monotonic() < end or not done[role]:
                    assert client.value("SELECT current_user") == role
                    done[role] += 1
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(role,)) for role in ROLES[:5] for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and all(done.values()), (done, failures)


def test_the_wait_has_an_end(daemon, wires):
    holders = [wires() for _ in range(3)]
    for holder in holders:
        holder.rows("BEGIN")
    before = figures(daemon)["timeouts"]
    waits = wires()
    began = time.monotonic()
    said = waits.error(query("SELECT 1"))
    assert (said["S"], said["C"]) == ("FATAL", "53300")
    assert f"timed out after {WAIT_S} s" in said["M"]
    assert WAIT_S - 1 < time.monotonic() - began < 60
    assert waits.read() is None
    # In their turn: who comes first is served first.
    first, second = wires(), wires()
    first.send(query("SELECT 'first'"))
    wait_for(lambda: figures(daemon)["waiting"] == 1, "the first to wait")
    second.send(query("SELECT 'second'"))
    wait_for(lambda: figures(daemon)["waiting"] == 2, "both to wait")
    holders[0].rows("COMMIT")
    assert [found.kind for found in first.until_ready()] == list("TDCZ")
    assert [found.kind for found in second.until_ready()] == list("TDCZ")
    assert figures(daemon)["timeouts"] == before + 1


def test_a_client_that_goes_in_a_transaction(daemon, wires):
    first = wires()
    first.rows("BEGIN")
    first.rows("INSERT INTO billy.things VALUES (7)")
    pid = first.value("SELECT pg_backend_pid()")
    first.close()
    wait_for(lambda: figures(daemon)["leased"] == 0, "the connection to be given back")
    others = [wires() for _ in range(3)]
    for other in others:
        other.rows("BEGIN")
    assert pid in [other.value("SELECT pg_backend_pid()") for other in others]
    assert {other.value("SELECT count(*) FROM billy.things") for other in others} == {"0"}


@pytest.mark.parametrize("leave", ["query", "extended", "copy", "copy extended", "half", "large"])
def test_a_client_that_goes_in_the_middle(daemon, wires, leave):
    first = wires()
    if leave == "query":
        first.send(query("SELECT pg_sleep(600)"))
    elif leave == "extended":
        first.send(parse("", "SELECT pg_sleep(600)"), bind(), execute())
    elif leave == "copy":
        first.send(query("COPY billy.things FROM STDIN"))
        assert first.read().kind == "G"
        first.send(message("d", b"1\n"))
    elif leave == "copy extended":
        first.send(parse("", "COPY billy.things FROM STDIN"), bind(), execute(), SYNC)
        assert [first.read().kind for _ in range(3)] == list("12G")
        first.send(message("d", b"1\n"))
    elif leave == "half":
        first.send(query("SELECT '" + "x" * 100000 + "'")[:90000])
    else:
        first.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"))
        first.read()
    if leave != "half":
        wait_for(lambda: figures(daemon)["leased"] == 1, "the query to run")
    first.close()
    wait_for(lambda: figures(daemon)["leased"] == 0, "the connection to be given back")
    wait_for(lambda: ask(daemon, "SELECT count(*) FROM pg_stat_activity WHERE usename ="
                                 " 'tekup_billy' AND state <> 'idle'")[0][0] == 0,
             "the server to be done")
    second = wires()
    assert second.value("SELECT count(*) FROM billy.things") == "0"
    # The server ends a session a moment after it was closed, when another has taken its place.
    wait_for(lambda: server_connections(daemon) <= 3, "the server to have as few connections")


def test_cancel(daemon, wires):
    first, second = wires(), wires()
    lock = superuser(daemon)
    lock.cursor().execute("SELECT pg_advisory_lock(77)")
    first.send(query("SELECT pg_sleep(600)"))
    second.send(query("SELECT pg_advisory_xact_lock(77)"))
    wait_for(lambda: ask(daemon, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tekup_billy'"
                                 " AND wait_event IN ('PgSleep', 'advisory')") == [(2,)], "both to run")
    cancel(daemon.run, (first.key[0], first.key[1] ^ 1))
    cancel(daemon.run, (first.key[0] + 1000, first.key[1]))
    cancel(daemon.run, first.key)
    said = first.until_ready()
    assert said[-2].fields()["C"] == "57014"
    lock.close()
    assert [found.kind for found in second.until_ready()] == list("TDCZ")
    # One that comes too late hits nobody.
    for _ in range(50):
        cancel(daemon.run, first.key)
        assert second.value("SELECT 1") == "1"
        assert first.value("SELECT 1") == "1"
        first.send(query("SELECT 1"))
        cancel(daemon.run, first.key)
        assert second.value("SELECT 1") == "1"
        first.until_ready()


def test_a_connection_that_dies_under_a_client(daemon, wires):
    first, second = wires(), wires()
    second.rows("BEGIN")
    first.rows("BEGIN")
    terminate(daemon, "pid = " + first.value("SELECT pg_backend_pid()"))
    said = first.ask(query("SELECT 1"))
    assert said[0].fields()["S"] == "FATAL" and said[0].fields()["C"] == "57P01"
    assert first.read() is None
    assert second.value("SELECT 1") == "1"
    second.rows("COMMIT")
    third = wires()
    assert third.value("SELECT 1") == "1"
    assert figures(daemon)["lost"] >= 1


def test_idle_connections_that_died_are_not_given_out(daemon, wires):
    clients = [wires() for _ in range(3)]
    for _ in range(5):
        terminate(daemon, "usename = 'tekup_billy'")
        for client in clients:
            assert client.value("SELECT 1") == "1"


def test_a_restart_costs_running_transactions_and_nothing_else(make_daemon):
    daemon = make_daemon()
    daemon.start()
    with Wire(daemon.run) as idle, Wire(daemon.run) as busy:
        idle.ask(parse("mine", "SELECT 'mine'"), SYNC)
        busy.rows("BEGIN")
        subprocess.run(["kill", "-INT", str(daemon.postmaster_pid())], check=True)
        assert busy.until_ready()[-1].fields()["C"] == "57P01"
        assert busy.read() is None
        said = idle.ask(bind("mine"), execute(), SYNC)
        assert [found.kind for found in said] == list("2DCZ")
    with Wire(daemon.run) as new:
        assert new.value("SELECT 1") == "1"


def test_the_end_of_the_daemon_is_told(make_daemon):
    daemon = make_daemon()
    daemon.start()
    with Wire(daemon.run) as client:
        daemon.process.send_signal(signal.SIGTERM)
        said = client.until_ready()
        assert said[-1].fields()["C"] == "57P01"
    assert daemon.wait_exit() == 0


def test_copy(daemon, wires):
    first = wires()
    rows = "".join(f"{number}\n" for number in range(100000)).encode()
    first.send(query("BEGIN"), query("COPY billy.things FROM STDIN"))
    assert [found.kind for found in first.until_ready()] == list("CZ")
    assert first.read().kind == "G"
    first.send(message("d", rows), SYNC, message("c"))
    assert [found.kind for found in first.until_ready()] == list("CZ")
    said = first.ask(query("COPY billy.things TO STDOUT"))
    assert b"".join(found.body for found in said if found.kind == "d") == rows
    # By the extended protocol, with a Sync that the server takes no notice of.
    first.send(parse("", "COPY billy.things FROM STDIN"), bind(), execute(), SYNC)
    assert [first.read().kind for _ in range(3)] == list("12G")
    assert first.kinds(message("d", b"1\n"), message("c"), SYNC) == "CZ"
    # One that fails: what still comes of it is dropped.
    first.send(query("ROLLBACK"), query("COPY billy.things FROM STDIN"))
    first.until_ready()
    assert first.read().kind == "G"
    first.send(message("d", b"wrong\n"))
    assert [found.kind for found in first.until_ready()] == list("EZ")
    first.send(message("d", b"1\n"), message("c"))
    assert first.value("SELECT count(*) FROM billy.things") == "0"
    first.send(query("COPY billy.things FROM STDIN"))
    first.read()
    assert first.error(message("f", text("no")))["C"] == "57014"
    wait_for(lambda: figures(daemon)["leased"] == 0, "the connection to be given back")


def test_pipelined_simple_queries(wires):
    first = wires()
    first.send(*[query(f"SELECT {number}") for number in range(2000)])
    for number in range(2000):
        said = first.until_ready()
        assert said[1].row() == (str(number),)


def test_large_results_and_large_queries(wires):
    first, second = wires(), wires()
    assert len(first.value("SELECT repeat('x', 50000000)")) == 50000000
    assert first.value("SELECT length('" + "x" * 20000000 + "')") == "20000000"
    assert second.value("SELECT 1") == "1"


def test_the_login_is_the_role_itself(daemon, wires):
    for role in ROLES:
        client = wires(role)
        assert client.rows("SELECT session_user, current_user") == [(role, role)]
        for statement in ("SET ROLE tekup_admin", "SET SESSION AUTHORIZATION postgres"):
            if role != "tekup_admin":
                assert client.error(query(statement))["C"] == "42501", (role, statement)
        for statement in ("RESET ROLE", "RESET SESSION AUTHORIZATION"):
            client.rows(statement)
        assert client.value("SELECT current_user") == role


def test_who_may_not(daemon):
    for parameters, state, said in (
        ({"user": "postgres"}, "28000", 'Peer authentication failed for user "postgres"'),
        ({"user": "nobody"}, "28000", 'Peer authentication failed for user "nobody"'),
        ({"database": "other"}, "3D000", 'database "other" does not exist'),
        ({"nothing_known": "1"}, "42704", 'unrecognized configuration parameter "nothing_known"'),
        ({"TimeZone": "Nowhere"}, "22023", 'invalid value for parameter "TimeZone": "Nowhere"'),
        ({"options": "-d 5"}, "42601", "invalid command-line argument for server process: -d 5"),
        ({"replication": "database"}, "0A000", "replication does not pass through tekupd"),
    ):
        with Wire(daemon.run, login=False) as wire:
            error = wire.error(startup(**parameters))
            assert (error["S"], error["C"], error["M"]) == ("FATAL", state, said)
            assert wire.read() is None


def test_what_comes_before_a_startup(daemon):
    with Wire(daemon.run, login=False) as wire:
        for code in (5679, 5680):
            wire.send(struct.pack("!II", 8, 1234 << 16 | code))
            assert wire.socket.recv(1) == b"N"
        assert wire.ask(startup())[-1].kind == "Z"
    with Wire(daemon.run, login=False) as wire:
        said = wire.ask(startup(version=3 << 16 | 2, **{"_pq_.more": "1"}))
        assert said[0].kind == "v"
        assert said[0].body == struct.pack("!II", 3 << 16, 1) + b"_pq_.more\0"
        assert said[-1].kind == "Z"
    with Wire(daemon.run, login=False) as wire:
        error = wire.error(startup(version=2 << 16))
        assert error["C"] == "0A000" and "unsupported frontend protocol 2.0" in error["M"]


def test_what_it_says_of_itself_is_what_postgresql_says(daemon, wires):
    direct = superuser(daemon)
    through = wires().parameters
    names = ["server_version", "server_encoding", "client_encoding", "DateStyle", "IntervalStyle",
             "TimeZone", "integer_datetimes", "standard_conforming_strings", "in_hot_standby",
             "default_transaction_read_only"]
    for name in names:
        assert through[name] == direct.get_parameter_status(name) or name == "client_encoding"
    assert through["session_authorization"] == "tekup_billy" and through["is_superuser"] == "off"
    direct.close()


def test_metrics(daemon, wires):
    wires().value("SELECT 1")
    answer = daemon.client.get("/metrics")
    assert answer.status == 200
    lines = answer.body.decode().splitlines()
    assert any(line.startswith('tekupdb_passthrough_transactions_total{role="tekup_billy"} ')
               for line in lines)
    assert "tekupdb_passthrough_server_connection_limit 3" in lines
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ", "tekupdb_", "process_")), line
    assert b"tekup_billy" in daemon.tekup("status").stdout
