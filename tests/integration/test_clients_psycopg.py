"""psycopg 2 and 3 behind the daemon's socket and behind PostgreSQL's: server-side cursors, COPY,
notifications, pipelines, prepared statements, cancelling."""

import io
import select
import threading
import time

import psycopg
import psycopg2
import psycopg2.extensions
import pytest

from daemon import PATIENCE
from doors import SERVICES


@pytest.fixture(params=["direct", "through"])
def host(request, doors):
    return getattr(doors, request.param)


@pytest.fixture
def two(doors, host):
    """Makes connections of psycopg 2."""
    made = []

    def make(role="tekup_billy", **more):
        made.append(psycopg2.connect(doors.connection_string(host, role), **more))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def three(doors, host):
    """Makes connections of psycopg 3."""
    made = []

    def make(role="tekup_billy", **more):
        made.append(psycopg.connect(doors.connection_string(host, role), **more))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


# ---- psycopg 2 ----


def test_server_side_cursors(two):
    connection = two()
    with connection, connection.cursor("named", scrollable=True) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT g, repeat('x', 50) FROM generate_series(1, 1000) g")
        assert [row[0] for row in cursor] == list(range(1, 1001))
        cursor.scroll(10, mode="absolute")
        assert cursor.fetchone()[0] == 11
    # One that outlives its transaction, while the connection does other things.
    with connection:
        held = connection.cursor("held", withhold=True)
        held.execute("SELECT generate_series(1, 300)")
        assert held.fetchmany(100)[-1] == (100,)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'between'")
    assert held.fetchmany(100)[0] == (101,)
    held.close()


def test_copy(two):
    connection = two()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE scratch (i int, t text) ON COMMIT DROP")
        cursor.copy_expert("COPY scratch FROM STDIN", io.StringIO("".join(f"{i}\t{'æ' * (i % 50)}\n" for i in range(30000))))
        assert cursor.rowcount == 30000
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM scratch ORDER BY i DESC) TO STDOUT", out)
        assert out.getvalue().count("\n") == 30000 and out.getvalue().startswith("29999\t")
        cursor.execute("SAVEPOINT before")
        with pytest.raises(psycopg2.errors.BadCopyFileFormat, match="missing data for column"):
            cursor.copy_expert("COPY scratch FROM STDIN", io.StringIO("1\tx\n2\n"))
        cursor.execute("ROLLBACK TO before; SELECT count(*) FROM scratch")
        assert cursor.fetchone() == (30000,)

    class Broken(io.StringIO):
        def read(self, size=-1):
            raise ValueError("the file is broken")

    with pytest.raises(psycopg2.Error, match="the file is broken"), connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE scratch (i int)")
        cursor.copy_expert("COPY scratch FROM STDIN", Broken("1\n"))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.scratch')")
        assert cursor.fetchone() == (None,)


def test_notifications_come_while_nothing_is_asked(two):
    listener, notifier = two(), two("tekup_flow")
    listener.autocommit = notifier.autocommit = True
    listener.cursor().execute("LISTEN here")
    for number in range(20):
        notifier.cursor().execute("SELECT pg_notify('here', %s)", (f"{number} " + "x" * 5000,))
    deadline = time.monotonic() + PATIENCE
    while len(listener.notifies) < 20 and time.monotonic() < deadline:
        select.select([listener], [], [], 1)
        listener.poll()
    assert [int(notify.payload.split()[0]) for notify in listener.notifies] == list(range(20))
    assert all(notify.channel == "here" and notify.pid for notify in listener.notifies)


def test_sessions(two):
    connection = two()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), connection, connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("serializable",)
        cursor.execute("DELETE FROM billy.\"BillyCache\"")
    connection.set_session(isolation_level="DEFAULT", readonly=False)
    connection.set_client_encoding("LATIN1")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'æøå', current_setting('client_encoding')")
        assert cursor.fetchone() == ("æøå", "LATIN1")
    assert connection.get_parameter_status("client_encoding") == "LATIN1"
    assert connection.server_version >= 140000 and connection.get_backend_pid() > 0


def test_large_objects(two):
    connection = two()
    with connection:
        made = connection.lobject(0, "wb")
        made.write(b"0123456789" * 100000)
        made.seek(999990)
        number = made.oid
        made.close()
    with connection:
        read = connection.lobject(number, "rb")
        assert len(read.read()) == 1000000
        read.unlink()


def test_cancelling(two, doors):
    """A cancel ends what runs; one that comes when nothing does ends nothing, of nobody."""
    connection, other = two(), two()
    for connection_ in (connection, other):
        connection_.autocommit = True
    asked = []

    def cancel():
        doors.wait_sql("count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(100)'",
                       "the sleep")
        connection.cancel()

    def sleep():
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1.5)")
            asked.append(cursor.fetchone())

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    threading.Thread(target=cancel).start()
    with pytest.raises(psycopg2.errors.QueryCanceled), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(100)")
    for number in range(50):
        connection.cancel()
        time.sleep(0.01)  # the server hears of it by another way
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s, pg_sleep(0.001)", (number,))
            assert cursor.fetchone()[0] == number
    sleeper.join()
    assert asked == [("",)]


# ---- psycopg 3 ----


def test_prepared_statements(three):
    connections = [three(autocommit=True) for _ in range(15)]
    for round_ in range(3):
        for number, connection in enumerate(connections):
            # psycopg calls them all _pg3_0, _pg3_1 and so on.
            for statement in range(3):
                row = connection.execute(f"SELECT %s::int + {number}, 'statement {statement} of {number}'", (round_,),
                                         prepare=True).fetchone()
                assert row == (round_ + number, f"statement {statement} of {number}")


def test_a_statement_outlives_its_table(three):
    """The plan of a statement is the server's affair, and so is what becomes of it."""
    one = three(autocommit=True)
    one.execute("CREATE TEMP TABLE scratch AS SELECT 1 AS a")
    assert one.execute("SELECT * FROM scratch", prepare=True).fetchone() == (1,)
    one.execute("ALTER TABLE scratch ADD b int DEFAULT 2")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change result type"):
        one.execute("SELECT * FROM scratch", prepare=True)


def test_pipelines(three):
    connection = three(autocommit=True)
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::int, repeat('x', %s)", (number, number)) for number in range(500)]
        pipeline.sync()
        assert [len(cursor.fetchone()[1]) for cursor in cursors] == list(range(500))
    # An error undoes what was sent since the last Sync, and nothing before it; what comes after is skipped.
    connection.execute("CREATE TEMP TABLE scratch (i int)")
    with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline() as pipeline:
        connection.execute("INSERT INTO scratch VALUES (1)")
        pipeline.sync()
        connection.execute("INSERT INTO scratch VALUES (2)")
        connection.execute("INSERT INTO scratch VALUES (1 / %s)", (0,))
        connection.execute("INSERT INTO scratch VALUES (3)")
    assert connection.execute("SELECT array_agg(i) FROM scratch").fetchone() == ([1],)
    assert connection.execute("SELECT 4").fetchone() == (4,)


def test_binary_copy(three):
    connection = three()
    connection.execute("CREATE TEMP TABLE scratch (i int, f float8, t text, l int[])")
    cursor = connection.cursor()
    with cursor.copy("COPY scratch FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "float8", "text", "int4[]"])
        for number in range(5000):
            copy.write_row((number, number / 3, None if number % 7 == 0 else "t" * (number % 100), [number, number + 1]))
    assert cursor.execute("SELECT count(*), count(t), max(l[2]) FROM scratch").fetchone() == (5000, 4285, 5000)
    with cursor.copy("COPY scratch TO STDOUT (FORMAT binary)") as copy:
        assert sum(len(block) for block in copy) > 200000


def test_every_service_at_once(three):
    """Each gets its own role's answer, whoever had the connection before."""
    failures = []

    def serve(service, number):
        try:
            with three(f"tekup_{service}", autocommit=True) as connection:
                for _ in range(20):
                    assert connection.execute("SELECT current_user, session_user").fetchone() == (f"tekup_{service}",) * 2
                    with connection.transaction():
                        connection.execute("SELECT set_config('my.token', %s, true)", (f"{service}{number}",))
                        found = connection.execute("SELECT current_setting('my.token'), current_user").fetchone()
                        assert found == (f"{service}{number}", f"tekup_{service}")
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=serve, args=(service, number)) for service in SERVICES for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures, failures[0]
    assert not any(thread.is_alive() for thread in threads)
