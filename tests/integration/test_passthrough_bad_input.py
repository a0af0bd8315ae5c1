"""Whatever comes over the PostgreSQL socket, its client is told and ended, memory stays bounded, and
everybody else goes on."""

import os
import random
import socket
import struct
import time

import pytest

from daemon import Daemon, process_figure, sanitizer, wait_for
from test_passthrough_pool import figures
from wire import (FLUSH, SYNC, Wire, bind, close, describe, execute, message, parse, query, startup,
                  text)

CLIENTS = 300


@pytest.fixture(scope="module")
def daemon():
    daemon = Daemon(config=f"[passthrough]\nconnection_limit = 3\nclients = {CLIENTS}\nwait_timeout = 60\n")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.clean_up()


@pytest.fixture(autouse=True)
def others_go_on(daemon):
    """A client from before and a new one are served as if nothing had been."""
    with Wire(daemon.run) as before:
        yield
        assert before.value("SELECT 1") == "1"
        with Wire(daemon.run) as after:
            assert after.value("SELECT 1") == "1"
    wait_for(lambda: figures(daemon)["leased"] == 0, "all connections to be given back")


@pytest.mark.parametrize("packet", [
    struct.pack("!I", 0), struct.pack("!I", 7), struct.pack("!I", 10005), struct.pack("!I", 0xFFFFFFFF),
    b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", bytes(range(255, 155, -1)),
])
def test_startup_packets_that_are_none(daemon, packet):
    with Wire(daemon.run, login=False) as wire:
        error = wire.error(packet)
        assert (error["S"], error["C"], error["M"]) == (
            "FATAL", "08P01", "invalid length of startup packet")
        assert wire.read() is None


@pytest.mark.parametrize("body", [
    b"user\0tekup_billy", b"user\0tekup_billy\0database", b"user\0tekup_billy\0\0more",
])
def test_startup_packets_that_do_not_end(daemon, body):
    body = struct.pack("!I", 3 << 16) + body
    with Wire(daemon.run, login=False) as wire:
        error = wire.error(struct.pack("!I", len(body) + 4) + body)
        assert error["C"] == "08P01" and "terminator" in error["M"]


def test_a_startup_without_a_user(daemon):
    body = struct.pack("!I", 3 << 16) + b"\0"
    with Wire(daemon.run, login=False) as wire:
        assert wire.error(struct.pack("!I", len(body) + 4) + body)["C"] == "28000"


def test_a_startup_that_does_not_come(daemon):
    with Wire(daemon.run, login=False) as silent, Wire(daemon.run, login=False) as slow:
        slow.send(startup()[:20])
        for wire in (silent, slow):
            assert wire.read().fields()["C"] == "08006"
            assert wire.read() is None


@pytest.mark.parametrize("bytes_", [
    b"\0\0\0\0\4", b"!\0\0\0\4", b"Q\0\0\0\0", b"Q\0\0\0\3", b"Q\xff\xff\xff\xff", b"S\0\1\0\0",
    b"p\0\0\0\5\0", bytes(range(200, 100, -1)),
    message("P", b"no end"), message("B", b"p\0no end"), message("D"), message("C", b"S"),
    message("D", b"Sname\0more"),
])
def test_messages_that_are_none(daemon, bytes_):
    with Wire(daemon.run) as wire:
        error = wire.error(bytes_)
        assert (error["S"], error["C"]) == ("FATAL", "08P01")
        assert wire.read() is None


def test_what_was_sent_before_is_not_lost(daemon):
    with Wire(daemon.run) as wire:
        wire.rows("BEGIN")
        assert wire.error(b"\0\0\0\0\4")["C"] == "08P01"


@pytest.mark.parametrize("long", [
    parse("n" * (1 << 20), "SELECT 1"), bind("n" * (1 << 20)), bind("", portal="n" * (1 << 20)),
])
def test_a_name_of_a_megabyte(daemon, long):
    with Wire(daemon.run) as wire:
        assert wire.error(long, SYNC)["C"] == "54000"
        assert wire.read() is None


@pytest.mark.plain
def test_a_client_that_does_not_read(daemon):
    before = process_figure(daemon.pid, "VmRSS")
    wires = [Wire(daemon.run) for _ in range(2)]
    for wire in wires:
        wire.send(query("SELECT repeat('x', 10000) FROM generate_series(1, 100000)"))
    wait_for(lambda: figures(daemon)["leased"] == 2, "both to be at it")
    with Wire(daemon.run) as other:
        for _ in range(20):
            assert other.value("SELECT 1") == "1"
    time.sleep(1)
    if not sanitizer():
        assert process_figure(daemon.pid, "VmRSS") - before < 20000
    # One that comes to it in the end has all of it.
    rows = sum(found.kind == "D" for found in wires[0].until_ready())
    assert rows == 100000
    for wire in wires:
        wire.close()


@pytest.mark.plain
def test_a_server_that_does_not_read(daemon):
    """A client that pipelines without end, behind a query that takes a while."""
    before = process_figure(daemon.pid, "VmRSS")
    with Wire(daemon.run) as wire:
        wire.socket.settimeout(2)
        wire.send(query("SELECT pg_sleep(600)"))
        with pytest.raises(TimeoutError):
            while True:
                wire.socket.sendall(query("SELECT 1") * 5000)
        if not sanitizer():
            assert process_figure(daemon.pid, "VmRSS") - before < 20000


def test_more_clients_than_there_may_be(daemon):
    wait_for(lambda: figures(daemon)["clients"] == 1, "those of other tests to be gone")
    first = []
    try:
        refused = 0
        for _ in range(CLIENTS + 200):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(60)
            first.append(connection)
            connection.connect(f"{daemon.run}/.s.PGSQL.5432")
            try:
                connection.sendall(startup())
                said = connection.recv(1000)
            except (BrokenPipeError, ConnectionResetError):
                said = b"C53300"
            refused += b"53300" in said
        assert 200 <= refused <= 202
    finally:
        for connection in first:
            connection.close()
    wait_for(lambda: figures(daemon)["clients"] == 1, "the others to be gone")


@pytest.mark.plain
@pytest.mark.skipif(bool(sanitizer()), reason="a sanitizer needs memory of its own")
def test_idle_clients_cost_little(make_daemon):
    daemon = make_daemon()
    daemon.start()

    def client():
        wire = Wire(daemon.run, application_name="idle")
        wire.ask(parse("mine", "SELECT $1::int"), bind("mine", [b"1"]), execute(), SYNC)
        wire.ask(parse("", "SELECT $1::int"), bind("", [b"1"]), execute(), SYNC)
        return wire

    some = [client() for _ in range(10)]
    before = process_figure(daemon.pid, "VmRSS")
    many = [client() for _ in range(1000)]
    assert process_figure(daemon.pid, "VmRSS") - before < 20 * 1000
    for wire in some + many:
        wire.close()


def mutations(generator):
    """A few messages of a client, right or nearly."""
    names = ["", "a", "b", "tekupdb_1", "n" * 70]
    texts = ["SELECT 1", "SELECT $1::int", "SELEKT", "BEGIN", "COMMIT", "ROLLBACK", "SET datestyle = 'ISO'",
             "LISTEN x", "SET work_mem = '5MB'", "DISCARD ALL", "DEALLOCATE ALL", "EXECUTE a", "",
             "SELECT pg_advisory_lock(1)", "SELECT generate_series(1, 2000)", "COPY billy.fuzz FROM STDIN",
             "COPY (SELECT 1) TO STDOUT", "PREPARE b AS SELECT 1", "SELECT * FROM pg_prepared_statements"]
    pick = generator.choice
    made = b""
    for _ in range(generator.randrange(1, 12)):
        made += pick([
            lambda: query(pick(texts)), lambda: parse(pick(names), pick(texts)),
            lambda: bind(pick(names), [b"1"] * generator.randrange(3)), lambda: execute(),
            lambda: describe(pick("SP"), pick(names)), lambda: close(pick("SP"), pick(names)),
            lambda: SYNC, lambda: SYNC, lambda: FLUSH, lambda: message("d", b"1\n"),
            lambda: message("c"), lambda: message("f", text("no")), lambda: message("X"),
        ])()
    kind = generator.randrange(6)
    if kind == 0:
        made = made[:generator.randrange(len(made) + 1)]
    elif kind == 1:
        at = generator.randrange(len(made))
        made = made[:at] + bytes([generator.randrange(256)]) + made[at + 1:]
    elif kind == 2:
        made += generator.randbytes(generator.randrange(50))
    return made


def test_random_messages(daemon):
    """In any order, complete or not, from clients that wait for no answer, and leave when they like.
    Another client, whose statements and settings stand beside theirs, is served all the while."""
    seed = int(os.environ.get("TEKUP_RANDOM_SEED", 1))
    seconds = float(os.environ.get("TEKUP_RANDOM_SECONDS", 10))
    print(f"seed {seed}")
    daemon.sql("CREATE TABLE IF NOT EXISTS billy.fuzz (a int)")
    daemon.sql("GRANT ALL ON billy.fuzz TO tekup_billy")
    generator = random.Random(seed)
    end = time.monotonic() + seconds
    with Wire(daemon.run, TimeZone="Asia/Tokyo") as steady:
        steady.ask(parse("a", "SELECT 'steady'"), SYNC)
        rounds = 0
        while time.monotonic() < end or rounds <= 20:
            rounds += 1
            wires = [Wire(daemon.run) for _ in range(3)]
            for wire in wires:
                wire.send(mutations(generator))
                if generator.randrange(2):
                    wire.socket.settimeout(0.002)
                    try:
                        while wire.socket.recv(1 << 16):
                            pass
                    except (TimeoutError, ConnectionResetError):
                        pass
            for wire in wires[generator.randrange(2):]:
                wire.close()
            said = steady.ask(bind("a"), execute(), SYNC)
            assert [found.row() for found in said if found.kind == "D"] == [("steady",)], (rounds, said)
            assert steady.rows("SELECT current_setting('TimeZone'), current_setting('work_mem')") == [
                ("Asia/Tokyo", "4MB")], rounds
            assert steady.value("SELECT count(*) FROM pg_listening_channels()") == "0", rounds
            wires[0].close()
