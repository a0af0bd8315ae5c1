"""Two hundred clients of five roles at once by the daemon's PostgreSQL socket, mixing all that leaves
something behind in a session, disappearing at any moment, with the server restarted twice below them:
nobody ever finds what another left, nobody hangs, and of what was committed nothing is lost.

Each client has a token of its own, which it puts into settings, temporary tables, prepared statements,
channels and locks of names that all of them use, and looks for others' tokens wherever it comes.

TEKUP_RANDOM_SEED repeats a run's choices (not its timing), TEKUP_RANDOM_SECONDS makes it longer.
"""

import contextlib
import os
import random
import signal
import socket
import threading
import time

import psycopg
import pytest
from psycopg import pq

from daemon import PATIENCE, sanitizer, wait_for
from doors import DATABASE, SERVICES

CLIENTS = 200
CONNECTIONS = 10
LOCKS = 1000000  # and on: the advisory locks of the clients
SECONDS = float(os.environ.get("TEKUP_RANDOM_SECONDS", 20))

# What a server that goes away may do to those who are at work: admin_shutdown, crash_shutdown,
# cannot_connect_now, and a connection that is gone, which has none.
OF_RESTARTS = {"57P01", "57P02", "57P03", "08006", "08001", "08003", None}


class Gone(Exception):
    """The client has disappeared, as it wanted to."""


class Wrong(AssertionError):
    pass


def check(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r} instead of {wanted!r}")


class Client(threading.Thread):
    def __init__(self, host, number, seed, over):
        super().__init__(name=f"client {number}", daemon=True)
        self.host = host
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.over = over
        self.lives = 0
        self.lost = 0          # connections, by restarts
        self.committed = []    # ids of rows
        self.rolled_back = []
        self.failure = None
        self.doing = None      # and since when
        self.since = time.monotonic()

    def now(self, doing):
        self.doing = doing
        self.since = time.monotonic()

    def run(self):
        try:
            while not self.over.is_set():
                try:
                    self.live()
                except Gone:
                    pass
                except psycopg.Error as error:
                    if error.sqlstate not in OF_RESTARTS:
                        raise
                    self.lost += 1
                    time.sleep(self.random.uniform(0, 0.2))
        except BaseException as failure:
            self.failure = failure
        self.now("nothing any more")

    # ---- A life ----

    def live(self):
        self.lives += 1
        self.token = f"t{self.number}.{self.lives}"
        self.role = "tekup_" + self.random.choice(SERVICES)
        self.name = self.random.choice(["", self.token])
        self.zone = "UTC"
        self.settings = self.table = False
        self.prepared = {}
        self.now("connecting")
        self.connection = psycopg.connect(host=self.host, user=self.role, dbname=DATABASE, autocommit=True,
                                          prepare_threshold=None, application_name=self.name, options="-c timezone=UTC")
        try:
            self.look_around()
            for _ in range(self.random.randrange(1, 12)):
                action = self.random.choice(self.ACTIONS)
                self.now(action.__name__)
                action(self)
                if self.random.random() < 0.1:
                    self.disappear()
            self.now("leaving")
        finally:
            self.connection.close()

    def one(self, statement, *parameters):
        return self.connection.execute(statement, parameters or None).fetchone()

    def look_around(self):
        """Nothing of anybody else's is here, and what is ours still is."""
        self.now("looking around")
        user, session, name, zone, setting, table, channels, statements, cursors, locks, path, readonly = self.one("""
            SELECT current_user, session_user, current_setting('application_name'), current_setting('TimeZone'),
                   current_setting('my.token', true), to_regclass('pg_temp.scratch') IS NOT NULL,
                   (SELECT count(*) FROM pg_listening_channels()),
                   (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), (SELECT count(*) FROM pg_cursors WHERE is_holdable),
                   (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
                   current_setting('search_path'), current_setting('transaction_read_only')""")
        check((user, session), (self.role, self.role), "who it is")
        check((name, zone), (self.name, self.zone), "application_name and TimeZone")
        check(setting or "", self.token if self.settings else "", "a setting of its own")
        check(table, self.table, "a temporary table")
        check((channels, statements, cursors, locks), (0, 0, 0, 0), "channels, SQL statements, cursors and advisory locks")
        usual = "vault, public" if self.role == "tekup_vault" else '"$user", public'
        check((path, readonly), (usual, "off"), "settings that nobody tracks")

    def disappear(self):
        """At once, in one of several states."""
        self.now("disappearing")
        how = self.random.choice(["idle", "working", "in a transaction", "with a lock", "half a message"])
        if how == "in a transaction":
            self.connection.execute("BEGIN")
            self.connection.execute(self.INSERT, (self.row(self.rolled_back), self.role))
        elif how == "with a lock":
            self.one("SELECT pg_advisory_lock(%s)", LOCKS + self.number)
        elif how == "working":
            self.connection.pgconn.send_query(b"SELECT pg_sleep(%f)" % self.random.uniform(0, 3))
            self.connection.pgconn.flush()
        plug = socket.socket(fileno=os.dup(self.connection.fileno()))
        if how == "half a message":
            plug.setblocking(True)
            plug.sendall(b"Q\0\0\1\0SELECT")
        if self.random.random() < 0.5:
            plug.shutdown(socket.SHUT_RDWR)
        plug.close()
        raise Gone

    # ---- What it does ----

    INSERT = ('INSERT INTO shared."SharedAuditLog" (id, service, action, success) VALUES (%s, %s, \'random\', true)')

    def row(self, into):
        row = f"{self.token}.{self.random.getrandbits(40)}"
        into.append(row)
        return row

    def transaction(self):
        self.connection.execute("BEGIN")
        self.connection.execute(self.INSERT, (self.row([]), self.role))
        row = self.row([])
        self.connection.execute(self.INSERT, (row, self.role))
        self.connection.execute("SELECT set_config('my.token', %s, true)", (self.token,))
        self.connection.execute("SET LOCAL TimeZone = 'Asia/Tokyo'")
        check(self.one("SELECT current_setting('my.token'), current_setting('TimeZone')"), (self.token, "Asia/Tokyo"), "in it")
        if self.random.random() < 0.2:
            try:
                self.one("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                pass
        ends = self.random.choice(["COMMIT", "ROLLBACK"])
        if ends == "ROLLBACK":
            self.rolled_back.append(row)
        said = self.connection.execute(ends).statusmessage
        if said == "COMMIT":
            self.committed.append(row)
        elif ends == "COMMIT":
            self.rolled_back.append(row)
        if not self.settings:
            check(self.one("SELECT current_setting('my.token', true)")[0] or "", "", "after it")

    def named_statements(self):
        """The names are everybody's, the texts this client's."""
        for _ in range(self.random.randrange(1, 6)):
            name = b"s%d" % self.random.randrange(3)
            if name not in self.prepared:
                self.prepared[name] = f"{self.token} {len(self.prepared)}"
                self.raw(self.connection.pgconn.prepare(name, f"SELECT $1::text || '/{self.prepared[name]}'".encode()))
            value = b"%d" % self.random.randrange(1000)
            result = self.raw(self.connection.pgconn.exec_prepared(name, [value]))
            check(result.get_value(0, 0), value + b"/" + self.prepared[name].encode(), "a prepared statement")

    def raw(self, result):
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise psycopg.errors.error_from_result(result)
        return result

    def temporary_table(self):
        if not self.table:
            self.connection.execute("CREATE TEMP TABLE scratch (who text)")
            self.table = True
        self.connection.execute("INSERT INTO scratch VALUES (%s)", (self.token,))
        check(self.one("SELECT DISTINCT who FROM scratch"), (self.token,), "a temporary table")
        if self.random.random() < 0.5:
            self.connection.execute("DROP TABLE scratch")
            self.table = False

    def setting(self):
        self.connection.execute("SELECT set_config('my.token', %s, false)", (self.token,))
        self.settings = True
        self.look_around()
        if self.random.random() < 0.5:
            self.connection.execute("RESET my.token")
            self.settings = False

    def known_setting(self):
        """One that PostgreSQL reports."""
        self.zone = self.random.choice(["UTC", "Europe/Copenhagen", "Asia/Tokyo"])
        self.connection.execute(f"SET TimeZone = '{self.zone}'")
        self.look_around()

    def channel(self):
        heard = []
        hear = heard.append
        self.connection.add_notify_handler(hear)
        self.connection.execute("LISTEN everybody")
        self.connection.execute(f'LISTEN "{self.token}"')
        self.connection.execute(f"NOTIFY \"{self.token}\", '{self.token}'")
        self.connection.execute("NOTIFY everybody")
        self.one("SELECT 1")
        check([one.payload for one in heard if one.channel != "everybody"], [self.token], "notifications")
        self.connection.execute("UNLISTEN *")
        self.connection.remove_notify_handler(hear)

    def advisory_lock(self):
        """This client's own: only a session that it left behind could hold it, and not for long."""
        self.one("SELECT pg_advisory_lock(%s)", LOCKS + self.number)
        check(self.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"), (1,), "locks")
        check(self.one("SELECT pg_advisory_unlock(%s)", LOCKS + self.number), (True,), "the lock")

    def sql_prepared(self):
        self.connection.execute(f"PREPARE everybodys AS SELECT '{self.token}'")
        check(self.one("EXECUTE everybodys"), (self.token,), "PREPARE in SQL")
        self.connection.execute("DEALLOCATE everybodys")

    def held_cursor(self):
        self.connection.execute(f"DECLARE everybodys CURSOR WITH HOLD FOR SELECT '{self.token}' FROM generate_series(1, 3)")
        for _ in range(3):
            check(self.one("FETCH 1 FROM everybodys"), (self.token,), "a cursor")
        self.connection.execute("CLOSE everybodys")

    def large_result(self):
        rows = self.connection.execute(f"SELECT '{self.token}' || repeat('x', 1000) FROM generate_series(1, 300)").fetchall()
        check({row[0] for row in rows}, {self.token + "x" * 1000}, "a large result")
        check(len(rows), 300, "its rows")

    def refused(self):
        other = "billy" if self.role != "tekup_billy" else "crm"
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.OperationalError)) as raised:
            self.one(f"SELECT count(*) FROM {other}.\"{'BillyCache' if other == 'billy' else 'CrmDeal'}\"")
        if not isinstance(raised.value, psycopg.errors.InsufficientPrivilege):
            raise raised.value

    def pause(self):
        time.sleep(self.random.uniform(0, 0.05))

    ACTIONS = [transaction, transaction, transaction, named_statements, named_statements, named_statements, temporary_table,
               setting, known_setting, channel, advisory_lock, sql_prepared, held_cursor, large_result, look_around, refused,
               pause]


def pool_connections(daemon):
    return daemon.client.status()["passthrough"]["connections"]


def server_connections(server):
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(%s)",
                       (["tekup_" + service for service in SERVICES],))
        return cursor.fetchone()[0]


def enough(clients):
    return (sum(client.lives for client in clients) > 2 * len(clients)
            and sum(len(client.committed) for client in clients) > len(clients))


def test_nobody_finds_what_another_left(make_daemon, server):
    seed = int(os.environ.get("TEKUP_RANDOM_SEED", random.SystemRandom().randrange(1 << 31)))
    print(f"TEKUP_RANDOM_SEED={seed}")
    choices = random.Random(seed)
    daemon = make_daemon(database_url=server.url(),
                         config=f"[passthrough]\nconnection_limit = {CONNECTIONS}\nwait_timeout = {PATIENCE}\n").start()
    deadline, over = time.monotonic() + SECONDS, threading.Event()
    clients = [Client(str(daemon.run), number, seed, over) for number in range(CLIENTS // (4 if sanitizer() else 1))]
    for client in clients:
        client.start()

    most = 0
    for how in (signal.SIGINT, signal.SIGQUIT):
        until = time.monotonic() + SECONDS / 3
        while time.monotonic() < until:
            most = max(most, pool_connections(daemon))
            # The server ends a session a moment after it was closed, when another has taken its place.
            wait_for(lambda: server_connections(server) <= CONNECTIONS, "the server to have as few connections")
            failed = [client.failure for client in clients if client.failure]
            if failed:
                raise failed[0]
            time.sleep(0.2)
        server.stop(how)
        time.sleep(choices.uniform(0, 0.5))
        server.start()
    time.sleep(max(0, deadline - time.monotonic()))
    wait_for(lambda: any(client.failure for client in clients) or enough(clients), "the clients to have done enough")
    over.set()
    for client in clients:
        client.join(PATIENCE)
        if client.is_alive():
            raise AssertionError(f"{client.name} hangs since {time.monotonic() - client.since:.0f} s: {client.doing}")
    failed = [client for client in clients if client.failure]
    if failed:
        raise failed[0].failure
    assert 0 < most <= CONNECTIONS

    daemon.wait_works()
    left = daemon.connect()
    left.autocommit = True
    with left.cursor() as cursor:

        def nothing_is_left():
            cursor.execute("SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(%s) AND state <> 'idle'),"
                           " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid BETWEEN %s AND %s)",
                           (["tekup_" + service for service in SERVICES], LOCKS, LOCKS + CLIENTS))
            return cursor.fetchone() == (0, 0)

        wait_for(nothing_is_left, "what the clients left to be cleaned up")
        cursor.execute("SELECT id FROM shared.\"SharedAuditLog\" WHERE action = 'random'")
        kept = {row[0] for row in cursor.fetchall()}
    committed = {row for client in clients for row in client.committed}
    rolled_back = {row for client in clients for row in client.rolled_back}
    assert committed <= kept, f"lost: {sorted(committed - kept)[:5]}"
    assert not rolled_back & kept, f"not rolled back: {sorted(rolled_back & kept)[:5]}"
    lives, lost = sum(client.lives for client in clients), sum(client.lost for client in clients)
    print(f"{lives:,} lives, {lost:,} of them ended by restarts, {len(committed):,} transactions")
