"""psql, as a person and as scripts use it: what it prints behind the daemon's socket is, to the byte,
what it prints behind PostgreSQL's."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from daemon import PATIENCE, process_figure, sanitizer
from doors import SERVICES, assert_same


class Terminal:
    """psql as a person has it, with a terminal of its own."""

    def __init__(self, doors, host, role="tekup_billy"):
        self.master, slave = pty.openpty()
        environment = doors.environment(host, role, TERM="dumb", PAGER="")
        # Its session's terminal, so that Ctrl-C is a signal.
        self.process = subprocess.Popen(
            ["psql", "-X", "-n", "-P", "pager=off"], env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.said = ""
        self.until("=> ")

    def until(self, text, count=1):
        """Waits until it has printed the text so many times since the last call, and returns all that
        it printed."""
        deadline = time.monotonic() + PATIENCE
        while self.said.count(text) < count:
            readable, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"psql does not print {text!r}, but {self.said!r}"
            self.said += os.read(self.master, 65536).decode()
        said, self.said = self.said, ""
        return said

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(doors):
    made = []

    def make(host, role="tekup_billy"):
        made.append(Terminal(doors, host, role))
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


@pytest.fixture(params=["direct", "through"])
def host(request, doors):
    return getattr(doors, request.param)


# ---- Scripts ----


def test_values_and_commands(doors):
    said = doors.same(r"""
        SELECT 1 AS int, 1.50::numeric, 'tekst æøå 漢字' AS t, NULL AS nothing, '{1,2}'::int[], '2026-01-02'::date,
               '{"a": [1, null]}'::jsonb, 'infinity'::float8, '\x00ff'::bytea, interval '1 day 2 hours';
        SELECT generate_series(1, 3) AS n \gx
        SELECT 1 AS a, 'x'::text AS b, now() AS c \gdesc
        SELECT 5 AS five, 'seven' AS seven \gset
        \echo :five :seven
        SELECT format('SELECT %s AS made', g) FROM generate_series(1, 3) g \gexec
        VALUES ('a', 'x', 1), ('a', 'y', 2), ('b', 'x', 3) \crosstabview
        \if true
            SELECT 'yes';
        \else
            SELECT 'no';
        \endif
        SELECT;
        ;
        SELECT 'the end' \g
        \echo :ENCODING :SERVER_VERSION_NUM :USER :DBNAME :ROW_COUNT :LAST_ERROR_SQLSTATE
        """)
    assert "the end" in said.stdout and not said.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_descriptions(doors, service):
    """\\d and its relatives ask the catalogue the longest questions that psql has."""
    said = doors.same(rf"""
        \dn+
        \dt {service}.*
        \d {service}.*
        \di+ shared.*
        \df {service}.*
        \du
        \dp shared.*
        \dconfig *_path
        \l
        """, f"tekup_{service}")
    assert "Foreign-key constraints:" in said.stdout and not said.stderr


def test_errors_have_their_position_and_everything_else(doors):
    said = doors.same(r"""
        SELECT 1,
               nowhere
        FROM pg_class;
        \errverbose
        SELECT 1 / 0;
        SELECT * FROM vault."VaultDocument";
        INSERT INTO billy."BillyCache" VALUES ('c', 'nobody', 'k', '{}', now(), now());
        SELECT 'abc'::int;
        SELEKT 1;
        \set VERBOSITY verbose
        INSERT INTO billy."BillyOrganization" ("createdAt") VALUES ('2026-01-01');
        DO $$ BEGIN
            RAISE NOTICE 'a notice' USING DETAIL = 'its detail', HINT = 'its hint';
            RAISE WARNING 'a warning';
            RAISE EXCEPTION 'an error' USING ERRCODE = 'TK001', COLUMN = 'c', TABLE = 't', SCHEMA = 's', DATATYPE = 'd',
                CONSTRAINT = 'n';
        END $$;
        \errverbose
        SET client_min_messages = debug1;
        SELECT 'and it goes on';
        RESET client_min_messages;
        """)
    assert "LINE 2:                nowhere" in said.stderr and "and it goes on" in said.stdout
    assert "permission denied for schema vault" in said.stderr


def test_many_statements_in_one_message(doors):
    doors.same(r"""
        SELECT 1\; SELECT 2\; SELECT 3;
        SELECT 1\; SELECT 1 / 0\; SELECT 3;
        BEGIN\; SELECT 'in a transaction'\; COMMIT;
        BEGIN\; SELECT 'failing' / 0;
        SELECT 'aborted';
        ROLLBACK;
        BEGIN\; SELECT 1\; COMMIT\; BEGIN\; SELECT 2\; ROLLBACK\; SELECT 3;
        COMMIT;
        SELECT 1\; COMMIT\; SELECT 2;
        """)
    done = doors.same("", "tekup_billy", "-c", "SELECT 'a'; SELECT 'b'", "-c", "BEGIN; SELECT 'c'", "-c", "ROLLBACK")
    assert done.returncode == 0


def test_transactions_savepoints_and_cursors(doors):
    doors.same(r"""
        BEGIN;
        SAVEPOINT a;
        SELECT 1 / 0;
        ROLLBACK TO a;
        DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 100);
        FETCH 3 FROM c;
        FETCH LAST FROM c;
        MOVE ABSOLUTE 50 IN c;
        FETCH BACKWARD 2 FROM c;
        CLOSE c;
        COMMIT;
        FETCH 1 FROM c;
        \set ON_ERROR_ROLLBACK on
        BEGIN;
        SELECT wrong;
        SELECT 'still in it';
        COMMIT AND CHAIN;
        ROLLBACK;
        \set FETCH_COUNT 10
        SELECT g, repeat('x', g) FROM generate_series(1, 35) g;
        \unset FETCH_COUNT
        DECLARE h CURSOR WITH HOLD FOR SELECT 'held ' || g FROM generate_series(1, 10) g;
        FETCH 2 FROM h;
        SELECT 'between';
        FETCH 2 FROM h;
        CLOSE h;
        """)


def test_what_lasts_as_long_as_the_session(doors):
    doors.same(r"""
        SET application_name = 'mine';
        SET TimeZone = 'Asia/Tokyo';
        SET DateStyle = 'SQL, DMY';
        SET search_path = billy, public;
        \encoding LATIN1
        \echo :ENCODING
        SELECT 'æ' = E'\u00e6';
        \encoding UTF8
        PREPARE p (int) AS SELECT $1 + 1 AS next;
        EXECUTE p (41);
        CREATE TEMP TABLE scratch (id int PRIMARY KEY, t text DEFAULT 'd');
        INSERT INTO scratch SELECT generate_series(1, 5) RETURNING *;
        SELECT relpersistence FROM pg_class WHERE oid = 'scratch'::regclass;
        SELECT pg_advisory_lock(4711);
        BEGIN;
        SET LOCAL work_mem = '7MB';
        SHOW work_mem;
        COMMIT;
        SHOW application_name;
        SHOW TimeZone;
        SELECT '2026-02-01'::date, count(*) FROM scratch, "BillyCache";
        SELECT pg_advisory_unlock(4711), pg_advisory_unlock(4711);
        SELECT current_user, session_user;
        DEALLOCATE p;
        EXECUTE p (1);
        DISCARD ALL;
        SHOW application_name;
        SHOW TimeZone;
        SELECT * FROM scratch;
        """)


def test_settings_that_a_client_brings(doors):
    environment = {"PGOPTIONS": "-c search_path=crm -c statement_timeout=12345 -c work_mem=9MB", "PGTZ": "UTC",
                   "PGAPPNAME": "an app", "PGDATESTYLE": "German", "PGCLIENTENCODING": "LATIN1"}
    said = []
    for host in doors.both():
        for _ in range(2):
            said.append(subprocess.run(
                ["psql", "-X", "-A"], env={**doors.environment(host, "tekup_crm"), **environment}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=PATIENCE, input=br"""
                SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('work_mem'),
                       current_setting('TimeZone'), current_setting('application_name'), current_setting('DateStyle'), U&'\00e6';
                SELECT count(*) FROM "CrmDeal";
                DISCARD ALL;
                SHOW work_mem;
                SHOW TimeZone;
                SHOW search_path;
                SHOW client_encoding;
                """).stdout)
        # Somebody else comes without.
        assert doors.psql("SHOW work_mem", host, "tekup_crm", "-At").stdout == "4MB\n"
    assert said[2:] == said[:2] and b"12345" in said[0] and b"9MB" in said[0]


def test_another_role_and_back(doors):
    said = doors.same(r"""
        SET application_name = 'before';
        \c - tekup_crm
        SELECT current_user;
        SHOW application_name;
        \c - tekup_billy
        SELECT current_user;
        """)
    assert said.stdout.count("tekup_crm") == 1


def test_no_such_database(doors):
    def refused(host):
        done = doors.run(["psql", "-X", "-d", "nowhere", "-c", "SELECT 1"], host)
        return done.returncode, done.stderr.replace(host + "/", "RUN/")

    assert refused(doors.through) == refused(doors.direct)
    assert 'database "nowhere" does not exist' in refused(doors.through)[1]


# ---- COPY ----


def test_copy_in_and_out(doors, tmp_path):
    rows = "".join(f'{i},"quoted ""{i}"" , æøå",{"" if i % 3 else i}\n' for i in range(20000))
    (tmp_path / "in.csv").write_text(rows)
    (tmp_path / "bad.csv").write_text("1,a,1\n2,b,x\n3,c,3\n")
    dumped = []
    for host in doors.both():
        done = doors.psql(rf"""
            CREATE TEMP TABLE scratch (i int, t text, n int);
            \copy scratch FROM '{tmp_path}/in.csv' (FORMAT csv)
            SELECT count(*), sum(length(t)), count(n) FROM scratch;
            \copy scratch FROM '{tmp_path}/bad.csv' (FORMAT csv)
            SELECT count(*) FROM scratch;
            \copy (SELECT * FROM scratch ORDER BY i) TO '{tmp_path}/out.csv' (FORMAT csv)
            \copy scratch TO '{tmp_path}/out.bin' (FORMAT binary)
            TRUNCATE scratch;
            \copy scratch FROM '{tmp_path}/out.bin' (FORMAT binary)
            SELECT count(*), sum(length(t)), count(n) FROM scratch;
            COPY (SELECT 'to standard output', g FROM generate_series(1, 3) g) TO STDOUT;
            COPY scratch (t) FROM STDIN;
one
two\n2
\.
            SELECT t FROM scratch WHERE i IS NULL;
            SELECT 1\; COPY (VALUES (1), (2)) TO STDOUT\; SELECT 2;
            COPY nowhere FROM STDIN;
            SELECT 'and it goes on';
            """, host, "tekup_billy", "-v", "VERBOSITY=verbose")
        dumped.append((done.stdout, done.stderr, done.returncode, (tmp_path / "out.csv").read_text(),
                       (tmp_path / "out.bin").read_bytes()))
    for what, through, direct in zip(("stdout", "stderr", "status", "CSV", "binary"), dumped[1], dumped[0]):
        assert_same(through, direct, what)
    assert dumped[0][3].count("\n") == 20000 and "COPY scratch, line 2, column n" in dumped[0][1]
    assert "and it goes on" in dumped[0][0]


# ---- Large ----

HUNDRED_MEGABYTES = r"""
    COPY (SELECT g, repeat(md5(g::text), 31) FROM generate_series(1, 100000) g) TO STDOUT \g | sha256sum
    SELECT g, repeat(md5(g::text), 31) FROM generate_series(1, 100000) g \g | sha256sum
    SELECT repeat('0123456789', 10000000) \g | sha256sum
    SELECT 'the end';
    """


@pytest.mark.plain
def test_large_results(doors):
    """100 MB as COPY, as rows, and in one row; the daemon holds no more of it than a little."""
    pid = doors.daemon.pid
    with open(f"/proc/{pid}/clear_refs", "w") as resident:
        resident.write("5")
    before = process_figure(pid, "VmRSS")
    said = doors.same(HUNDRED_MEGABYTES, "tekup_billy", "-A")
    assert said.stdout.count(" -\n") == 3 and "the end" in said.stdout
    if not sanitizer():
        assert process_figure(pid, "VmHWM") - before < 32 * 1024


# ---- People ----


def test_ctrl_c_ends_a_statement_and_not_the_session(doors, terminal, host):
    one, other = terminal(host), terminal(host)
    for number, psql in enumerate((one, other)):
        psql.type(f"SELECT 'slept', pg_sleep({100 - 97 * number}) AS s{number};\n")
    sleeping = "count(*) = {} FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT ''slept'', pg_sleep%{}'"
    doors.wait_sql(sleeping.format(1, "s0;"), "the one to sleep")
    one.type("\x03")
    assert "canceling statement due to user request" in one.until("=> ")
    one.type("SELECT 'it goes ' || 'on';\n")
    assert "it goes on" in one.until("=> ")
    assert "(1 row)" in other.until("=> "), "another's statement was not meant"

    one.type("BEGIN;\n")
    one.until("=*> ")
    one.type("SELECT pg_sleep(100) AS s2;\n")
    doors.wait_sql("count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS s2;'", "the sleep")
    one.type("\x03")
    assert "canceling statement" in one.until("=!> ")
    one.type("ROLLBACK;\n")
    one.until("=> ")
    one.type("SELECT 'as before';\n")
    assert "(1 row)" in one.until("=> ")


def test_watch(doors, terminal, host):
    psql = terminal(host)
    psql.type("SELECT 'seen ' || 1 AS it \\watch 0.1\n")
    psql.until("seen 1", 4)
    psql.type("\x03")
    psql.until("=> ")
    psql.type("SELECT 'it goes ' || 'on';\n")
    assert "it goes on" in psql.until("=> ")


def test_notifications(doors, terminal, host):
    listening, notifying = terminal(host), terminal(host, "tekup_crm")
    listening.type("LISTEN \"a channel\";\n")
    listening.until("=> ")
    for number in range(3):
        notifying.type(f"NOTIFY \"a channel\", 'payload {number}';\n")
        notifying.until("=> ")
    listening.type("SELECT 'asked';\n")
    said = listening.until("payload 2")
    heard = re.findall(r'Asynchronous notification "a channel" with payload "payload (\d)" received', said)
    assert heard == ["0", "1"] or heard == ["0", "1", "2"]
    listening.type("UNLISTEN *;\n")
    listening.until("=> ")
